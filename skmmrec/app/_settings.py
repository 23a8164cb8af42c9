"""What `browse` tells the page's process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib


@dataclass(frozen=True)
class Settings:
    """What to show; written by `browse`, read by the page.

    Attributes
    ----------
    model, compare : str or None
        Absolute folders of models; None: they are among `objects`.
    items : str or None
        Absolute path of a table.
    key : str or None
        Its column of ids.
    sep : str or None
        Its separator, in CSV files.
    encoding : str
        Its encoding, in CSV files.
    media : str or None
        Absolute folder of the media.
    record : bool
        Whether likes are written to the store.
    objects : str or None
        File of objects that were given in the place of paths.
    """

    model: str | None = None
    compare: str | None = None
    items: str | None = None
    key: str | None = None
    sep: str | None = None
    encoding: str = "utf-8"
    media: str | None = None
    record: bool = False
    objects: str | None = None

    def write(self, path: Path) -> None:
        """Write the settings as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: str) -> Settings:
        """Read what `write` wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))


def write_objects(objects: Mapping[str, Any], path: Path) -> None:
    """Hand objects to the page's process.

    Raises TypeError for what cannot be pickled.
    """
    try:
        joblib.dump(dict(objects), path)
    except Exception as error:
        raise TypeError(
            f"{' and '.join(objects)} cannot be handed to the page's process: {error}"
        ) from error


def read_objects(path: str | None) -> dict[str, Any]:
    """Read what `write_objects` wrote, in a folder that this user alone can write to.

    Raises ValueError for objects of classes that this process cannot import.
    """
    if path is None:
        return {}
    try:
        return joblib.load(path)
    except AttributeError as error:
        raise ValueError(
            f"{error}: what a script or a notebook defines is not known to the page's "
            "process; put it into a module"
        ) from error
