"""Feature repositories: opening one, and the settings that `publish` leaves in it."""

from __future__ import annotations

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import yaml
from feast import FeatureStore, FeatureView
from feast.errors import FeatureViewNotFoundException
from feast.feast_object import FeastObject
from feast.repo_config import FeastConfigError, RepoConfig
from google.protobuf.message import DecodeError
from pydantic import ValidationError

from skmmrec import __version__
from skmmrec.feature_store.backends.base import (
    DamagedStoreError,
    StoreError,
    encoders_of,
)
from skmmrec.runtime import sync, whole_path

from ._faults import followed
from ._registry import DATA as DATA, is_left_behind, registry_file
from ._types import Repo

if TYPE_CHECKING:
    from skmmrec.encoders import BaseEncoder

_LOG = logging.getLogger("skmmrec.feature_store")

# How pydantic shows in an error what was given.
_GIVEN = re.compile(r", input_value=.*, input_type=\w+")

SETTINGS = "embeddings.json"
# What it says, and of which type; the first are always there.
_BASIS: dict[str, type] = {"dim": int, "user_id_type": str, "item_id_type": str}
_WRITTEN = _BASIS | {
    "item_features": dict,
    "item_vectors": dict,
    "memory": bool,
    "versions": list,
}
# Seconds to wait for another publisher. 10,000 vectors take 0.3 s, so whoever takes ten
# minutes publishes millions or hangs.
LOCK_TIMEOUT = 600.0

# Seconds that a registered view may be old: as long as it takes for others to see a new
# definition; without this, parsing the registry took longer than reading the vectors.
_VIEW_SECONDS = 1.0
# Nanoseconds after which a change of a file shows in its time on any file system: FAT
# has a resolution of two seconds.
_TICK = 2_000_000_000


class _Known(NamedTuple):
    """A feature view, until when it counts, and the registry that it was read from."""

    view: FeatureView
    until: float
    registry: tuple[int, ...] | None


_VIEWS: WeakKeyDictionary[FeatureStore, dict[str, _Known]] = WeakKeyDictionary()


def open_store(repo: Repo) -> FeatureStore:
    """Open the Feast repository in a folder.

    Parameters
    ----------
    repo : FeatureStore, str or path
        A store, returned as it is, or the folder of a ``feature_store.yaml``.

    Returns
    -------
    feast.FeatureStore

    Raises
    ------
    FileNotFoundError
        When the folder holds no ``feature_store.yaml``.
    feast.repo_config.FeastConfigError
        When that says what cannot be. The error has no settings in it, as these may be
        passwords.
    """
    if isinstance(repo, FeatureStore):
        return repo
    path = whole_path(repo)
    if not (path / "feature_store.yaml").is_file():
        raise FileNotFoundError(
            f"no feature_store.yaml in {path}: give the folder that init_repo made"
        )
    return FeatureStore(repo_path=str(path), config=_config_in(path))


def feature_view(store: FeatureStore, name: str) -> FeatureView:
    """Return a registered feature view, at most a second old.

    Feast parses the registry each time, which takes longer than reading vectors. A file
    that has not changed is not parsed again.
    """
    views, now = _VIEWS.setdefault(store, {}), time.monotonic()
    known = views.get(name)
    if known is None or now > known.until:
        registry = _registry_now(store)
        if known is None or registry is None or registry != known.registry:
            known = _Known(_registered(store, name), 0.0, registry)
        views[name] = known._replace(until=time.monotonic() + _VIEW_SECONDS)
    return known.view


def _registry_now(store: FeatureStore) -> tuple[int, ...] | None:
    """Tell the file of a registry from those before and after; None: nothing does.

    What has just been written may be written again without another time.
    """
    path = registry_file(store)
    if path is None or not path.exists():
        return None
    found = path.stat()
    if abs(time.time_ns() - found.st_mtime_ns) < _TICK:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def forget_views(store: FeatureStore) -> None:
    """Have feature views read again, as they may have been registered anew."""
    _VIEWS.pop(store, None)


def _registered(store: FeatureStore, name: str) -> FeatureView:
    try:
        return store.get_feature_view(name)
    except DecodeError as error:
        raise DamagedStoreError(
            f"the registry of {store.repo_path} ({store.config.registry.path}) is "
            f"damaged and cannot be read ({error}); restore it from a backup, or "
            "publish again, which registers what it needs anew"
        ) from error
    except FeatureViewNotFoundException as error:
        raise LookupError(
            f"nothing is published in {store.repo_path} yet: it has no {name}; "
            "skmmrec.feature_store.publish fills it"
        ) from error


def apply(store: FeatureStore, objects: Sequence[FeastObject]) -> None:
    """Register definitions and forget the feature views known so far."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "On demand feature view is an experimental")
        store.apply(list(objects))
    forget_views(store)


def content_encoders(repo: Repo) -> dict[str, BaseEncoder]:
    """Make the encoders that ``feature_store.yaml`` names; none has loaded its model.

    Parameters
    ----------
    repo : feast.FeatureStore, str or path

    Returns
    -------
    dict of str to BaseEncoder
        By the name of the vectors that each has made. The one of ``text_encoder`` is
        among them, under its feature without ``_vector``.

    Raises
    ------
    ValueError
        For parameters that the encoder does not have, or that make its vectors depend
        on the items it was fitted on.
    """
    return encoders_of(open_store(repo).config)


def repo_file(repo: Repo) -> dict[str, Any]:
    """Return what feature_store.yaml says; nothing where there is none."""
    if isinstance(repo, FeatureStore):
        config = repo.config
        return {
            "provider": config.provider,
            "offline_store": config.offline_config,
            "batch_engine": config.batch_engine_config,
        }
    file = Path(repo) / "feature_store.yaml"
    return _settings_in(file) if file.is_file() else {}


def _config_in(path: Path) -> RepoConfig:
    """Read the settings of a folder, whatever others an environment variable names."""
    file = path / "feature_store.yaml"
    settings = _settings_in(file)
    try:
        config = RepoConfig(**settings)
    except ValidationError as error:
        raise FeastConfigError(_GIVEN.sub("", str(error)), file) from None
    config.repo_path = path
    return config


def _settings_in(file: Path) -> dict[str, Any]:
    """Read settings as Feast does, which may name environment variables.

    An error names the line and does not show it, as it may have a password.
    """
    try:
        found = yaml.safe_load(os.path.expandvars(file.read_bytes()))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise FeastConfigError(f"no YAML{line}: {error.problem}", file) from None
    except yaml.YAMLError as error:  # of single characters
        raise FeastConfigError(f"no YAML: {error}", file) from None
    if not isinstance(found, dict):
        raise FeastConfigError("there are no settings such as `project: shop`", file)
    return found


def engine_type(given: Any) -> str | None:
    """Return the type of a store or an engine, as feature_store.yaml has it."""
    if isinstance(given, Mapping):
        return given.get("type")
    return given if given is None or isinstance(given, str) else given.type


def offline_type(repo: Repo) -> str:
    """Return the type of the offline store."""
    return engine_type(repo_file(repo).get("offline_store")) or "file"


def source_kind(repo: Repo) -> str:
    """Return how the offline store reads parquet files, see `embedding_definitions`."""
    is_spark = offline_type(repo).rpartition(".")[-1].endswith("SparkOfflineStore")
    return "spark" if is_spark or offline_type(repo) == "spark" else "file"


def data_folder(store: FeatureStore) -> Path:
    """Return the folder of what is stored on this machine."""
    return Path(store.repo_path).resolve() / DATA


def parquet_path(store: FeatureStore, view: FeatureView) -> Path:
    """Return the file that a view's historical rows are read from.

    Of a view whose rows are in no file, this is a folder. Of a repository that was
    copied or moved, it is the file in this one: see `is_of_another`.
    """
    is_other = is_of_another(store, view)
    path = _own_path(store, view) if is_other else _registered_path(store, view)
    return followed(path)


def is_of_another(store: FeatureStore, view: FeatureView) -> bool:
    """Tell whether a registered file is that of a repository that this is a copy of.

    `AtomicFileRegistryStore` already gives the files of this one.
    """
    return is_left_behind(_registered_path(store, view), _own_path(store, view))


def _registered_path(store: FeatureStore, view: FeatureView) -> Path:
    return Path(store.repo_path) / getattr(view.batch_source, "path", "")


def _own_path(store: FeatureStore, view: FeatureView) -> Path:
    return data_folder(store) / f"{view.name}.parquet"


def repo_settings(repo_path: str | Path, **defaults: object) -> dict[str, Any]:
    """Arguments of `embedding_definitions` for one repository.

    Parameters
    ----------
    repo_path : str or path
        Folder of the repository; its ``data`` folder holds the parquet files.
    **defaults
        Arguments for as long as nothing is published. `publish` writes what it found
        in the recommender to ``data/embeddings.json``, which replaces them.

    Returns
    -------
    dict

    Raises
    ------
    DamagedStoreError
        When that file cannot be read.
    StoreError
        When a later version has written more into it than is known here.
    """
    data = Path(repo_path).resolve() / DATA
    source = {"source": "spark"} if source_kind(repo_path) == "spark" else {}
    written = _written_settings(data / SETTINGS)
    return {**defaults, "data": str(data), **source, **written}


def _written_settings(path: Path) -> dict[str, Any]:
    """Read what `write_settings` wrote; nothing where there is no file."""
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_bytes())
    except ValueError as error:  # no JSON, or no UTF-8
        raise DamagedStoreError(
            f"{path} is damaged and cannot be read ({error}); publish again, which "
            "writes it anew"
        ) from error
    if not _are_settings(settings):
        raise DamagedStoreError(
            f"{path} is damaged: it holds no settings; publish again, which writes it "
            "anew"
        )
    unknown = sorted(settings.keys() - _WRITTEN.keys())
    if unknown:
        raise StoreError(
            f"{path} has {', '.join(unknown)}, which skmmrec {__version__} does not "
            "know: use the version that published last, or a later one"
        )
    return dict(settings)


def _are_settings(found: object) -> bool:
    """Tell what `write_settings` wrote, by whatever version, from all else.

    A later version writes more than is known here, beside all that is.
    """
    return (
        isinstance(found, dict)
        and all(isinstance(found.get(name), kind) for name, kind in _BASIS.items())
        and all(isinstance(found[name], _WRITTEN.get(name, object)) for name in found)
        and (found.keys() <= _WRITTEN.keys() or found.keys() >= _WRITTEN.keys())
    )


def published_settings(repo_path: str | Path) -> dict[str, Any]:
    """Return what `publish` found last; nothing if that is damaged.

    It is about to be written anew, by who asks.
    """
    try:
        return repo_settings(repo_path)
    except DamagedStoreError as error:
        _LOG.warning("%s", error)
        return {}


def known_versions(repo_path: str | Path) -> list[str]:
    """Model versions that were published, the last ones, oldest first."""
    return list(published_settings(repo_path).get("versions", ()))


def write_settings(repo_path: str | Path, settings: Mapping[str, object]) -> None:
    """Write ``data/embeddings.json`` unless it already says so."""
    path = followed(Path(repo_path) / DATA / SETTINGS)
    text = json.dumps(settings, indent=2) + "\n"
    if not path.is_file() or path.read_bytes() != text.encode():
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(text, "utf-8")
            sync(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
