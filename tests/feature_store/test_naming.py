"""Encoders that are added to feature_store.yaml, and nothing that is changed there."""

import pytest
import yaml

from skmmrec.feature_store import content_encoders, init_repo, name_encoders

WORDS = {"kind": "text", "model": "package:all-MiniLM-L6-v2"}
PICTURE = {"kind": "image", "model": "tf_efficientnet_lite0", "pretrained": "file: a"}


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "secret")
    return init_repo(tmp_path / "shop", online_store=request.param)


def text_of(folder):
    return (folder / "feature_store.yaml").read_text(encoding="utf-8")


def says(folder):
    return yaml.safe_load(text_of(folder))


def with_store(folder, lines):
    """Write what the file says of the online store."""
    config = {k: v for k, v in says(folder).items() if k != "online_store"}
    text = f"{lines}\n# the end\n{yaml.safe_dump(config)}"
    (folder / "feature_store.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def local(tmp_path):
    return init_repo(tmp_path / "shop")


def test_a_new_repository_is_told(folder):
    before, lines = says(folder), text_of(folder).splitlines()
    done = name_encoders(folder, {"words": WORDS, "picture": PICTURE})
    assert done == (["words", "picture"], [])
    before["online_store"]["encoders"] = {"words": WORDS, "picture": PICTURE}
    assert says(folder) == before
    assert [line for line in text_of(folder).splitlines() if line in lines] == lines
    assert "${POSTGRES" in text_of(folder) or "secret" not in text_of(folder)
    made = content_encoders(folder)
    assert made["words"].model == WORDS["model"]
    assert made["picture"].pretrained == "file: a"


def test_what_is_known_stays_and_is_not_written_again(local):
    name_encoders(local, {"words": WORDS})
    before = text_of(local)
    assert name_encoders(local, {"words": WORDS}) == ([], [])
    assert text_of(local) == before
    assert name_encoders(local, {"words": WORDS, "title": WORDS}) == (["title"], [])
    assert says(local)["online_store"]["encoders"] == {"words": WORDS, "title": WORDS}


@pytest.mark.parametrize(
    ("change", "is_other"),
    [
        ({"model": "another"}, True),
        ({"normalize": False}, True),
        ({"kind": "image"}, True),
        ({"device": "cpu", "precision": "fp32", "batch_size": 3}, False),
    ],
)
def test_another_encoder_of_that_name_stays(local, change, is_other):
    name_encoders(local, {"words": {**WORDS, **change}})
    before = text_of(local)
    assert name_encoders(local, {"words": WORDS}).other == ["words"] * is_other
    assert text_of(local) == before


TYPE = "type: skmmrec.feature_store.ExactSqliteOnlineStore"


@pytest.mark.parametrize(
    "lines",
    [
        f"online_store:\n    {TYPE}\n    encoders:   # of words\n    path: data/a.db",
        f"online_store:\n  {TYPE}\n  encoders:\n      a: {{kind: text}} # one\n\n\n",
        f"online_store:\n  {TYPE}\n  encoders:\n    a:\n      kind: text\n  # more\n"
        "  path: data/a.db",
        f"# first\nonline_store:\n  path: >-\n    data/a.db\n  {TYPE}\n\n# after",
    ],
)
def test_the_file_is_written_as_people_write_it(local, lines):
    before = says(with_store(local, lines))
    known = before["online_store"].get("encoders") or {}
    assert name_encoders(local, {"words": WORDS}).added == ["words"]
    before["online_store"]["encoders"] = {**known, "words": WORDS}
    assert says(local) == before
    assert all(line in text_of(local) for line in lines.splitlines())


@pytest.mark.parametrize(
    "lines",
    [
        f"online_store: {{{TYPE}}}",
        f"online_store:\n  {TYPE}\n  encoders: {{a: {{kind: text}}}}",
        f"online_store:\n  {TYPE}\n  encoders: null",
    ],
)
def test_what_cannot_be_added_to_is_left_alone_and_told(local, lines):
    before = text_of(with_store(local, lines))
    with pytest.raises(ValueError, match=r"words: \{kind: text, model"):
        name_encoders(local, {"words": WORDS})
    assert text_of(local) == before
    assert [*local.glob(".*.saving*")] == []
