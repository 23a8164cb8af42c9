"""Every parameter has an effect, or is refused with the reason why it has none."""

import inspect
from contextlib import redirect_stderr
from io import StringIO
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator

import skmmrec.recommender
from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.fusion import GatedFusion
from skmmrec.recommender import (
    AttentionTower,
    BaseRecommender,
    ContentRecommender,
    EarlyStopping,
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    MeanTower,
    PopularityRecommender,
    Propagation,
    RandomWalkRecommender,
    Regularization,
    SequenceTower,
    Training,
    UserKNNRecommender,
)
from skmmrec.recommender._settings import MOVED, SETTINGS, Settings

IDS = ["user_id", "item_id"]


@pytest.fixture
def world(items, catalog, X, y, flat, tmp_path):
    """Everything that settings are made of."""
    return SimpleNamespace(
        items=items, catalog=catalog, X=X, y=y, flat=flat, folder=tmp_path / "state"
    )


# -- what is seen of a fitted recommender --------------------------------------------


def vectors(rec, world):
    return rec.item_vectors_


def users(rec, world):
    return rec.user_vectors_


def biases(rec, world):
    return rec.item_biases_


def losses(rec, world):
    return rec.model_.loss_curve


def validation(rec, world):
    return rec.model_.validation_curve


def scores(rec, world):
    return rec.recommend(k=99).sort_values(IDS).score


def known_users(rec, world):
    return rec.user_index_


def known_items(rec, world):
    return rec.item_index_


def muted(rec, world):
    return rec.muted_modalities_


def fitted_again(rec, world):
    return rec.fit(world.fitted_to).item_vectors_


def fed_back(rec, world):
    return rec.partial_fit(world.fitted_to.head(5)).item_vectors_


def shown(rec, world):
    return "epoch" in world.shown


def kept_states(rec, world):
    return world.folder.exists()


# -- rows to fit to ------------------------------------------------------------------


def likes(world):
    return world.X, None


def some_unmet(world):
    return world.X[world.X.item_id != "i05"], None


def ratings(world):
    return world.X, world.y


def two_answers(world):
    return world.X, np.column_stack([world.y, world.y])


def with_content(world):
    return world.flat, None


def with_other_ids(world):
    """Columns of ids that count only where a parameter names them."""
    others = {
        "who__buyer": world.flat.user_id + 1000,
        "what__sku": range(len(world.flat)),
    }
    return world.flat.assign(**others), None


def likes_by_text(world):
    """Sixty users and items; the images tell nothing."""
    rng = np.random.default_rng(0)
    text, tastes = rng.normal(size=(2, 60, 4))
    affinity = 3 * tastes @ text.T + rng.gumbel(size=(60, 60))
    rows = [(u, i) for u in range(60) for i in np.argsort(-affinity[u])[:15]]
    X = pd.DataFrame(rows, columns=IDS)
    table = pd.DataFrame(np.hstack([text, rng.normal(size=(60, 4))]))
    table.columns = [f"{m}__{c}" for m in ("text", "image") for c in range(4)]
    return X.merge(table.assign(item_id=range(60))), None


# -- the table -----------------------------------------------------------------------


NOTHING = MappingProxyType({})


class Changes(NamedTuple):
    """Another value changes what is seen, in a setting where it matters."""

    value: Any
    seen: Any = vectors
    where: Any = NOTHING
    rows: Any = likes


class Refused(NamedTuple):
    """The value is refused, and the error says why."""

    value: Any
    reason: str
    where: Any = NOTHING
    rows: Any = likes


class Made(NamedTuple):
    """A value that is made of the world."""

    make: Any


TWO_TASKS = {"objective": ["softmax", "mse"]}
STOPPING = {"early_stopping": EarlyStopping(), "training__max_epochs": 40}

USER_KEY = {
    "user_key": [
        Changes("buyer", known_users, {"catalog": None}, with_other_ids),
        Refused(3, "'user_key'"),
    ],
}
KEYS = {
    "user_key": [
        Changes("buyer", known_users, rows=with_other_ids),
        Refused(3, "'user_key'"),
    ],
    "item_key": [
        Changes("sku", known_items, rows=with_other_ids),
        Refused(None, "'item_key'"),
    ],
}

LEARNING = {
    "training": [
        Changes(Training(max_epochs=1), losses),
        Refused(
            {"max_epochs": 1}, "'training' parameter .* None or of the class Training"
        ),
    ],
    "training__max_epochs": [Changes(1, losses), Refused(-1, "'max_epochs'")],
    "training__batch_size": [Changes(5), Refused(0, "'batch_size'")],
    "training__learning_rate": [Changes(0.1), Refused(0.0, "'learning_rate'")],
    "training__averaging": [
        Changes(0.3),
        Refused(1.1, "'averaging'"),
        Refused(
            0.3,
            "averaging has no effect here: early stopping keeps",
            {"early_stopping": EarlyStopping()},
        ),
    ],
    "training__n_negatives": [Changes(3), Refused(0, "'n_negatives'")],
    "training__own_negatives": [
        Changes(True, where={"training__own_negatives": False}),
        Refused(
            True,
            "own_negatives has no effect here: nothing is ranked",
            {"objective": "mse"},
            ratings,
        ),
    ],
    "training__task_weights": [
        Changes([1.0, 0.1], where=TWO_TASKS, rows=two_answers),
        Refused([1.0], "task_weights has no effect here: there is one task only"),
        Refused([1.0], "1 weights, but 2 tasks", TWO_TASKS, two_answers),
    ],
    "training__clip_norm": [Changes(0.01), Refused(0.0, "'clip_norm'")],
    "training__max_time": [Changes(1e-9, losses), Refused(0, "'max_time'")],
    "training__precision": [Changes("bfloat16"), Refused("half", "'precision'")],
    "training__partial_fit_epochs": [
        Changes(2, fed_back),
        Refused(-1, "'partial_fit_epochs'"),
    ],
    "training__checkpoint_dir": [
        Changes(Made(lambda world: world.folder), kept_states),
        Refused(3, "'checkpoint_dir'"),
    ],
    "training__tables": [
        Refused("sharded", "tables has no effect here: one process trains alone"),
        Refused("replicated", "tables has no effect here: one process trains alone"),
        Refused("by columns", "'tables'"),
    ],
    # tests/recommender/training/test_graphs.py shows what it changes.
    "training__cuda_graphs": [
        Refused(
            True,
            "cuda_graphs has no effect here: the fit runs on 'cpu'",
            {"device": "cpu"},
        ),
        Refused("yes", "'cuda_graphs'"),
    ],
    "regularization": [
        Changes(Regularization(dropout=0.8)),
        Refused(
            {"l2": 1},
            "'regularization' parameter .* None or of the class Regularization",
        ),
    ],
    "regularization__dropout": [Changes(0.8), Refused(1.0, "'dropout'")],
    "regularization__id_dropout": [Changes(0.5), Refused(1.5, "'id_dropout'")],
    "regularization__l2": [Changes(1.0), Refused(-1.0, "'l2'")],
    "regularization__id_l2": [Changes(50.0), Refused("most", "'id_l2'")],
    "early_stopping": [
        Changes(EarlyStopping(), validation),
        Refused(
            True, "'early_stopping' parameter .* None or of the class EarlyStopping"
        ),
    ],
    "early_stopping__validation_fraction": [
        Changes(0.5, validation, STOPPING),
        Refused(0.0, "'validation_fraction'"),
    ],
    "early_stopping__metric": [
        Changes("loss", validation, STOPPING),
        Changes("recall@2", validation, STOPPING),
        Refused("accuracy", "unknown metric 'accuracy'"),
    ],
    "early_stopping__n_iter_no_change": [
        Changes(1, losses, STOPPING),
        Refused(0, "'n_iter_no_change'"),
    ],
    "objective": [Changes("bpr"), Refused("hinge", "objective must be one of")],
    "n_factors": [Changes(4), Refused(0, "'n_factors'")],
    "n_members": [Changes(2), Refused(0, "'n_members'")],
    "warm_start": [Changes(True, fitted_again), Refused("yes", "'warm_start'")],
    "device": [Refused("abacus", "abacus"), Refused(0, "'device'")],
    "random_state": [Changes(1), Refused("seed", "'random_state'")],
    "verbose": [Changes(True, shown), Refused("yes", "'verbose'")],
}

FUSION = {
    **LEARNING,
    **USER_KEY,
    "catalog": [
        Changes(Made(lambda world: ItemCatalog(world.items.assign(image__0=1.0)))),
        Refused(Made(lambda world: world.items), "'catalog' .* got DataFrame"),
    ],
    "fusion": [
        Changes("concat"),
        Refused("mix", "fusion must be one of"),
        Refused("llm", "fusion=SoftTokenFuser"),
        Refused(3, "'fusion'"),
        Refused(GatedFusion([1], 1), "give the class, fusion=GatedFusion"),
        Refused(int, "fusion must be one of"),
    ],
    "user_tower": [
        Changes("attention", users),
        Changes(SequenceTower(), users),
        Refused("gru", "'user_tower' parameter must be one of .*'mean'.* got 'gru'"),
        Refused(MeanTower, "'user_tower'"),
    ],
    "user_tower__max_history": [Changes(1), Refused(0, "'max_history'")],
    "user_tower__history_exponent": [
        Changes(0.5, users),
        Refused(-1, "'history_exponent'"),
    ],
    "user_tower__user_embedding": [
        Changes(True, users),
        Refused("yes", "'user_embedding'"),
    ],
    "modalities": [
        Changes({"look": ["image__1"]}, vectors, {"catalog": None}, with_content),
        Refused({"all": ["text__0"]}, "modalities has no effect with a catalog"),
    ],
    "user_catalog": [
        Changes(
            Made(
                lambda world: ItemCatalog(
                    pd.DataFrame({"user_id": range(100, 110), "age__0": range(1, 11)}),
                    key="user_id",
                )
            ),
            users,
        ),
        Refused(Made(lambda world: world.items), "'user_catalog' .* got DataFrame"),
    ],
    "half_life": [
        Changes(1.0, users),
        Refused(0, "'half_life'"),
        Refused(1.0, "half_life has no effect here: a Seq", {"user_tower": "sequence"}),
    ],
    "memory": [
        Changes(1.0, scores),
        Refused(-1, "'memory'"),
        Refused(1.0, "memory has no effect here", {"objective": "mse"}, ratings),
    ],
    "cold_popularity": [
        Changes(5.0, biases, rows=some_unmet),
        Refused(0, "'cold_popularity'"),
        Refused(
            5.0,
            "cold_popularity has no effect here: nothing is ranked",
            {"objective": "mse"},
            ratings,
        ),
    ],
    "propagation": [
        Changes(Propagation()),
        Refused(
            0.2, "'propagation' parameter .* None or of the class Propagation.* got 0.2"
        ),
    ],
    "propagation__share": [Changes(0.7), Refused(1.0, "'share'")],
    "propagation__n_neighbors": [Changes(1), Refused(0, "'n_neighbors'")],
    "pretrained": [
        Changes(
            Made(lambda world: FrozenEstimator(small(world, "concat").fit(world.X))),
            where={"fusion": "concat"},
        ),
        Refused(Made(lambda world: small(world)), "pretrained must be .* a fitted one"),
    ],
    "regularization__modality_dropout": [
        Changes(0.9),
        Refused(-0.1, "'modality_dropout'"),
        Refused(
            0.9,
            "modality_dropout has no effect here: the items have no content",
            {"catalog": None},
        ),
    ],
    "regularization__history_dropout": [
        Changes(0.5),
        Refused(1.0, "'history_dropout'"),
    ],
    "regularization__alignment": [
        Changes(1.0),
        Refused(-1, "'alignment'"),
        Refused(
            1.0,
            "alignment has no effect here: it pulls modalities together, and .* are 1",
            {"catalog": None, "modalities": {"all": ["text__0"]}},
            with_content,
        ),
    ],
    "regularization__modality_balance": [
        Changes(1.0),
        Refused(-1, "'modality_balance'"),
        Refused(
            1.0,
            "modality_balance has no effect here: the items have no content",
            {"catalog": None},
        ),
    ],
    "regularization__n_components": [
        Changes(2),
        Refused(0, "'n_components'"),
        Refused(
            2,
            "n_components has no effect here: the items have no content",
            {"catalog": None},
        ),
    ],
    "regularization__mute_noise": [
        Changes(False, muted, {"catalog": None}, likes_by_text),
        Refused("yes", "'mute_noise'"),
        Refused(
            False,
            "mute_noise has no effect here: the items have no content",
            {"catalog": None},
        ),
    ],
}


def of_tower(tower):
    """The same parameters where another tower reads the histories."""
    where = {"user_tower": tower}
    return {
        "max_history": Changes(2, users, where),
        "history_exponent": Changes(0.5, users, where),
        "user_embedding": Changes(True, users, where),
    }


TOWERS = {
    tower: of_tower(tower()) for tower in (MeanTower, AttentionTower, SequenceTower)
}
TOWERS[SequenceTower] |= {
    "n_layers": Changes(1, users, {"user_tower": SequenceTower()}),
    "dropout": Changes(0.5, users, {"user_tower": SequenceTower()}),
}

FACTORS = {
    **LEARNING,
    **KEYS,
    "cold_popularity": [
        Changes(5.0, biases, rows=ratings),
        Refused(0, "'cold_popularity'"),
    ],
    **{
        f"regularization__{name}": [
            Refused(value, f"{name} of Regularization has no effect here: it looks at")
        ]
        for name, value in {
            "modality_dropout": 0.9,
            "alignment": 1.0,
            "modality_balance": 1.0,
            "n_components": 2,
            "mute_noise": False,
        }.items()
    },
    "regularization__history_dropout": [
        Refused(0.5, "history_dropout of Regularization has no effect here: users are")
    ],
}

CONTENT = {
    **USER_KEY,
    "catalog": FUSION["catalog"],
    "modalities": FUSION["modalities"],
    "half_life": [Changes(1.0, users), Refused(0, "'half_life'")],
}

NEIGHBORS = {
    **KEYS,
    "n_neighbors": [Changes(1, scores), Refused(0, "'n_neighbors'")],
}

TABLE = {
    MultimodalFusionRecommender: FUSION,
    MatrixFactorizationRecommender: FACTORS,
    ContentRecommender: CONTENT,
    PopularityRecommender: KEYS,
    ItemKNNRecommender: NEIGHBORS,
    UserKNNRecommender: NEIGHBORS,
    RandomWalkRecommender: {
        **NEIGHBORS,
        "alpha": [Changes(0.5, scores), Refused(-1, "'alpha'")],
        "beta": [Changes(0.5, scores), Refused(-1, "'beta'")],
    },
    GraphDiffusionRecommender: {
        **KEYS,
        "n_steps": [Changes(1, scores), Refused(0, "'n_steps'")],
        "step_ratio": [Changes(0.5, scores), Refused(0, "'step_ratio'")],
        "popularity_weight": [
            Changes(1.0, scores),
            Refused(-1, "'popularity_weight'"),
        ],
    },
    EASERecommender: {
        **KEYS,
        "l2": [Changes(1.0, scores), Refused(0, "'l2'")],
        "n_neighbors": [Changes(1, scores), Refused(0, "'n_neighbors'")],
        "max_items": [Refused(3, "X has 14 items, more than max_items=3")],
    },
    ImplicitALSRecommender: {
        **KEYS,
        "n_factors": [Changes(2, scores), Refused(0, "'n_factors'")],
        "l2": [Changes(1.0, scores), Refused(0, "'l2'")],
        "alpha": [Changes(1.0, scores), Refused(-1, "'alpha'")],
        "n_iterations": [Changes(1, scores), Refused(0, "'n_iterations'")],
        "random_state": [Changes(1, scores), Refused("seed", "'random_state'")],
    },
}
SMALL = {
    MultimodalFusionRecommender: {
        "n_factors": 6,
        "training__max_epochs": 3,
        "random_state": 0,
        "verbose": False,
    },
    MatrixFactorizationRecommender: {
        "n_factors": 6,
        "training__max_epochs": 3,
        "random_state": 0,
        "verbose": False,
    },
    ImplicitALSRecommender: {"n_factors": 3, "random_state": 0},
}


def small(world, fusion="gated"):
    return MultimodalFusionRecommender(world.catalog, fusion=fusion).set_params(
        **SMALL[MultimodalFusionRecommender]
    )


def entries(kind):
    """Of all tables, those of one kind, each with the name of its parameter."""
    tables = [
        (estimator, name, entry)
        for estimator, table in TABLE.items()
        for name, some in table.items()
        for entry in some
    ]
    tables += [
        (MultimodalFusionRecommender, f"user_tower__{name}", entry)
        for table in TOWERS.values()
        for name, entry in table.items()
    ]
    return [
        pytest.param(*rest, entry, id=f"{rest[0].__name__}-{rest[1]}")
        for *rest, entry in tables
        if isinstance(entry, kind)
    ]


def fit(estimator, world, params, rows):
    """Fit a small recommender; what it shows and is fitted to is kept in the world."""
    rec = estimator()
    if "catalog" in rec.get_params():
        rec.set_params(catalog=world.catalog)
    rec.set_params(**SMALL.get(estimator, {}))
    made = {
        name: value.make(world) if isinstance(value, Made) else clone(value, safe=False)
        for name, value in params.items()
    }
    rec.set_params(**made)
    X, y = rows(world)
    if hasattr(rec, "catalog") and rec.catalog is not None:
        X = X[[c for c in X if c in ("user_id", "item_id", "timestamp")]]
    world.fitted_to = X
    with redirect_stderr(StringIO()) as shown:
        rec.fit(X, y)
    world.shown = shown.getvalue()
    return rec


def is_same(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and bool((one == other).all())


@pytest.mark.parametrize(("estimator", "name", "entry"), entries(Changes))
def test_another_value_changes_what_is_seen(world, estimator, name, entry):
    """And the same value does not: so it is the value that does."""
    value, seen, where, rows = entry
    before, again, after = (
        np.asarray(seen(fit(estimator, world, params, rows), world))
        for params in (where, where, {**where, name: value})
    )
    assert is_same(before, again)
    assert not is_same(before, after)


@pytest.mark.parametrize(("estimator", "name", "entry"), entries(Refused))
def test_a_value_without_effect_is_refused(world, estimator, name, entry):
    value, reason, where, rows = entry
    with pytest.raises((ValueError, RuntimeError), match=reason):
        fit(estimator, world, {**where, name: value}, rows)


def parameters_of(estimator):
    """Names of all parameters, those inside of others too."""
    parameters = inspect.signature(estimator.__init__).parameters
    spelled_out = {name: SETTINGS[name]() for name in SETTINGS if name in parameters}
    if "user_tower" in parameters:
        spelled_out["user_tower"] = MeanTower()
    return set(estimator(**spelled_out).get_params())


@pytest.mark.parametrize("estimator", TABLE)
def test_no_parameter_is_missing(estimator):
    assert set(TABLE[estimator]) == parameters_of(estimator)
    assert all(TABLE[estimator].values())


@pytest.mark.parametrize("tower", TOWERS)
def test_no_parameter_of_a_tower_is_missing(tower):
    assert set(TOWERS[tower]) == set(tower().get_params())


def public(base):
    found = (getattr(skmmrec.recommender, name) for name in skmmrec.recommender.__all__)
    classes = [each for each in found if isinstance(each, type)]
    return {
        each
        for each in classes
        if issubclass(each, base) and not inspect.isabstract(each)
    }


def test_no_estimator_is_missing():
    assert public(BaseRecommender) == set(TABLE), "add it and its parameters to TABLE"
    assert public(Settings) == {*SETTINGS.values(), *TOWERS}


@pytest.mark.parametrize("estimator", TABLE)
def test_nobody_has_to_read_more_than_a_page(estimator):
    assert len(estimator().get_params(deep=False)) <= 22


# -- settings ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*SETTINGS.values(), *TOWERS])
def test_settings_are_estimators_that_learn_nothing(kind):
    settings = kind()
    assert isinstance(settings, BaseEstimator)
    assert not hasattr(settings, "fit")
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
    }
    assert settings.get_params() == defaults
    assert repr(settings) == f"{kind.__name__}()"
    settings.check()


@pytest.mark.parametrize("kind", [*SETTINGS.values(), *TOWERS])
def test_settings_are_told_apart_by_name_alone(kind):
    """An error of order cannot be made: there are no places."""
    kinds = {p.kind for p in inspect.signature(kind).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}
    assert inspect.getdoc(kind)


# -- names of old --------------------------------------------------------------------


@pytest.mark.parametrize("name", MOVED)
def test_an_old_name_tells_where_it_went(name):
    place = MOVED[name].format(name)
    assert "{" not in place
    for call in (MultimodalFusionRecommender, MultimodalFusionRecommender().set_params):
        with pytest.raises(TypeError) as caught:
            call(**{name: 3})
        assert repr(name) in str(caught.value)
        assert place in str(caught.value)


def test_the_new_place_is_one():
    """What the errors say can be done."""
    rec = MultimodalFusionRecommender(
        user_tower=MeanTower(),
        propagation=Propagation(),
        training=Training(),
        regularization=Regularization(),
        early_stopping=EarlyStopping(),
    )
    known = rec.get_params()
    for name, place in MOVED.items():
        parameter, _, call = place.format(name).partition("=")
        if parameter not in known:
            assert name == "mode"
            continue
        inner = call.partition("(")[2].partition("=")[0]
        assert f"{parameter}__{inner}" in known or name == "llm"


def test_names_that_never_were_are_unknown():
    with pytest.raises(TypeError, match="unexpected keyword argument 'epochs'"):
        MultimodalFusionRecommender(epochs=3)
    with pytest.raises(ValueError, match="Invalid parameter 'epochs'"):
        MultimodalFusionRecommender().set_params(epochs=3)
    with pytest.raises(ValueError, match=r"Invalid parameter 'epochs' for .* Training"):
        MultimodalFusionRecommender().set_params(training__epochs=3)


@pytest.mark.parametrize("estimator", TABLE)
def test_the_signature_shows_the_parameters(estimator):
    """So that editors can complete them."""
    shown = inspect.signature(estimator).parameters
    assert set(shown) == set(estimator().get_params(deep=False))


class Preset(MultimodalFusionRecommender):
    """A subclass with a constructor of its own."""

    def __init__(self, catalog=None, *, width=4):
        super().__init__(catalog, n_factors=width)
        self.width = width


def test_a_subclass_shows_its_own_parameters(world):
    assert list(inspect.signature(Preset).parameters) == ["catalog", "width"]
    assert Preset(width=3).get_params() == {"catalog": None, "width": 3}
    assert Preset(world.catalog).fit(world.X).item_vectors_.shape[1] == 4
    with pytest.raises(TypeError, match="'max_epochs'"):
        Preset(max_epochs=3)
