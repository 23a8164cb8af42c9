"""What a saved model may say, whoever wrote its hashes."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from safetensors.numpy import load_file
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import StandardScaler

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    AttentionTower,
    ContentRecommender,
    MatrixFactorizationRecommender,
    Propagation,
    SequenceTower,
)
from skmmrec.recommender._persistence import read_state, write_state
from skmmrec.recommender._record_schema import ESTIMATOR, PICKLED
from tests.recommender.saved import editing
from tests.recommender.test_saved_folder import each_on_its_own, places


@pytest.fixture(scope="module")
def rich(make, items, X, y):
    """All that a model may have, but a fuser."""
    priced = items.assign(price=np.arange(len(items)) ** 2.0)
    vectors = [c for c in items if "__" in c]
    encoder = make_column_transformer(
        *((_Passed(), vectors[start : start + 3]) for start in (0, 3, 6)),
        (StandardScaler(), ["price"]),
    )
    encoder = encoder.set_output(transform="pandas")
    users = X[["user_id"]].drop_duplicates()
    users = users.assign(profile__0=np.arange(len(users)) % 3, profile__1=1.0)
    answers = np.column_stack([y, y > 0]).astype(float)
    answers[::5, 1] = np.nan
    return make(
        ItemCatalog(priced, encoder),
        user_catalog=ItemCatalog(users, key="user_id"),
        objective=["mse", "bce"],
        n_members=2,
        propagation=Propagation(share=0.3, n_neighbors=2),
        user_tower=AttentionTower(user_embedding=True),
        half_life=3.0,
        regularization__n_components=2,
    ).fit(X, answers)


class _Passed(StandardScaler):
    """Vectors, which a scaler of another name would make numbers."""


@pytest.fixture(scope="module")
def kinds(rich, make, catalog, items, X, y, tmp_path_factory):
    """Folders of models of each kind, to be looked at only."""
    root, pairs = tmp_path_factory.mktemp("kinds"), X[["user_id", "item_id"]]
    models = {
        "rich": rich,
        "likes": make(catalog, user_tower=SequenceTower(max_history=3)).fit(X, y),
        "factors": MatrixFactorizationRecommender(4, random_state=0)
        .set_params(training__max_epochs=1)
        .fit(pairs),
        "content": ContentRecommender(catalog).fit(X),
    }
    for name, model in models.items():
        model.save(root / name)
    return root


CLASSES = {
    "factors": MatrixFactorizationRecommender,
    "content": ContentRecommender,
}
KINDS = ("rich", "likes", "factors", "content")


def load(folder):
    name = folder.name
    return CLASSES.get(name, MultimodalFusionRecommender).load(folder)


def copy_of(kinds, tmp_path, name):
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    return Path(shutil.copytree(kinds / name, tmp_path / name))


@pytest.mark.parametrize("name", KINDS)
def test_an_edit_that_changes_nothing_is_read(kinds, tmp_path, name):
    folder = copy_of(kinds, tmp_path, name)
    with editing(folder):
        pass
    load(folder)


def test_the_rich_model_has_every_array(kinds):
    tensors = load_file(kinds / "rich" / "model.safetensors")
    parts = "network history_ seen_ items users expectation graph"
    assert {name.split(".")[0] for name in tensors} == set(parts.split())
    assert {"history_.values", "seen_.values"} <= tensors.keys()
    assert any(name.startswith("items.axes.") for name in tensors)
    record = json.loads((kinds / "rich" / "recommender.json").read_text())
    assert list(record["numbers"])


# -- the record ----------------------------------------------------------------------

NAN, INF = float("nan"), float("inf")
# Values that an entry can never have, by its path in the record.
IMPOSSIBLE = [
    ("half_life", [NAN, INF, 0, -1, "3", True, [], 10**400]),
    ("n_networks", [0, -1, 1, 3, 2.0, "2", None, True, 10**9]),
    ("n_neighbors", [0, -2, 3, 2.5, None, 10**9]),
    ("propagation", [NAN, 1, -0.1, 0, None, "0.3"]),
    ("id_l2", [NAN, INF, -1, None, "1"]),
    ("cold_popularity", [NAN, 0, -1, INF, None]),
    ("flat", [0, 1, None, "false"]),
    ("format", [None, "8"]),
    ("skmmrec", [None, 1]),
    ("keys", [None, {}, {"user": ["u"]}, {"user": [], "item": ["i"]}]),
    ("keys.user", [[], None, [1], ["a", "a"], "user_id"]),
    ("modality_names", [None, [], ["text"], "text", [1], ["text"] * 4]),
    ("muted_modalities", [None, ["text"], ["smell"], [1]]),
    ("user_modality_names", [None, [], ["smell"], ["profile", "smell"]]),
    ("numbers", [None, [], {"smell": [[1.0], [1.0]]}, {"text": [[1.0], [1.0]]}]),
    ("user_numbers", [None, {"smell": [[1.0], [1.0]]}]),
    ("fuser", [{}, [], 1, {"params": {}, "fitted": {}, "numbers": {}}]),
    ("tasks", [None, [], [{}], {}]),
    ("tasks.0.objective", ["bpr", "softmax", None, ["mse"], "none"]),
    ("tasks.0.sampled", [True, None, 0]),
    ("tasks.0.mean", [NAN, INF, None, "0"]),
    ("tasks.0.scale", [0, -1, NAN, None]),
    ("tasks.1.mean", [0, 1, -0.5, 2, NAN]),
    ("tasks.1.sampled", [1, None]),
    ("design", [None, {}, []]),
    ("design.fusion", [None, 1, [], "no such"]),
    ("design.tower", [{}, {"kind": "Training", "params": {}}, "mean", None]),
    ("design.tower.kind", ["MeanTower", "SequenceTower", "no such", None]),
    ("design.tower.params", [None, {"no_such": 1}, {"max_history": 0}]),
    ("design.tower.params.history_exponent", [NAN, -1, None, "1"]),
    ("design.n_factors", [0, -6, 7, 5, 6.0, None, "6", 10**12]),
    ("design.user_embedding", [False, None, 1]),
    ("items.ids", [None, [], "ids", {}, [1] * 14, ["a"] * 14]),
    ("items.dtype", ["int64", "float64", "category", "datetime64[ns]", None, 1]),
    ("users.ids", [None, [], [1, 1], list(range(8)), list(range(10)), [1.5] * 9]),
    ("users.dtype", ["object", "float64", "int32", "bool", "str", None]),
    ("users.ids.0", [101, 1.0, True, "100", None, 2**63, -(2**70), []]),
    ("items.ids.0", ["i01", 1, None, NAN, [], {}]),
    ("loss_curve", [None, [NAN], [None], "", {"0": 1}]),
    ("loss_curve.0", [NAN, INF, None, "1", True]),
    ("validation_curve", [None, [NAN], [None], 1]),
    ("forgotten", [None, [1], ["a", "a"], "a"]),
    ("estimator", [None, 1, "ContentRecommender"]),
    ("n_features_in", [0, -1, None, 3.0, 2, True]),
    ("feature_names_in", [[], ["a"], [1, 2, 3], "abc"]),
    ("params", [None, [], {}, {"no_such": 1}]),
    ("params.n_factors", [0, -1, 1.5, "8", None]),
    ("params.n_members", [0, -1, None]),
    ("params.half_life", [0, -1, NAN, "no"]),
    ("params.objective", [None, [], "no such", 3]),
    ("params.cold_popularity", [0, -1, NAN, None]),
    ("params.fusion", [None, 1, [], "no such"]),
    ("params.user_tower", [None, "no such", {"kind": "Training", "params": {}}]),
    ("params.propagation.params.share", [0, 1, NAN, None]),
    ("params.propagation.params.n_neighbors", [0, 1.5, None]),
    ("params.regularization.params.dropout", [1, -0.1, NAN, None]),
    ("params.training.params.max_epochs", [-1, 1.5, None]),
    ("params.training.params.batch_size", [0, -1, None]),
    ("params.training.kind", ["Practice", "Propagation", None]),
    ("params.random_state", [-1, 1.5, "0"]),
    ("params.device", [1, None]),
    ("params.warm_start", [None, "yes"]),
]


def put(record, path, value):
    *steps, key = [int(s) if s.isdigit() else s for s in path.split(".")]
    for step in steps:
        record = record[step]
    record[key] = value


@pytest.mark.parametrize(("path", "values"), IMPOSSIBLE, ids=[p for p, _ in IMPOSSIBLE])
def test_what_cannot_be_is_refused(kinds, tmp_path, path, values):
    """With an error that names the entry, or the array that it contradicts."""
    for value in values:
        folder = copy_of(kinds, tmp_path, "rich")
        with editing(folder) as (record, _):
            put(record, path, deepcopy(value))
        with pytest.raises(ValueError, match=r".{20}") as caught:
            load(folder)
        assert "Error(" not in str(caught.value) or "params" in path, caught.value


@pytest.mark.parametrize("name", KINDS)
def test_a_record_with_other_entries_is_refused(kinds, tmp_path, name):
    record = json.loads((kinds / name / "recommender.json").read_text())
    for key in record.keys() - {"hash", "files", "format"}:
        folder = copy_of(kinds, tmp_path, name)
        with editing(folder) as (record, _):
            record[f"{key}_"] = record.pop(key)
        with pytest.raises(ValueError, match=rf"{key}_? is|holds a None"):
            load(folder)


def values_near(value):
    """Values like one, and of other types."""
    near = st.sampled_from([None, True, 0, -1, 1, 2**70, NAN, INF, -0.5, "", [], {}])
    if isinstance(value, list):
        near |= st.just(value[1:]) | st.just(value * 2) | st.just(value[::-1])
    if isinstance(value, float | int) and not isinstance(value, bool):
        near |= st.just(value + 1) | st.just(-value) | st.floats() | st.integers()
    if isinstance(value, str):
        near |= st.text(max_size=5)
    return near


@each_on_its_own
@given(st.sampled_from(KINDS), st.data())
def test_any_edit_of_a_record_is_refused_or_is_a_model(kinds, tmp_path, name, data):
    folder = copy_of(kinds, tmp_path, name)
    with editing(folder) as (record, _):
        found = [path for path in places(record) if path[0] not in ("hash", "files")]
        *steps, key = data.draw(st.sampled_from(found))
        holder = record
        for step in steps:
            holder = holder[step]
        if data.draw(st.booleans()):
            holder[key] = data.draw(values_near(holder[key]))
        else:
            del holder[key]
    try:
        loaded = load(folder)
    except ValueError:
        return
    check_sound(loaded, tmp_path)


def check_sound(recommender, tmp_path):
    """A model that was read is one that answers and that can be saved."""
    for table in (recommender.item_vectors_, recommender.user_vectors_):
        assert np.isfinite(table.to_numpy()).all()
        assert table.index.is_unique
    model = recommender.model_
    assert len(model.networks) >= 1
    assert len(model.user_vectors) == len(model.data.history.lengths)
    shutil.rmtree(tmp_path / "again", ignore_errors=True)
    recommender.save(tmp_path / "again")


# -- the arrays ----------------------------------------------------------------------


def damages(array):
    """Name what may be wrong with an array, and the array that has it."""
    yield "shape", np.concatenate([array, array[:1]]) if len(array) else array[None]
    yield "shape", array[None]
    if array.size:
        yield "shape", array[:-1]
        yield "shape", array.ravel()[: array.size - 1]
    for dtype in (np.float16, np.float64, np.int32, np.uint8, np.int8):
        if array.dtype != dtype and array.size:
            with np.errstate(all="ignore"):
                yield "type", array.astype(dtype)
    if array.size and array.dtype.kind in "fi":
        odd = [np.nan, np.inf, -np.inf] if array.dtype.kind == "f" else [-1, 2**40]
        for value in odd:
            changed = array.copy()
            changed.flat[array.size // 2] = value
            yield f"{value}", changed
    if array.size and array.dtype == bool:
        changed = array.copy()
        changed.view(np.uint8).flat[0] = 2
        yield "byte", changed


def state_of(kinds, name):
    """Record and arrays of a model, as a pickle has them."""
    record = json.loads((kinds / name / "recommender.json").read_text())
    for entry in (*ESTIMATOR.keys() - PICKLED.keys(), "hash", "files"):
        del record[entry]
    tensors = load_file(kinds / name / "model.safetensors")
    params = {*CLASSES.get(name, MultimodalFusionRecommender)._get_param_names()}
    return json.dumps(record), tensors, params


def read(state, tensors):
    return read_state({"record": state[0], "tensors": tensors}, state[2])[0]


@pytest.mark.parametrize("name", KINDS)
def test_arrays_that_cannot_be_are_refused(kinds, name):
    state = state_of(kinds, name)
    read(state, state[1])
    for array_name, array in state[1].items():
        for what, changed in damages(array):
            if array_name == "seen_.values" and what == "nan" and name == "rich":
                continue  # of several tasks some have no answer
            with pytest.raises(ValueError, match=r"damaged") as caught:
                read(state, {**state[1], array_name: np.ascontiguousarray(changed)})
            # Sizes follow from other arrays of the same part, which may be named.
            assert array_name.split(".")[0] in str(caught.value), (array_name, what)


@pytest.mark.parametrize("name", KINDS)
def test_arrays_that_are_missing_or_too_many(kinds, name):
    state = state_of(kinds, name)
    for array_name, array in state[1].items():
        rest = {n: a for n, a in state[1].items() if n != array_name}
        more = {**state[1], f"{array_name}2": array}
        # Without weights and answers, what was seen are plain likes.
        for tensors in (more,) if array_name == "seen_.values" else (rest, more):
            with pytest.raises(ValueError, match=r"missing|not known|must be|networks"):
                read(state, tensors)


def change(kinds, tmp_path, name, edit):
    folder = copy_of(kinds, tmp_path, name)
    with editing(folder) as (record, tensors):
        edit(record, tensors)
    return folder


def set_at(name, place, value):
    def edit(record, tensors):
        tensors[name][place] = value

    return edit


def swap_first_pairs(record, tensors):
    items = tensors["history_.items"]
    items[[0, 1]] = items[[1, 0]]


def repeat_a_pair(record, tensors):
    for name in ("seen_.items", "history_.items"):
        tensors[name][1] = tensors[name][0]


def make_a_pair_unseen(record, tensors):
    seen, offsets = tensors["seen_.items"], tensors["seen_.offsets"]
    own = seen[: offsets[1]]
    tensors["history_.items"][0] = next(i for i in range(14) if i not in own)


def hide_present_content(record, tensors):
    tensors["items.mask"][0] = False


TOGETHER = {
    "a user who ends before the start": (set_at("seen_.offsets", 1, 0), "seen_"),
    "offsets that fall": (set_at("history_.offsets", 3, 0), "history_.offsets"),
    "offsets that start late": (set_at("seen_.offsets", 0, 1), "seen_.offsets"),
    "histories in another order": (swap_first_pairs, "history_.items"),
    "an item twice": (repeat_a_pair, "twice for one user"),
    "an item that was not seen": (make_a_pair_unseen, "history_.items"),
    "content that is said to be missing": (hide_present_content, "items.mask"),
    "a weight below 0": (set_at("seen_.values", (0, 0), -1), "weight below 0"),
    "a weight that is NaN": (set_at("seen_.values", (0, 0), np.nan), "seen_.values"),
}


@pytest.mark.parametrize("what", TOGETHER)
def test_arrays_that_contradict_each_other(kinds, tmp_path, what):
    edit, words = TOGETHER[what]
    with pytest.raises(ValueError, match=words):
        load(change(kinds, tmp_path, "rich", edit))


@each_on_its_own
@given(st.sampled_from(KINDS), st.data())
def test_any_edit_of_an_array_is_refused_or_is_a_model(kinds, name, data):
    state = state_of(kinds, name)
    tensors = {n: array.copy() for n, array in state[1].items()}
    full = sorted(n for n, array in tensors.items() if array.size)
    raw = tensors[data.draw(st.sampled_from(full))].reshape(-1).view(np.uint8)
    raw[data.draw(st.integers(0, raw.size - 1))] = data.draw(st.integers(0, 255))
    try:
        model = read(state, tensors)
    except ValueError:
        return
    for vectors in (model.item_vectors, model.user_vectors, model.item_biases):
        assert np.isfinite(vectors).all()
    params = json.loads(state[0])["params"]
    again = write_state(model, dict.fromkeys(params))
    for array_name, array in tensors.items():
        np.testing.assert_array_equal(again["tensors"][array_name], array)


def test_vectors_that_overflow_are_refused(kinds, tmp_path):
    """Though each number that they are made of is finite."""

    def edit(record, tensors):
        record["design"]["tower"]["params"]["history_exponent"] = 0.0
        for number in range(2):
            tensors[f"network.{number}.item_embedding"][:] = 3e38

    with pytest.raises(ValueError, match="vectors must be finite"):
        load(change(kinds, tmp_path, "rich", edit))


def test_a_tower_that_would_fill_the_memory(kinds, tmp_path):
    """Is refused before anything of its size is made."""

    def edit(record, tensors):
        record["design"]["tower"]["params"]["max_history"] = 10**13

    with pytest.raises(ValueError, match=r"tower\.recency must be of shape"):
        load(change(kinds, tmp_path, "likes", edit))


# -- what is written -----------------------------------------------------------------


def test_what_would_be_refused_is_not_saved(make, catalog, X, tmp_path):
    rec = make(catalog).fit(X)
    rec.model_.half_life = NAN
    with pytest.raises(ValueError, match="cannot be saved: half_life must be"):
        rec.save(tmp_path / "model")
    rec.model_.half_life = None
    rec.model_.networks[0].item_bias.data[3] = INF
    with pytest.raises(ValueError, match=r"cannot be saved: network\.0\.item_bias"):
        rec.save(tmp_path / "model")
    rec.model_.networks[0].item_bias.data[3] = 0.0
    rec.set_params(n_members=0)
    with pytest.raises(ValueError, match="'n_members' parameter"):
        rec.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    rec.set_params(n_members=1).save(tmp_path / "model")


def test_a_model_goes_on_and_is_saved_again(rich, X, y, items, tmp_path):
    """With new users, new items, forgotten users and other answers."""
    rec = deepcopy(rich)
    new = items.head(2).assign(item_id=["new0", "new1"], price=3.0)
    rec.add_items(new)
    rows = pd.DataFrame({"user_id": [999, 100], "item_id": ["new0", "new1"]})
    rec.partial_fit(rows.assign(timestamp=99), [[1.0, np.nan], [2.0, 1.0]])
    rec.forget([100, 101])
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.item_vectors_, rec.item_vectors_)
    rec.forget(rec.user_index_)
    rec.save(tmp_path / "model")
    assert len(MultimodalFusionRecommender.load(tmp_path / "model").user_index_) == 0


def test_floats_that_are_whole_once_others_are_gone(make, flat, tmp_path):
    rec = make().fit(flat.assign(user_id=flat.user_id + 0.5 * (flat.user_id == 100)))
    rec.forget([100.5])
    rec.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_index_equal(loaded.user_index_, rec.user_index_)


# -- pickles -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [("half_life", NAN), ("n_networks", 3), ("format", 99), ("users.ids.0", 101)],
)
def test_a_pickle_of_what_cannot_be(fitted, path, value):
    state = fitted.__getstate__()
    record = json.loads(state["record"])
    put(record, path, value)
    with pytest.raises(ValueError, match=r"the pickled model is.*Fit it again"):
        MultimodalFusionRecommender().__setstate__(
            {**state, "record": json.dumps(record)}
        )
