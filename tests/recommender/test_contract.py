"""What every recommender must keep."""

import pytest
from sklearn.base import clone

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import ContentRecommender, MatrixFactorizationRecommender
from skmmrec.testing import RecommenderTests

from .baselines.test_baselines import RANKERS, name_of

SETTINGS = {
    **{kind: {"fusion": kind} for kind in get_fusion_names()},
    "attention tower": {"user_tower": "attention"},
    "sequence tower": {"user_tower": "sequence"},
    "bpr": {"objective": "bpr", "user_tower__user_embedding": True},
    "bce": {
        "objective": "bce",
        "regularization__alignment": 0.1,
        "regularization__modality_balance": 0.1,
    },
    "mse": {"objective": "mse", "propagation__share": 0.2},
}
# The checks of scikit-learn take one path for all fusions: one that breaks a check also
# breaks another test of `RecommenderTests` or of `FusionTests`.
FUSIONS = {*get_fusion_names()} - {"gated", "late", "transformer"}
CHECKED = [
    pytest.param(name, marks=pytest.mark.slow) if name in FUSIONS else name
    for name in SETTINGS
]
FACTORIZATIONS = {
    "softmax": {},
    "bpr": {"objective": "bpr", "n_members": 2},
    "bce": {"objective": "bce", "regularization__id_dropout": 0.1},
    "mse": {"objective": "mse", "training__clip_norm": 1.0},
}


class TestFusionRecommender(RecommenderTests):
    """Some of the checks bring no content, or one modality.

    Settings that could have no effect there are refused, so these do without them.
    """

    @pytest.mark.parametrize("recommender", CHECKED, indirect=True)
    @pytest.mark.filterwarnings("ignore:no interaction has y above 0:UserWarning")
    def test_it_passes_the_checks_of_scikit_learn(self, recommender):
        super().test_it_passes_the_checks_of_scikit_learn(
            recommender.set_params(regularization=None)
        )

    def test_one_user_and_one_item(self, recommender):
        super().test_one_user_and_one_item(
            recommender.set_params(regularization__alignment=0.0)
        )

    @pytest.fixture(params=SETTINGS)
    def recommender(self, request):
        return MultimodalFusionRecommender(n_factors=3, random_state=1).set_params(
            training__max_epochs=1,
            regularization__n_components=2,
            **SETTINGS[request.param],
        )


class TestDefaults(RecommenderTests):
    @pytest.fixture
    def recommender(self):
        return MultimodalFusionRecommender(random_state=0)


class TestContent(RecommenderTests):
    @pytest.fixture(params=["auto", None, 2.0])
    def recommender(self, request):
        return ContentRecommender(half_life=request.param)


class TestMatrixFactorization(RecommenderTests):
    @pytest.fixture(params=FACTORIZATIONS)
    def recommender(self, request):
        return MatrixFactorizationRecommender(3, random_state=1).set_params(
            training__max_epochs=1, **FACTORIZATIONS[request.param]
        )


class TestBaselines(RecommenderTests):
    @pytest.fixture(params=RANKERS, ids=name_of)
    def recommender(self, request):
        return clone(request.param)
