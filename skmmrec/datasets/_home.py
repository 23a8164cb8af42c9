"""Find local data sets, which must not be redistributed."""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLE = "SKMMREC_DATA_HOME"


def find_files(
    data_home: str | Path | None, folder: str, *names: str
) -> tuple[Path, ...]:
    """Locate files of a data set.

    `data_home` is the folder that contains the data sets; None: the one that the
    environment variable ``SKMMREC_DATA_HOME`` names. Returns a path for each of
    `names`, which are files in `folder`. A ValueError says that neither `data_home` nor
    the variable is given, a FileNotFoundError that the folder or a file is missing.
    """
    home = data_home if data_home is not None else os.environ.get(_VARIABLE)
    if not home:
        raise ValueError(
            f"data_home is not given and the environment variable {_VARIABLE} is not "
            f"set; one of them must name the folder that contains {folder!r}"
        )
    source = "data_home" if data_home is not None else _VARIABLE
    base = Path(home) / folder
    if not base.is_dir():
        raise FileNotFoundError(f"{source}={str(home)!r} has no folder {folder!r}")
    paths = tuple(base / name for name in names)
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing (found through {source})")
    return paths
