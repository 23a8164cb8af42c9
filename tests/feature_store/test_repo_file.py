"""What is read of feature_store.yaml before Feast reads it, and what is refused."""

import pytest
from feast.repo_config import FeastConfigError

from skmmrec.feature_store import OnlineRecommender, open_store, publish, read_vectors
from skmmrec.feature_store._repo import offline_type, source_kind

from .conftest import make_recommender


def change(repo, old, new):
    file = repo / "feature_store.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_any_setting_may_be_an_environment_variable(repo, monkeypatch):
    monkeypatch.setenv("OFFLINE", "spark")
    change(repo, "type: duckdb", "type: ${OFFLINE}\nbatch_engine:\n  type: $ENGINE")
    assert offline_type(repo) == source_kind(repo) == "spark"
    monkeypatch.setenv("OFFLINE", "duckdb")
    monkeypatch.setenv("ENGINE", "local")
    assert source_kind(repo) == "file"
    publish(make_recommender(), repo)
    assert read_vectors(repo, "user", ["100"])[1].all()


def test_the_settings_are_those_of_the_folder(repo, tmp_path, monkeypatch):
    """And not of a file that Feast would read wherever it is asked."""
    other = tmp_path / "other.yaml"
    other.write_text((repo / "feature_store.yaml").read_text() + "flags: {a: true}\n")
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(other))
    store = open_store(repo)
    assert store.config.flags is None
    assert store.config.repo_path == store.repo_path == repo


def test_settings_that_cannot_be_are_told_without_their_values(repo):
    change(repo, "provider: local", "provider: [secret]")
    with pytest.raises(FeastConfigError, match="provider") as error:
        open_store(repo)
    assert "secret" not in str(error.value)
    assert "feature_store.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "there are no settings"),
        ("- project: shop\n", "there are no settings"),
        ("project: shop\npassword: secret: x\n", "no YAML in line 2: mapping values"),
        ("project: shop\nsecret: {\n", "no YAML in line 3"),
        ("project: \x00secret\n", "no YAML: unacceptable character"),
    ],
)
def test_a_file_that_holds_no_settings_is_named(repo, text, told):
    """Without its lines, as there may be passwords in them."""
    (repo / "feature_store.yaml").write_text(text)
    for use in (open_store, lambda repo: publish(make_recommender(), repo)):
        with pytest.raises(FeastConfigError, match=told) as error:
            use(repo)
        assert "feature_store.yaml" in str(error.value)
        assert "secret" not in str(error.value)


@pytest.mark.filterwarnings("ignore:The serialization version below 3")
def test_keys_that_feast_would_not_find_are_refused(repo):
    change(repo, "serialization_version: 3", "serialization_version: 2")
    for use in (OnlineRecommender, lambda repo: publish(make_recommender(), repo)):
        with pytest.raises(ValueError, match="entity_key_serialization_version is 2"):
            use(repo)
    assert not (repo / "data").exists()
