"""A new Feast repository: configuration, definitions, and how to use it."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import yaml
from feast.repo_operations import is_valid_name

from skmmrec.runtime import refuse_url

OnlineStore: TypeAlias = Literal["sqlite", "postgres", "redis"]

# What is written, and the file in `repository` with its text. Python files have another
# ending there, so that they are not taken for modules of this package.
_FILES = {
    ".gitignore": "gitignore.txt",
    "README.md": "README.md",
    "feature_definitions.py": "feature_definitions.txt",
    "static_artifacts.py": "static_artifacts.txt",
}

_STORES: dict[str, str] = {
    "sqlite": """\
  type: skmmrec.feature_store.ExactSqliteOnlineStore
  path: data/online.db
""",
    "postgres": """\
  type: skmmrec.feature_store.ExactPostgresOnlineStore
  host: localhost
  port: 5432
  database: feast
  user: feast
  password: "${POSTGRES_PASSWORD}"
""",
    "redis": """\
  type: skmmrec.feature_store.ExactRedisOnlineStore
  connection_string: localhost:6379
""",
}

_OPENID = """\
  type: oidc
  # Environment variables; or write the values here.
  auth_discovery_url: "${OIDC_ISSUER}/.well-known/openid-configuration"
  issuer: "${OIDC_ISSUER}"  # tokens of others are refused
  audience: "${OIDC_AUDIENCE}"  # and so are those made for others
  client_id: "${OIDC_AUDIENCE}"  # Keycloak: the client whose roles count
"""

_OPEN = "  type: no_auth\n"

# PostgreSQL cuts names at 63 bytes, and two that are cut alike are one table. This
# leaves room for "_feedback_events" and the endings of indices and staged tables.
_LONGEST_PROJECT = 32


def init_repo(
    path: str | Path,
    *,
    project: str | None = None,
    online_store: OnlineStore = "sqlite",
    auth: bool = False,
) -> Path:
    """Write a new Feast repository, ready for `publish`.

    Parameters
    ----------
    path : str or path
        Folder that does not exist yet, or is empty.
    project : str, optional
        Feast's name of the project: letters, digits and underscores. Repositories that
        share a PostgreSQL or Redis server are told apart by it. By default the name of
        the folder, with ``_`` for all other characters.
    online_store : {"sqlite", "postgres", "redis"}, default="sqlite"
        Where vectors are served from: a file in the folder, or a server, whose address
        is then to be set in ``feature_store.yaml``.
    auth : bool, default=False
        Whether ``feast serve`` asks for tokens of an OpenID Connect provider. The
        environment variables ``OIDC_ISSUER`` and ``OIDC_AUDIENCE`` say which one.

    Returns
    -------
    Path
        The folder. It holds ``feature_store.yaml``, ``feature_definitions.py``,
        ``static_artifacts.py`` (which makes the server strict with tokens), a
        ``README.md`` about serving, and a ``.gitignore`` for what is published.

    Raises
    ------
    FileExistsError
        When there is something at `path` already.
    ValueError
        For a URL, a `project` that Feast or the online store refuses, or another online
        store.
    TypeError
        For `auth` that is not a bool.

    Examples
    --------
    >>> import tempfile
    >>> from skmmrec.feature_store import init_repo
    >>> repo = init_repo(tempfile.mkdtemp(), project="shop")
    >>> sorted(file.name for file in repo.iterdir())  # doctest: +NORMALIZE_WHITESPACE
    ['.gitignore', 'README.md', 'feature_definitions.py', 'feature_store.yaml',
     'static_artifacts.py']
    """
    refuse_url(path)
    path = Path(path)
    if online_store not in get_args(OnlineStore):
        raise ValueError(
            f"online_store must be one of {get_args(OnlineStore)}, got {online_store!r}"
        )
    if not isinstance(auth, bool):
        raise TypeError(f"auth must be True or False, got {auth!r}")
    text = _configuration(_project(path, project, online_store), online_store, auth)
    _check_empty(path)
    path.mkdir(parents=True, exist_ok=True)
    templates = files("skmmrec.feature_store") / "repository"
    for name, template in _FILES.items():
        _write(path / name, (templates / template).read_text(encoding="utf-8"))
    # Last: a folder without it is not taken for a repository.
    _write(path / "feature_store.yaml", text)
    return path


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def _check_empty(path: Path) -> None:
    wish = "choose a new or an empty folder for the repository"
    if path.is_dir():
        found = sorted(each.name for each in path.iterdir())
        if found:
            held = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
            raise FileExistsError(f"{path} holds {held}: {wish}")
    elif path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} is not a folder: {wish}")


def _project(path: Path, project: str | None, online_store: str) -> str:
    if project is None:
        name = re.sub(r"\W", "_", path.resolve().name).lstrip("_")
        source = f"the name of the folder {path}"
    else:
        name, source = project, f"project={project!r}"
    if not isinstance(name, str) or not name or "-" in name or not is_valid_name(name):
        raise ValueError(
            f"{source} is no name of a Feast project: give project= letters, digits "
            "and underscores, beginning with a letter or digit"
        )
    if online_store == "postgres" and len(name.encode()) > _LONGEST_PROJECT:
        raise ValueError(
            f"{source} is too long for the names of PostgreSQL's tables: give project= "
            f"at most {_LONGEST_PROJECT} bytes"
        )
    return name


def _configuration(project: str, online_store: str, auth: bool) -> str:
    # PyYAML puts quotes around names such as 1 or no, which are not text without.
    name = yaml.safe_dump({"project": project}, allow_unicode=True).strip()
    return f"""\
# A Feast repository. What it stores on this machine is under data/.
{name}
provider: local
registry:
  path: data/registry.db
  registry_store_type: skmmrec.feature_store.AtomicFileRegistryStore
offline_store:
  type: duckdb
online_store:
{_STORES[online_store]}entity_key_serialization_version: 3
auth:
{_OPENID if auth else _OPEN}"""
