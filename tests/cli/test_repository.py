"""`init-repo`, `publish`, `verify`, `rollback`: a store from a shell."""

import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from feast import FeatureStore

from skmmrec import MultimodalFusionRecommender
from skmmrec.feature_store import (
    OnlineRecommender,
    content_encoders,
    init_repo,
    publish,
)
from skmmrec.recommender import ServingVectors
from tests.cli.conftest import SEED, run


@pytest.fixture(scope="module")
def other_model(tables, vectors):
    args = ["--items", vectors, *SEED, "--random-state", 1]
    run("fit", tables / "likes.csv", tables / "other", *args)
    return tables / "other"


@pytest.fixture(scope="module")
def published(tables, model, vectors, tmp_path_factory):
    """A repository with one publication, its features and vectors."""
    repo = tmp_path_factory.mktemp("repositories") / "my shop"
    assert "skmmrec publish" in run("init-repo", repo).stderr
    args = ["--items", tables / "items.csv", "--feature", "price", "--feature", "brand"]
    # Whoever names a column twice means it once.
    args += ["--category", "brand", "--feature", "price", "--json"]
    told = json.loads(run("publish", model, repo, *args).stdout)
    assert (told["n_users"], told["n_items"]) == (8, 12)
    return repo


@pytest.fixture
def repo(published, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(published, tmp_path / "copy")


def test_what_is_published_is_served(published, model):
    online = OnlineRecommender(published)
    wanted = MultimodalFusionRecommender.load(model).recommend(["1e3"], k=4)
    assert online.recommend(["1e3"], k=4)["item_id"].tolist() == (
        wanted["item_id"].tolist()
    )
    some = online.recommend(["1e3"], k=12, where="price < 2 and brand == 'NA'")
    assert set(some["item_id"]) <= {"001", "010"}
    assert len(some)


def test_vectors_of_each_modality_are_published(model, tables, tmp_path):
    words = pd.DataFrame({"item_id": [f"{n:03d}" for n in range(12)], "text__0": 1.0})
    words["text__1"] = range(12)
    words.to_csv(tmp_path / "v.csv", index=False)
    for n in (0, 1):
        words[f"more__{n}"] = [float((k + n) % 3) + 1 for k in range(12)]
    folder = tmp_path / "vectors"
    folder.mkdir()
    words.to_parquet(folder / "part-0.parquet")
    run("init-repo", tmp_path / "shop")
    run("publish", model, tmp_path / "shop", "--vectors", folder)
    online = OnlineRecommender(tmp_path / "shop")
    found = online.similar_items("000", k=2, weights={"more": 1.0})
    assert set(found["item_id"]) <= {"003", "006", "009"}


WORDS = {
    "name": "text",
    "kind": "text",
    "params": {"model": "package:all-MiniLM-L6-v2"},
}


@pytest.fixture
def of_words(model, tmp_path):
    """What is published, with vectors that a recipe says were made of texts."""
    folder = tmp_path / "vectors"
    folder.mkdir()
    table = pd.DataFrame({"item_id": [f"{n:03d}" for n in range(12)], "text__0": 1.0})
    table.assign(text__1=range(12)).to_parquet(folder / "part-0.parquet")
    clip = {"name": "clip", "kind": "video", "params": {}}
    recipe = {"format": 1, "columns": [WORDS, clip]}
    (folder / "_encoder.json").write_text(json.dumps(recipe))
    run("init-repo", tmp_path / "shop")
    return ["publish", model, tmp_path / "shop", "--vectors", folder]


def test_a_repository_knows_what_made_the_vectors_of_a_publication(of_words):
    told = run(*of_words).stderr
    assert "feature_store.yaml now names the encoders of text." in told
    made = content_encoders(of_words[2])
    assert {name: each.model for name, each in made.items()} == {
        "text": "package:all-MiniLM-L6-v2"
    }
    assert "feature_store.yaml" not in run(*of_words).stderr


@pytest.mark.filterwarnings("default::UserWarning")
def test_an_encoder_that_the_repository_names_is_not_replaced(of_words):
    run(*of_words)
    file = of_words[2] / "feature_store.yaml"
    text = file.read_text().replace("all-MiniLM-L6-v2", "another")
    file.write_text(text)
    told = run(*of_words).stderr
    assert "names another encoder for text" in told
    assert "text: {kind: text, model: 'package:all-MiniLM-L6-v2'}" in told
    assert file.read_text() == text


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_file_that_cannot_be_added_to_does_not_stop_a_publication(of_words):
    file = of_words[2] / "feature_store.yaml"
    text = file.read_text().replace("online.db", "online.db\n  encoders: {}")
    file.write_text(text)
    assert "published, but nothing can be added" in run(*of_words).stderr
    assert file.read_text() == text
    assert len(publications(of_words[2])) == 1


def test_verify_finds_nothing_wrong(published, model):
    told = json.loads(run("verify", published, "--json").stdout)
    assert (told["ok"], told["damage"], told["compared"]) == (True, 0, 20)
    assert run("verify", published, "--model", model).stdout.startswith("ok ")


def test_verify_tells_another_model(published, other_model):
    result = run("verify", published, "--model", other_model, "--json", code=1)
    told = json.loads(result.stdout)
    assert not told["ok"]
    assert told["changed"] == 20


def test_verify_finds_damage(repo):
    (file,) = (repo / "data" / "online.db.publications").glob("*-1-*.db")
    file.chmod(0o644)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("DELETE FROM item_embeddings; DELETE FROM blocks")
    result = run("verify", repo, code=1)
    assert result.stdout.split()[:2] == ["ok", "False"]
    assert "item_embeddings: " in result.stderr


def test_publications_are_listed_and_rolled_back(repo, other_model):
    first = json.loads(run("publications", repo, "--json").stdout)
    run("publish", other_model, repo, "--keep", 2)
    assert run("rollback", repo).stdout.split()[1] == first[0]["version"]
    run("rollback", repo, "2")
    served = {r["number"]: r["served"] for r in publications(repo)}
    assert served == {1: False, 2: True}
    run("rollback", repo, first[0]["version"])
    assert {r["number"]: r["served"] for r in publications(repo)} == {1: True, 2: False}
    assert "number" in run("publications", repo).stdout
    assert "no publication" in run("rollback", repo, "77", code=3).stderr


def test_events_that_a_model_has_not_learned_from_are_told_of(repo, model):
    assert "Events were" not in run("publish", model, repo).stderr
    online = OnlineRecommender(repo)
    for item in ("003", "005", "007"):
        online.record("somebody", item)
    told = run("publish", model, repo)
    assert "recorded, from number 1 on" in told.stderr
    assert "Events" not in run("publish", model, repo, "--quiet").stderr
    assert "from number 3 on" in run("publish", model, repo, "--feedback", 2).stderr
    assert online.feedback()["item_id"].tolist() == ["007"]
    assert "Events were" not in run("publish", model, repo, "--feedback", 3).stderr
    assert online.feedback().empty
    wrong = run("publish", model, repo, "--feedback", 4, code=3).stderr
    assert "the last event recorded here is 3" in wrong


def test_versions_may_be_digits(repo):
    """As of dates; a number of a publication goes before."""
    vectors = ServingVectors(
        pd.DataFrame(np.eye(5, dtype=np.float32), index=list("abcde")),
        pd.DataFrame(np.eye(5, dtype=np.float32), index=[f"i{n}" for n in range(5)]),
        pd.Series([["i0"]] * 5, index=list("abcde")),
        "20261128",
    )
    shop = init_repo(repo.with_name("dates"))
    for version in ("20261128", "20261129", "1"):
        publish(Served(replace(vectors, version=version)), shop)
    told = json.loads(run("rollback", shop, "20261128", "--json").stdout)
    assert (told["version"], served_in(shop)) == ("20261128", 1)
    run("rollback", shop, "3")
    assert served_in(shop) == 3
    run("rollback", shop, "1")
    assert served_in(shop) == 1
    assert "no publication" in run("rollback", shop, "2026", code=3).stderr


class Served(NamedTuple):
    """Something that can be published."""

    vectors: ServingVectors

    def serving_vectors(self):
        """Return the vectors."""
        return self.vectors


def served_in(repo):
    """Number of the publication that is served."""
    [number] = [r["number"] for r in publications(repo) if r["served"]]
    return number


@pytest.mark.parametrize("command", ["publications", "verify", "rollback", "serve"])
def test_settings_that_cannot_be_read_are_no_mistake_of_ours(repo, command):
    (repo / "feature_store.yaml").write_text("project: shop: x\n")
    told = run(command, repo, code=3).stderr
    assert "no YAML in line 1" in told
    assert "mistake" not in told


def publications(repo):
    return json.loads(run("publications", repo, "--json").stdout)


def test_a_new_repository_has_no_publication(tmp_path):
    run("init-repo", tmp_path / "shop", "--project", "my_shop")
    assert FeatureStore(tmp_path / "shop").project == "my_shop"
    result = run("publications", tmp_path / "shop")
    assert (result.stdout, "Nothing is published" in result.stderr) == ("", True)
    assert run("verify", tmp_path / "shop", code=3).stdout == ""


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["publish", "M", "nowhere"], "nowhere", 3),
        (["publish", "nowhere", "R"], "no saved recommender", 3),
        (["publish", "M", "R", "--items", "I"], "--items goes together with", 2),
        (["publish", "M", "R", "--feature", "price"], "--items goes together with", 2),
        (["publish", "M", "R", "--items", "I", "--feature", "x"], "no column 'x'", 3),
        (
            ["publish", "M", "R", "--items", "I", "--feature", "item_id"],
            "column 'item_id' has the ids",
            3,
        ),
        (["publish", "M", "R", "--keep", "0"], "--keep", 2),
        (["init-repo", "R"], "choose a new or an empty folder", 3),
        (["init-repo", "new", "--project", "my-shop"], "my-shop", 3),
        (["verify", "nowhere"], "nowhere", 3),
    ],
)
def test_what_cannot_be_done(
    published, model, tables, tmp_path, monkeypatch, args, message, code
):
    monkeypatch.chdir(tmp_path)
    places = {"M": model, "R": published, "I": tables / "items.csv"}
    result = run(*(places.get(arg, arg) for arg in args), code=code)
    assert message in " ".join(result.stderr.split())
    assert [*tmp_path.iterdir()] == []
