"""What every recommender must keep."""

import pytest
from sklearn.base import clone

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.testing import RecommenderTests

from .test_baselines import RANKERS, name_of

SETTINGS = {
    **{kind: {"fusion": kind} for kind in get_fusion_names()},
    "attention tower": {"user_tower": "attention"},
    "sequence tower": {"user_tower": "sequence"},
    "factors": {"mode": "factors"},
    "content": {"mode": "content"},
    "bpr": {"objective": "bpr", "user_embedding": True},
    "bce": {"objective": "bce", "alignment": 0.1, "modality_balance": 0.1},
    "mse": {"objective": "mse", "propagation": 0.2},
}


class TestFusionRecommender(RecommenderTests):
    @pytest.fixture(params=SETTINGS)
    def recommender(self, request):
        return MultimodalFusionRecommender(
            n_components=2,
            n_factors=3,
            max_epochs=1,
            random_state=1,
            **SETTINGS[request.param],
        )


class TestDefaults(RecommenderTests):
    @pytest.fixture
    def recommender(self):
        return MultimodalFusionRecommender(random_state=0)


class TestBaselines(RecommenderTests):
    @pytest.fixture(params=RANKERS, ids=name_of)
    def recommender(self, request):
        return clone(request.param)
