"""Pictures, sounds and videos of a table, as a browser can show them."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from skmmrec.encoders import ContentError, read_picture, still_frames
from skmmrec.runtime import is_missing

# Seconds of a video whose middle is shown: to read more takes time.
_SECONDS = 20.0
# Twice the width of a card, for sharp screens.
_PIXELS = 480
# Of WebP: no blocks can be seen in a thumbnail, which has about 20 kB.
_QUALITY = 80
# Bytes of a sound or video: it is sent as a whole to whoever looks at the card.
LARGEST = 64 * 2**20
# What files begin with, and what browsers call their formats; `{}` is audio or video.
_FORMATS = {
    b"RIFF": "audio/wav",
    b"fLaC": "audio/flac",
    b"OggS": "{}/ogg",
    b"\x1a\x45\xdf\xa3": "{}/webm",
}


class Picture(NamedTuple):
    """A thumbnail as a data URI, or why there is none."""

    uri: str | None = None
    problem: str | None = None


class Player(NamedTuple):
    """Bytes for a player, or why there are none."""

    data: bytes | None = None
    mime: str = ""
    problem: str | None = None


@dataclass(frozen=True)
class MediaReader:
    """Reads the media in the cells of a table.

    Parameters
    ----------
    root : Path or None
        Paths are relative to this folder, and no file outside of it is read. None: they
        are relative to the working folder, and any file is read; for tables that a
        program made itself.
    """

    root: Path | None

    def picture(self, cell: Any) -> Picture:
        """Make a thumbnail of a picture; what is wrong with it is told, not raised."""
        if is_missing(cell):
            return Picture()
        try:
            content = self._resolved(cell)
            return Picture(_thumbnail(read_picture(content)))
        except OSError as error:
            return Picture(problem=_file_problem("Picture", error))
        except (ContentError, ValueError, TypeError):
            return Picture(problem="Picture cannot be read")

    def frame(self, cell: Any) -> Picture:
        """Make a thumbnail of a frame of a video; what is wrong is told, not raised."""
        if is_missing(cell):
            return Picture()
        try:
            frames = still_frames(self._resolved(cell), 1, _SECONDS)
            return Picture(_thumbnail(frames[0])) if frames else Picture()
        except OSError as error:
            return Picture(problem=_file_problem("Video", error))
        except ImportError:
            return Picture(problem="Frames need the extra video")
        except (ContentError, ValueError, TypeError):
            return Picture(problem="Video cannot be read")

    def player(self, cell: Any, kind: str) -> Player:
        """Read a sound or video; what is wrong with it is told, not raised.

        A cell is a path or an encoded file.
        """
        noun = kind.capitalize()
        if is_missing(cell):
            return Player()
        try:
            data = _read(self._resolved(cell))
        except OSError as error:
            return Player(problem=_file_problem(noun, error))
        except ValueError:  # a NUL in a path
            data = None
        if data is None:
            return Player(problem=f"{noun} cannot be read")
        if len(data) > LARGEST:
            return Player(problem=f"{noun} is larger than {LARGEST >> 20} MiB")
        return Player(data, _mime(data, kind))

    def _resolved(self, cell: Any) -> Any:
        """Return the path of a file that may be read; other content as it is."""
        if not isinstance(cell, str | os.PathLike):
            return bytes(cell) if isinstance(cell, bytearray) else cell
        root = None if self.root is None else self.root.resolve()
        path = Path(root or "", cell)
        if root is not None and not path.resolve().is_relative_to(root):
            raise PermissionError(f"{cell} is not in {root}")
        if not path.is_file():
            raise FileNotFoundError(path)
        return path.resolve()


def _thumbnail(picture: Image.Image) -> str:
    picture.thumbnail((_PIXELS, _PIXELS))
    buffer = io.BytesIO()
    picture.save(buffer, "webp", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _read(content: Any) -> bytes | None:
    """Read a file, if it is not too large; one byte more tells that it is."""
    if isinstance(content, bytes):
        return content
    if not isinstance(content, Path):
        return None
    with content.open("rb") as file:
        return file.read(LARGEST + 1)


def _mime(data: bytes, kind: str) -> str:
    medium = "audio" if kind == "sound" else "video"
    if data[4:8] == b"ftyp":
        return f"{medium}/mp4"
    otherwise = "audio/mpeg" if kind == "sound" else "video/mp4"
    return _FORMATS.get(data[:4], otherwise).format(medium)


def _file_problem(noun: str, error: OSError) -> str:
    """Say what is wrong with a file, without telling where it is looked for."""
    if isinstance(error, FileNotFoundError):
        return f"{noun} file is missing"
    if isinstance(error, PermissionError):
        return f"{noun} file may not be read"
    return f"{noun} file cannot be read"
