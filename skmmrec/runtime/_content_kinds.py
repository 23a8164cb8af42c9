"""What people give in the place of a picture, a sound or a video, and what to do."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Mapping
from typing import Any, BinaryIO

# Bytes of a file that are looked at: a page may begin with a long comment.
_HEAD = 1024
# The least of base64 that is taken for it: shorter runs are words.
_BASE64 = re.compile(rb"(data:[\w/+.;=-]*,)?[A-Za-z0-9+/\r\n]{64,}={0,2}\s*")
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_MEDIA = {
    b"\x89PNG": ("picture", "PNG"),
    b"\xff\xd8\xff": ("picture", "JPEG"),
    b"GIF8": ("picture", "GIF"),
    b"ID3": ("sound", "MP3"),
    b"fLaC": ("sound", "FLAC"),
    b"OggS": ("sound", "Ogg"),
    b"\x1aE\xdf\xa3": ("video", "Matroska or WebM"),
}
_TEXT = "it is text"
_RIFF = {
    b"WEBP": ("picture", "WebP"),
    b"WAVE": ("sound", "WAV"),
    b"AVI ": ("video", "AVI"),
}


def what_it_is(file: BinaryIO, wanted: str) -> str | None:
    """Say what a file is that is not what was wanted.

    Parameters
    ----------
    file : binary file
        Its beginning is read.
    wanted : {"picture", "sound", "video"}
        What it should be.

    Returns
    -------
    str or None
        "it is ...", and what to do; None for what is not known, or is of the kind that
        was wanted, so that something else is wrong with it.
    """
    file.seek(0)
    head = file.read(_HEAD)
    known = _text_kind(head) or _packed_kind(head) or _other_medium(head, wanted)
    if known == _TEXT and isinstance(file, io.BytesIO):  # what was given, not a file
        return f"{known}, and a path is given as str, not as bytes"
    return known


def _text_kind(head: bytes) -> str | None:
    """Name what is no medium but text, or nothing."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head.strip(b"\0"):
        return "it holds nothing but zeros" if head else "it is empty"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: fetch the file by `git lfs pull`"
    if b"<svg" in start:
        return "it is an SVG drawing: draw it as a PNG file"
    if start.startswith((b"<!doctype html", b"<html")):
        return (
            "it is a web page (HTML), which servers send in the place of a file: "
            "download it again"
        )
    if _BASE64.fullmatch(head):
        return "it is text in base64: decode it by base64.b64decode"
    if _is_text(head):
        if start.startswith((b"{", b"[", b"<?xml")):
            return "it is text (JSON or XML), as of a server's error: download it again"
        return _TEXT
    return None


def _is_text(head: bytes) -> bool:
    """Tell text, which may be cut inside a character, from numbers."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return all(character >= " " or character in "\t\r\n" for character in text)


def _packed_kind(head: bytes) -> str | None:
    """Name what holds the content, but not as a decoder reads it."""
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            return f"it is packed ({name}): unpack it first"
    return None


def _other_medium(head: bytes, wanted: str) -> str | None:
    """Name a medium of another kind, or of a format that is rarely read."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "it is an HEIC picture: convert it to JPEG, or read it by pillow-heif"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "it is a JPEG XL picture: convert it to JPEG or PNG"
    if head.startswith(b"%PDF"):
        return "it is a PDF document: draw its pages as PNG files"
    kind, name = _RIFF.get(head[8:12], ("", "")) if head[:4] == b"RIFF" else ("", "")
    if head[4:8] == b"ftyp":
        kind, name = ("video", "MP4 or the like") if wanted == "picture" else ("", "")
    for magic, medium in _MEDIA.items():
        if head.startswith(magic):
            kind, name = medium
    # FFmpeg reads the sound of videos, and both alike.
    same = {wanted} if wanted == "picture" else {"sound", "video"}
    return f"it is a {kind} ({name})" if kind and kind not in same else None


def how_to_give(item: Any) -> str:
    """Say how to give content that is inside of another object; "" if unknown.

    Parameters
    ----------
    item : object
        That is no path, no bytes, nor any other form that is read.

    Returns
    -------
    str
        Begins with ": ".
    """
    if isinstance(item, Mapping):
        return _of_fields(item)
    if hasattr(item, "getvalue"):
        return ": give its bytes, by getvalue()"
    if hasattr(item, "read"):
        return ": give its path, or its bytes, by read()"
    if hasattr(item, "as_py"):
        return ": give its value, by as_py()"
    return ""


def _of_fields(item: Mapping[Any, Any]) -> str:
    """Say which field of a dict to give, as datasets of Hugging Face hold them."""
    if "array" in item and "sampling_rate" in item:
        return ": give (item['array'], item['sampling_rate'])"
    found = [name for name in ("bytes", "path") if item.get(name) is not None]
    return ": give " + " or ".join(f"item[{name!r}]" for name in found) if found else ""
