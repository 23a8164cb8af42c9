"""Save and load, pickle, and what happens to damaged files."""

import copy
import errno
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import ConcatFusion, get_fusion_names
from skmmrec.recommender import (
    AttentionTower,
    ContentRecommender,
    EarlyStopping,
    FittedModel,
    MatrixFactorizationRecommender,
    Propagation,
    Regularization,
    SequenceTower,
    Training,
    _persistence,
    _saved_folder,
)
from skmmrec.runtime import _folders
from tests.recommender.saved import editing

load = MultimodalFusionRecommender.load


@pytest.fixture
def folder(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    return tmp_path / "model"


def assert_same_answers(one, other, X):
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.transform(X), other.transform(X))
    pd.testing.assert_frame_equal(one.recommend(k=99), other.recommend(k=99))
    nobody = [type(one.user_index_[0])(1)]
    pd.testing.assert_frame_equal(one.recommend(nobody), other.recommend(nobody))
    similar = [r.similar_items(r.item_index_[:3]) for r in (one, other)]
    pd.testing.assert_frame_equal(*similar)
    unseen = X.assign(user_id=nobody * len(X))
    assert one.score(unseen) == other.score(unseen) > 0
    assert one.serving_vectors().version == other.serving_vectors().version


@pytest.mark.parametrize("fusion", get_fusion_names())
def test_round_trip(make, catalog, X, tmp_path, fusion):
    recommender = make(catalog, fusion=fusion, regularization__n_components=2).fit(X)
    recommender.save(tmp_path / "deep" / "model")
    assert_same_answers(load(tmp_path / "deep" / "model"), recommender, X)


def test_round_trip_of_the_flat_form(fitted_flat, flat, tmp_path):
    fitted_flat.save(str(tmp_path / "model"))
    loaded = load(str(tmp_path / "model"))
    assert_same_answers(loaded, fitted_flat, flat)
    new = flat.assign(item_id="new")
    np.testing.assert_array_equal(loaded.predict(new), fitted_flat.predict(new))
    assert loaded.feature_names_in_.tolist() == list(flat)
    with pytest.raises(ValueError, match="image__0"):
        loaded.predict(flat.drop(columns="image__0"))


@pytest.mark.parametrize(
    "modalities",
    [
        {"image": slice(5, 8), "text": [2, 3]},
        {"image": ["image__0", "image__1"]},
        {"audio": np.array([8, 9])},
    ],
)
def test_round_trip_of_modalities(make, flat, tmp_path, modalities):
    table = flat.drop(columns="timestamp")
    recommender = make(modalities=modalities).fit(table)
    recommender.save(tmp_path / "model")
    assert_same_answers(load(tmp_path / "model"), recommender, table)


CHANGES = {
    "partial_fit": lambda rec, X: rec.partial_fit(X.head(2).assign(user_id=1)),
    "forget": lambda rec, X: rec.forget(rec.user_index_[:1]),
    "remove_items": lambda rec, X: rec.remove_items(rec.item_index_[:1]),
}


def test_the_version_is_that_of_where_it_was_fitted(
    fitted, folder, X, tmp_path, monkeypatch
):
    """Another processor rounds vectors otherwise, and a store knows the first."""
    made, version = FittedModel.update_users, fitted.serving_vectors().version

    def update_users(model, where=None):
        made(model, where)
        model.user_vectors = np.nextafter(model.user_vectors, np.float32(9))

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(FittedModel, "update_users", update_users)
        loaded = load(folder)
    assert (loaded.user_vectors_ != fitted.user_vectors_).all(axis=None)
    loaded.save(tmp_path / "again")
    pickled = pickle.loads(pickle.dumps(loaded))
    for same in (loaded, pickled, copy.deepcopy(pickled), load(tmp_path / "again")):
        assert same.serving_vectors().version == version
        assert same.stored_vectors().version == version
    for change in CHANGES.values():
        for each in (copy.copy(loaded), pickle.loads(pickle.dumps(loaded))):
            before = each.user_vectors_
            assert change(each, X).serving_vectors().version != version
            assert not each.user_vectors_.equals(before)
    assert loaded.serving_vectors().version == version


def test_loaded_attributes_and_parameters(fitted, folder):
    loaded = load(folder)
    expected = {**fitted.get_params(), "catalog": None}
    assert repr(loaded.get_params()) == repr(expected)
    assert loaded.training is not fitted.training
    assert loaded.loss_curve_ == fitted.loss_curve_
    assert loaded.n_iter_ == fitted.n_iter_
    assert loaded.n_features_in_ == fitted.n_features_in_
    pd.testing.assert_frame_equal(loaded.item_vectors_, fitted.item_vectors_)


def test_with_the_catalogue_content_can_ask(fitted, folder, catalog, items):
    content = items.filter(like="image__").head(2)
    with pytest.raises(ValueError, match="needs a catalog"):
        load(folder).similar_items(content)
    found = load(folder, catalog=catalog).similar_items(content)
    pd.testing.assert_frame_equal(found, fitted.similar_items(content))


def test_in_another_process(fitted, folder, X, tmp_path):
    """It scores the same, and also a fit imports no compiler, which takes seconds."""
    X.to_json(tmp_path / "X.json")
    code = (
        "import sys, json, pandas as pd\n"
        "from skmmrec import MultimodalFusionRecommender\n"
        "from skmmrec.recommender import MatrixFactorizationRecommender\n"
        "X = pd.read_json(sys.argv[2])\n"
        "scores = MultimodalFusionRecommender.load(sys.argv[1]).predict(X)\n"
        "other = MatrixFactorizationRecommender(2).set_params(training__max_epochs=1)\n"
        "other.fit(X[['user_id', 'item_id']]).save(sys.argv[3])\n"
        "compiles = 'torch._dynamo' in sys.modules\n"
        "print(json.dumps([compiles, *[float(s).hex() for s in scores]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, tmp_path / "X.json", tmp_path / "other"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    compiles, *scores = json.loads(done.stdout)
    assert scores == [float(s).hex() for s in fitted.predict(X)]
    assert not compiles


def test_saved_twice_is_the_same(folder, tmp_path):
    load(folder).save(tmp_path / "again")
    for file in folder.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


SETTINGS = {
    "training": Training(
        max_epochs=1,
        task_weights=(1, np.float32(0.5)),
        clip_norm=2.0,
        checkpoint_dir="there",
    ),
    "regularization": Regularization(
        n_components=2, mute_noise=False, id_l2=np.int64(3)
    ),
    "early_stopping": EarlyStopping(metric="recall@5", validation_fraction=0.3),
    "propagation": Propagation(share=0.4, n_neighbors=np.int32(2)),
    "user_tower": AttentionTower(history_exponent=0.7, user_embedding=True),
}


def test_settings_come_back(make, catalog, X, y, tmp_path, monkeypatch):
    """All but places on this machine; others are None or names, as they were given."""
    monkeypatch.chdir(tmp_path)
    recommender = make(catalog, objective=["softmax", "mse"], **SETTINGS)
    recommender.fit(X, np.column_stack([y, y])).save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.training.checkpoint_dir is None
    recommender.set_params(training__checkpoint_dir=None, catalog=None)
    assert set(loaded.get_params()) == set(recommender.get_params())
    for name in SETTINGS:
        given, found = getattr(recommender, name), getattr(loaded, name)
        assert type(found) is type(given)
        assert found.get_params().keys() == given.get_params().keys()
        for field, value in given.get_params().items():
            assert getattr(found, field) == value or field == "task_weights"
    assert loaded.training.task_weights == [1.0, 0.5]
    assert_same_answers(loaded, recommender, X)


@pytest.mark.parametrize("tower", ["sequence", SequenceTower(max_history=3)])
def test_a_tower_comes_back_as_it_was_given(make, catalog, X, tmp_path, tower):
    recommender = make(catalog, user_tower=tower).fit(X)
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert repr(loaded.user_tower) == repr(tower)
    assert repr(loaded.model_.design) == repr(recommender.model_.design)
    assert loaded.training is not None
    assert loaded.regularization is loaded.propagation is None
    assert_same_answers(loaded, recommender, X)


def test_a_model_is_loaded_by_its_own_class(folder, catalog, X, tmp_path):
    ContentRecommender(catalog).fit(X).save(tmp_path / "content")
    for kind in (ContentRecommender, MatrixFactorizationRecommender):
        with pytest.raises(ValueError, match=r"holds a MultimodalFusionRecommender"):
            kind.load(folder)
    with pytest.raises(ValueError, match=r"holds a ContentRecommender"):
        load(tmp_path / "content")


def test_no_pickle_in_the_folder(folder):
    assert sorted(file.suffix for file in folder.iterdir()) == [
        ".json",
        ".md",
        ".safetensors",
    ]
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def test_loading_unpickles_nothing(folder, X, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    for module in (pickle, torch):
        monkeypatch.setattr(module, "load", refuse)
    monkeypatch.setattr(pickle, "loads", refuse)
    load(folder).predict(X)


def test_loading_leaves_the_global_generators_alone(folder):
    state = torch.random.get_rng_state()
    load(folder)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_parameters_that_are_numpy_numbers(make, catalog, X, tmp_path):
    """As they come out of a search over an array."""
    numbers = {
        "n_factors": np.int64(4),
        "regularization__dropout": np.float64(0.1),
        "random_state": np.int64(2),
        "verbose": np.bool_(False),
    }
    make(catalog, **numbers).fit(X).save(tmp_path / "model")
    params = load(tmp_path / "model").get_params()
    assert {name: params[name] for name in numbers} == numbers
    assert isinstance(params["regularization__dropout"], float)


def test_a_random_state_that_cannot_be_kept(make, catalog, X, tmp_path):
    recommender = make(catalog, random_state=np.random.RandomState(0)).fit(X)
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.random_state is None
    assert_same_answers(loaded, recommender, X)


def test_a_fusion_without_a_name_is_not_saved(make, catalog, X, tmp_path):
    class Nameless(ConcatFusion):
        """Nobody has registered it."""

    recommender = make(catalog, fusion=Nameless).fit(X)
    with pytest.raises(ValueError, match="register_fusion"):
        recommender.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("column", ["user_id", "item_id"])
@pytest.mark.parametrize("kind", ["float", "unicode", "large"])
def test_ids_come_back_as_they_were(make, items, flat, tmp_path, column, kind):
    codes = pd.factorize(flat[column], sort=True)[0]
    convert = {
        "float": lambda n: n + 0.1,
        "unicode": lambda n: f"né {n}\n\U0001f3ac",
        "large": lambda n: 2**62 + n,
    }
    table = flat.assign(**{column: [convert[kind](int(n)) for n in codes]})
    recommender = make().fit(table)
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert_same_answers(loaded, recommender, table)
    index = f"{column.removesuffix('_id')}_index_"
    assert set(getattr(loaded, index)) == set(table[column])


def test_saving_replaces_a_model(make, catalog, X, folder):
    other = make(catalog, random_state=9).fit(X)
    other.save(folder)
    assert_same_answers(load(folder), other, X)
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def _fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, "disk full")


STEPS = [
    (_persistence, "write_record"),
    (_saved_folder, "save_file"),
    (_saved_folder, "with_hash"),
    (_saved_folder, "sync_folder"),
    (_folders, "_replace"),
    (shutil, "copymode"),
    (Path, "mkdir"),
]


@pytest.mark.parametrize(("place", "step"), STEPS)
def test_a_failed_save_leaves_the_old_model(
    make, catalog, X, fitted, folder, place, step, monkeypatch
):
    other = make(catalog, random_state=9).fit(X)
    monkeypatch.setattr(place, step, _fail)
    with pytest.raises(OSError, match="disk full"):
        other.save(folder)
    assert_same_answers(load(folder), fitted, X)
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def test_a_move_that_fails_leaves_the_old_model(
    make, catalog, X, fitted, folder, monkeypatch
):
    """The new folder is written, but cannot be put in place."""
    other = make(catalog, random_state=9).fit(X)
    rename = Path.rename

    def fail_for_the_new(self, target):
        if self.name == "new":
            _fail()
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(OSError, match="disk full"):
        other.save(folder)
    assert_same_answers(load(folder), fitted, X)
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


def test_a_folder_that_is_no_model_is_not_replaced(fitted, tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.tex").write_text("words")
    for path in (precious, precious / "chapter.tex"):
        with pytest.raises(FileExistsError, match="not a saved recommender"):
            fitted.save(path)
    assert (precious / "chapter.tex").read_text() == "words"
    assert [file.name for file in tmp_path.rglob("*")] == ["thesis", "chapter.tex"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_no_model(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"{name}: recommender.json"):
        load(tmp_path / name)


@pytest.mark.parametrize("size", [0, 4, 100, -7])
def test_truncated_tensors(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model.*damaged"):
        load(folder)


def test_missing_tensors(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("size", [0, 40, -3])
def test_truncated_json(folder, size):
    path = folder / "recommender.json"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"recommender\.json is damaged"):
        load(folder)


@pytest.mark.parametrize("text", [b"[]", b"{}", b'{"format": 99}', b'"words"', b"\xff"])
def test_another_json(folder, text):
    (folder / "recommender.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"recommender\.json is"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("params", {}),
        ("params", {"n_factors": 99, "fusion": "gated", "modalities": None}),
        ("params", {"training": {"kind": "Training", "params": {"epochs": 3}}}),
        ("params", {"training": {"kind": "Practice", "params": {}}}),
        ("design", {}),
        (
            "design",
            {"fusion": "gated", "tower": None, "n_factors": 9, "user_embedding": False},
        ),
        ("params", {"no_such": 1, "fusion": "gated", "modalities": None}),
        ("modality_names", ["smell"]),
        ("items", {"dtype": "int64", "ids": [1, 2]}),
        ("items", {"dtype": "int64", "ids": ["a"]}),
        ("users", {"dtype": "int64", "ids": [1, 2]}),
        ("users", None),
    ],
)
def test_files_that_do_not_fit_together(folder, key, value):
    with editing(folder) as (record, _):
        record[key] = value
    with pytest.raises(ValueError, match=r"damaged"):
        load(folder)


def test_a_file_names_no_place_to_write_to(folder):
    """The next fit would write checkpoints there."""
    with editing(folder) as (record, _):
        record["params"]["training"]["params"]["checkpoint_dir"] = "/somewhere"
    with pytest.raises(ValueError, match=r"are no parameters of Training"):
        load(folder)


def test_an_unregistered_fusion_is_named(folder):
    with editing(folder) as (record, _):
        record["params"]["fusion"] = record["design"]["fusion"] = "mine"
    with pytest.raises(ValueError, match=r"fusion='mine'.*register_fusion first"):
        load(folder)


def test_a_table_is_no_catalogue(folder, items):
    with pytest.raises(TypeError, match="catalog must be an ItemCatalog, got DataFr"):
        load(folder, items)


@pytest.mark.parametrize("module", [pickle, joblib], ids=["pickle", "joblib"])
def test_pickle(fitted, fitted_flat, X, flat, tmp_path, module):
    for recommender, table in ((fitted, X), (fitted_flat, flat)):
        with (tmp_path / "rec.pkl").open("wb") as file:
            module.dump(recommender, file)
        with (tmp_path / "rec.pkl").open("rb") as file:
            assert_same_answers(module.load(file), recommender, table)


def test_a_loaded_model_can_be_cloned_and_fitted(folder, catalog, X, y, fitted):
    again = clone(load(folder, catalog=catalog)).fit(X, y)
    np.testing.assert_array_equal(again.item_vectors_, fitted.item_vectors_)
