"""What may be wrong with a repository's files, each told by its own error."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feast import FeatureStore

from skmmrec.feature_store.backends.base import (
    FullStoreError,
    ReadOnlyStoreError,
    StoreError,
)

# The folder of a repository that holds what is published.
DATA = "data"

# EFBIG: the file is as large as its file system or a limit of the process allows.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def told_apart(store: FeatureStore) -> Iterator[None]:
    """Tell a full disk and one that cannot be written to from other errors.

    Raises FullStoreError or ReadOnlyStoreError; a StoreError for a broken disk.
    """
    with writing_to(store.repo_path):
        yield


@contextmanager
def writing_to(place: str | Path) -> Iterator[None]:
    """Do the same of a folder or a file."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise FullStoreError(
                f"there is no space left to write to {place}: {error}; what "
                "is served is complete. Free some space, then do the same again: it "
                "takes up or replaces what was written so far"
            ) from error
        if error.errno in _READ_ONLY:
            raise ReadOnlyStoreError(
                f"{place} cannot be written to: {error}; what is stored is "
                "served all the same. Mount it for writing, or do this where it is "
                "mounted so, as a user who may write"
            ) from error
        if error.errno == errno.EIO:
            raise StoreError(
                f"{place} cannot be read or written: {error}; what is served is "
                "complete. See to its disk, which may be broken, then do the same again"
            ) from error
        raise


def followed(path: Path) -> Path:
    """Return the file that a link leads to.

    Files are written beside themselves and swapped in. Of a link, that would leave the
    file behind: with users who are deleted, or for others who have another link to it.
    """
    return path.resolve() if path.is_symlink() else path


def check_writable(store: FeatureStore) -> None:
    """Raise an OSError when nothing can be written beside the offline files."""
    folder = Path(store.repo_path) / DATA
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        return
