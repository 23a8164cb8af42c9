import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from feast.repo_config import load_repo_config
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    OnlineRecommender,
    init_repo,
    open_store,
    publish,
    verify,
)

from .conftest import REPO

ROOT = Path(__file__).parents[2]
ONLY_IN_THE_EXAMPLE = {"test_workflow.py"}


def configuration(repo):
    return yaml.safe_load((repo / "feature_store.yaml").read_text(encoding="utf-8"))


def tracked(repo):
    listed = {file.name for file in repo.iterdir()}
    return listed - {"data", "__pycache__"} - ONLY_IN_THE_EXAMPLE


def test_what_is_written_is_the_example(tmp_path):
    """Who changes one changes the other: skmmrec/feature_store/repository."""
    repo = init_repo(tmp_path / "repo", project="skmmrec")
    assert tracked(repo) == tracked(REPO)
    for name in tracked(repo):
        assert (repo / name).read_bytes() == (REPO / name).read_bytes(), name


@pytest.mark.parametrize("existing", [True, False])
def test_a_new_repository_is_published_to_and_served_from(
    tmp_path, recommender, existing
):
    folder = tmp_path / "deep" / "repo"
    if existing:
        folder.mkdir(parents=True)
    publish(recommender, init_repo(folder))
    assert len(OnlineRecommender(folder).recommend(["100"])) == 10


def test_a_repository_with_authentication_is_published_to_at_once(
    tmp_path, recommender, monkeypatch
):
    monkeypatch.setenv("OIDC_ISSUER", "https://provider")
    monkeypatch.setenv("OIDC_AUDIENCE", "12")  # text, though it looks like a number
    repo = init_repo(tmp_path / "repo", auth=True)
    publish(recommender, repo)
    auth = open_store(repo).config.auth_config
    assert auth.auth_discovery_url == (
        "https://provider/.well-known/openid-configuration"
    )
    assert (auth.type, auth.issuer, auth.audience) == ("oidc", "https://provider", "12")
    assert len(OnlineRecommender(repo).recommend(["100"])) == 10


@pytest.mark.parametrize(
    ("online_store", "kind"),
    [
        ("sqlite", "ExactSqliteOnlineStore"),
        ("postgres", "ExactPostgresOnlineStore"),
        ("redis", "ExactRedisOnlineStore"),
    ],
)
def test_the_online_store_that_is_asked_for_is_configured(tmp_path, online_store, kind):
    repo = init_repo(tmp_path / "repo", online_store=online_store)
    found = configuration(repo)
    assert found["online_store"]["type"] == f"skmmrec.feature_store.{kind}"
    assert found["auth"] == {"type": "no_auth"}
    if online_store != "sqlite":
        pytest.importorskip({"postgres": "psycopg", "redis": "redis"}[online_store])
    assert load_repo_config(repo, repo / "feature_store.yaml").online_store


def test_passwords_are_left_to_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "0123")
    repo = init_repo(tmp_path / "repo", online_store="postgres")
    assert "0123" not in (repo / "feature_store.yaml").read_text()
    pytest.importorskip("psycopg", reason="no PostgreSQL client: skmmrec[postgres]")
    config = load_repo_config(repo, repo / "feature_store.yaml")
    assert config.online_store.password == "0123"


@pytest.mark.services
@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_new_repository_on_a_server_is_published_to(
    tmp_path, recommender, request, name
):
    """With the address of the server, and nothing else, filled in."""
    server = request.getfixturevalue(name)
    project = f"new{os.getpid()}"
    repo = init_repo(tmp_path / "repo", project=project, online_store=name)
    found = configuration(repo)
    for setting in found["online_store"].keys() - {"type"}:
        found["online_store"][setting] = server[setting]
    (repo / "feature_store.yaml").write_text(yaml.safe_dump(found))
    publish(recommender, repo)
    assert len(OnlineRecommender(repo).recommend(["100"])) == 10
    assert verify(recommender, repo).ok


@pytest.mark.parametrize(
    ("folder", "project"),
    [("shop", "shop"), ("my-shop.v2", "my_shop_v2"), ("_Läden 7", "Läden_7")],
)
def test_the_project_is_named_like_the_folder(tmp_path, folder, project):
    assert configuration(init_repo(tmp_path / folder))["project"] == project


def test_the_folder_may_be_the_one_that_we_are_in(tmp_path, monkeypatch):
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    assert configuration(init_repo("."))["project"] == "shop"


@settings(max_examples=60)
@given(
    project=st.one_of(
        st.text(max_size=12),
        st.from_regex(r"\w{1,12}", fullmatch=True),
        st.sampled_from(["1", "no", "1e5", "null", "0x1", "1_0", "on", "nan", "_a"]),
    )
)
def test_a_project_is_written_as_given_or_refused_by_name(tmp_path_factory, project):
    """Names that YAML would read as numbers or truth values included."""
    repo = tmp_path_factory.mktemp("repo")
    if not re.fullmatch("[^\\W_]\\w*", project):
        with pytest.raises(ValueError, match=re.escape(repr(project))):
            init_repo(repo, project=project)
        assert not any(repo.iterdir())
    else:
        init_repo(repo, project=project)
        assert configuration(repo)["project"] == project
        assert load_repo_config(repo, repo / "feature_store.yaml").project == project


@pytest.mark.parametrize("project", ["", "_a", "-a", "a b", "a/b", "a-b", "a.b", 3])
def test_a_project_that_feast_refuses_is_refused(tmp_path, project):
    with pytest.raises(ValueError, match=f"project={project!r} is no name"):
        init_repo(tmp_path / "repo", project=project)
    assert not (tmp_path / "repo").exists()


def test_a_folder_without_a_usable_name_asks_for_a_project(tmp_path):
    with pytest.raises(ValueError, match=r"the folder .*___ is no name .* project="):
        init_repo(tmp_path / "___")


def test_a_name_that_postgresql_would_cut_is_refused(tmp_path):
    for engine in ("sqlite", "redis"):
        init_repo(tmp_path / engine, project="a" * 33, online_store=engine)
    init_repo(tmp_path / "short", project="a" * 32, online_store="postgres")
    with pytest.raises(ValueError, match=r"too long .* at most 32 bytes"):
        init_repo(tmp_path / "long", project="a" * 33, online_store="postgres")


@pytest.mark.parametrize("held", ["file", ".hidden", "folder/"])
def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path, held):
    held_path = tmp_path / held
    held_path.mkdir() if held.endswith("/") else held_path.write_text("mine")
    with pytest.raises(FileExistsError, match=f"holds {held_path.name}: choose"):
        init_repo(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [held_path.name]


def test_a_repository_is_not_written_twice(tmp_path):
    repo = init_repo(tmp_path / "repo")
    with pytest.raises(FileExistsError, match=r"README\.md"):
        init_repo(repo)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match="is not a folder"):
            init_repo(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("online_store", ["Redis", "milvus", None, ["sqlite"]])
def test_another_online_store_is_refused(tmp_path, online_store):
    with pytest.raises(ValueError, match="online_store must be one of"):
        init_repo(tmp_path / "repo", online_store=online_store)


@pytest.mark.parametrize("auth", ["oidc", 1, None])
def test_authentication_is_on_or_off(tmp_path, auth):
    with pytest.raises(TypeError, match="auth must be True or False"):
        init_repo(tmp_path / "repo", auth=auth)


@pytest.mark.slow
def test_an_installed_wheel_writes_a_repository(tmp_path):
    """In a folder with no copy of the example, from the files of the wheel alone."""
    source = tmp_path / "source"
    ignored = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "skmmrec", "pyproject.toml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if ignored.returncode:
        pytest.skip("not in a git checkout")
    for name in [*ignored.stdout.splitlines(), "README.md", "LICENSE"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    options = ["--no-deps", "--no-build-isolation", "--target", tmp_path / "site"]
    pytest.importorskip("setuptools", minversion="77", reason="builds the wheel")
    subprocess.run([*pip, *options, source], check=True, capture_output=True)
    code = (
        "import skmmrec.feature_store as f; r = f.init_repo('repo', project='skmmrec');"
        "print(f.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "site") in done.stdout
    assert tracked(tmp_path / "repo") == tracked(REPO)
