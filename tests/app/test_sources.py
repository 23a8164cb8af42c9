"""What the page asks of a saved model and of a store, and that it changes neither."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.app._inputs import inputs_of, require_read
from skmmrec.app._library import open_library
from skmmrec.app._saved import SavedModel
from skmmrec.app._settings import Settings, read_objects, write_objects
from skmmrec.app._sources import kind_of_folder
from skmmrec.encoders import MultimodalEncoder
from skmmrec.recommender import (
    ContentRecommender,
    MatrixFactorizationRecommender,
    SequenceTower,
    Training,
    load_model,
)

QUICK = {"training": Training(max_epochs=2), "random_state": 0}


def hashes(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def model(saved):
    return SavedModel(load_model(saved), "model")


def test_lists_are_those_of_the_recommender(model, rec):
    user = rec.user_index_[3]
    assert model.recommend(user, 5).equals(
        rec.recommend([user], k=5).drop(columns="user_id")
    )
    assert model.similar(rec.item_index_[0], 4)["item_id"].tolist() == (
        rec.similar_items([rec.item_index_[0]], k=4)["item_id"].tolist()
    )


def test_the_history_is_that_of_the_model_latest_first(model, rec):
    user = rec.user_index_[3]
    liked = rec.item_index_[rec.history_.of(3)].tolist()
    assert model.history(user) == liked[::-1]
    assert model.history("nobody") == []
    assert model.knows(user)
    assert not model.knows("nobody")


def test_reasons_say_what_adds_to_the_score(model, rec):
    user = rec.user_index_[3]
    ranked = model.recommend(user, 3)
    items = ranked["item_id"].tolist()
    titles = pd.Series([f"T {i}" for i in items], items)
    reasons = model.reasons(user, items, titles)
    for reason, score in zip(reasons, ranked["score"], strict=True):
        assert sum(reason.parts.values()) == pytest.approx(score, rel=1e-4, abs=1e-4)
        assert list(reason.shares) == list(rec.catalog.blocks.modalities)
        assert reason.sentence
    assert model.reasons(user, [], titles) == []
    assert model.reasons("nobody", items, titles)[0].sentence


def test_a_like_moves_a_copy_and_nothing_else(model, saved):
    user = model.user_ids[3]
    before, files = model.recommend(user, 20), hashes(saved)
    fingerprint = model.recommender.model_.fingerprint()
    liked = before["item_id"].tolist()[4:6]
    moved = model.after(user, liked)
    assert moved.history(user)[:2] == liked[::-1]
    now = moved.recommend(user, 20)
    assert not set(liked) & set(now["item_id"])
    assert not np.allclose(
        now.set_index("item_id")["score"].reindex(before["item_id"][:4]),
        before["score"][:4],
        rtol=1e-4,
        atol=1e-4,
    )
    assert model.recommend(user, 20).equals(before)
    assert model.recommender.model_.fingerprint() == fingerprint
    assert hashes(saved) == files


def test_a_new_user_gets_a_list_and_moves_it(model):
    before = model.recommend("nobody", 10)
    liked = before["item_id"].tolist()[5]
    moved = model.after("nobody", [liked])
    assert moved.history("nobody") == [liked]
    assert moved.recommend("nobody", 10)["item_id"].tolist() != (
        before["item_id"].tolist()
    )
    assert not model.knows("nobody")


@pytest.mark.parametrize("objective", ["mse", "bce", ["softmax", "mse"]])
def test_a_like_is_the_best_answer_there_is(items, ratings, objective):
    X = ratings[["user_id", "item_id"]]
    y = ratings["rating"]
    if objective == "bce":
        y = (y > 3).astype(float)
    elif objective != "mse":
        y = np.column_stack([y > 3, y])
    catalog = ItemCatalog(items)
    rec = MultimodalFusionRecommender(catalog, objective=objective, **QUICK).fit(X, y)
    model = SavedModel(rec, "model")
    user = model.user_ids[0]
    item = model.recommend(user, 5)["item_id"].tolist()[-1]
    moved = model.after(user, [item])
    assert moved.history(user)[0] == item
    if objective == "mse":
        answers = moved.recommender.model_.data.history.take(np.array([0]))
        best = rec.model_.data.history.values.max()
        assert answers.values[-1] == pytest.approx(best, rel=1e-5, abs=1e-6)


def test_what_was_disliked_is_no_history(items, ratings):
    X = ratings[["user_id", "item_id"]]
    rec = MultimodalFusionRecommender(ItemCatalog(items), objective="mse", **QUICK)
    model = SavedModel(rec.fit(X, ratings["rating"]), "model")
    user = ratings["user_id"].iloc[0]
    of_user = ratings[ratings["user_id"] == user]
    liked = of_user["item_id"][of_user["rating"] > ratings["rating"].mean()]
    assert set(model.history(user)) == set(liked)


def test_ids_of_users_are_read_as_the_model_writes_them(items, X, model):
    of_numbers = SavedModel(
        MultimodalFusionRecommender(ItemCatalog(items), **QUICK).fit(X), "m"
    )
    assert of_numbers.as_user("7") == 7
    with pytest.raises(ValueError, match="whole numbers, not 'seven'"):
        of_numbers.as_user("seven")
    assert model.as_user("7") == "7"


@pytest.mark.parametrize("kind", [ContentRecommender, MatrixFactorizationRecommender])
def test_each_kind_of_saved_model_is_loaded_by_its_class(kind, X, items, tmp_path):
    of_content = kind is ContentRecommender
    rec = kind(catalog=ItemCatalog(items)) if of_content else kind(random_state=0)
    rec.fit(X).save(tmp_path / "m")
    model = SavedModel(load_model(tmp_path / "m"), "m")
    user = model.user_ids[0]
    ranked = model.recommend(user, 3)
    found = ranked["item_id"].tolist()
    assert len(model.reasons(user, found, pd.Series(found, found))) == 3
    assert model.after(user, found[:1]).history(user)[0] == found[0]
    assert "<table" in model.describe()


@pytest.mark.parametrize("named", [True, False])
def test_a_model_of_one_flat_table_moves_too(flat, named):
    table = flat if named else flat.drop(columns="timestamp").fillna(0.5).to_numpy()
    rec = MultimodalFusionRecommender(**QUICK).fit(table)
    model = SavedModel(rec, "m")
    user = model.user_ids[0]
    liked = model.recommend(user, 2)["item_id"].tolist()
    before = model.recommender.model_.fingerprint()
    assert model.after(user, liked).history(user)[:2] == liked[::-1]
    assert model.recommender.model_.fingerprint() == before


def test_a_model_with_another_tower_moves_too(items, X):
    tower = SequenceTower()
    rec = MultimodalFusionRecommender(ItemCatalog(items), user_tower=tower, **QUICK)
    model = SavedModel(rec.fit(X), "m")
    user = model.user_ids[0]
    item = model.recommend(user, 1)["item_id"][0]
    assert model.after(user, [item]).history(user)[0] == item


# -- search by content ---------------------------------------------------------------


def test_words_and_pictures_find_what_is_like_them(rec, table, folder):
    model = SavedModel(rec, "m")
    assert model.inputs == {"words": "description", "picture": "image"}
    assert model.lacks == ""
    row = table.iloc[5]
    content = {
        "words": row["description"],
        "picture": (folder / row["image"]).read_bytes(),
    }
    found = model.similar_content(content, 5)
    assert row["item_id"] in found["item_id"].tolist()
    assert len(model.similar_content({"words": row["description"]}, 5)) == 5


def test_what_nothing_can_be_read_of_is_said_without_rows(table, rec):
    encode = make_column_transformer((TfidfVectorizer(), "description"))
    likes = pd.DataFrame({"user_id": np.arange(len(table)) // 4})
    likes["item_id"] = table["item_id"].to_numpy()
    catalog = ItemCatalog(table, encode)
    fitted = MultimodalFusionRecommender(catalog, **QUICK).fit(likes)
    model = SavedModel(fitted, "m")
    with pytest.raises(ValueError, match=r"^Nothing is understood of the words\.$"):
        model.similar_content({"words": "xyzzy"}, 5)
    nothing = rec.catalog.blocks.take(slice(1)).mask & False
    blocks = SimpleNamespace(mask=nothing)
    with pytest.raises(ValueError, match="of the words and the video: a file may be"):
        require_read(blocks, ["words", "video"])


def test_a_model_without_its_catalogue_says_what_it_lacks(model):
    assert model.inputs == {}
    assert "catalog=" in model.lacks


def test_a_loaded_model_with_its_catalogue_searches(saved, catalog):
    assert SavedModel(load_model(saved, catalog), "m").inputs["words"] == "description"


def test_a_catalogue_of_vectors_cannot_be_asked(items, X):
    rec = MultimodalFusionRecommender(ItemCatalog(items), **QUICK).fit(X)
    assert inputs_of(rec.catalog) == {}
    assert "cannot be asked" in SavedModel(rec, "m").lacks
    assert inputs_of(None) == {}


@pytest.mark.parametrize(
    ("modality", "kind"), [("image", "picture"), ("text", "words"), ("mixed", None)]
)
def test_what_an_encoder_says_counts_more_than_its_column(modality, kind):
    """Names of files without an ending look like words."""
    table = pd.DataFrame({"item_id": ["a", "b"], "poster": ["folder/a", "folder/b"]})
    encoder = MultimodalEncoder("some-model", modality=modality)
    catalog = ItemCatalog(table, make_column_transformer((encoder, "poster")))
    assert inputs_of(catalog) == ({} if kind is None else {kind: "poster"})


# -- settings ------------------------------------------------------------------------


def test_a_folder_is_told_by_its_files(saved, tmp_path):
    assert kind_of_folder(saved) == "saved model"
    (tmp_path / "feature_store.yaml").touch()
    assert kind_of_folder(tmp_path) == "store"
    with pytest.raises(FileNotFoundError, match=r"compare: .* is no folder"):
        kind_of_folder(tmp_path / "none", "compare")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has neither"):
        kind_of_folder(tmp_path / "empty")


def test_a_library_of_paths(saved, folder, tmp_path):
    settings = Settings(str(saved), str(saved), str(folder / "items.csv"))
    settings.write(tmp_path / "s.json")
    library = open_library(Settings.read(str(tmp_path / "s.json")))
    assert library.other is not None
    assert library.coverage().n_known == 40
    assert library.users is library.users
    [first] = library.named_items.find(library.items.title("item-0003"), 1)
    assert library.items.title(library.named_items.at(first)) == (
        library.items.title("item-0003")
    )


def test_a_library_of_objects_shows_the_table_of_the_catalogue(rec, tmp_path):
    write_objects({"model": rec}, tmp_path / "objects")
    library = open_library(Settings(objects=str(tmp_path / "objects")))
    assert library.main.inputs
    assert library.items.columns.picture == "image"
    assert library.items.picture("item-0001").uri
    assert library.other is None


def test_without_a_table_ids_are_shown(saved):
    library = open_library(Settings(str(saved)))
    assert library.items.title("item-0001") == "item-0001"


def test_what_cannot_be_handed_over_is_named(tmp_path):
    with pytest.raises(TypeError, match="model cannot be handed"):
        write_objects({"model": (n for n in range(3))}, tmp_path / "objects")
    assert read_objects(None) == {}


def test_classes_that_are_not_found_are_explained(tmp_path, monkeypatch):
    import tests.app.conftest as somewhere

    class Own:
        pass

    Own.__qualname__, Own.__module__ = "Own", somewhere.__name__
    monkeypatch.setattr(somewhere, "Own", Own, raising=False)
    write_objects({"model": Own()}, tmp_path / "objects")
    monkeypatch.delattr(somewhere, "Own")
    with pytest.raises(ValueError, match="put it into a module"):
        read_objects(str(tmp_path / "objects"))
