"""What a picture's file says beside pixels: which way is up, and a colour profile.

Libraries refuse whole pictures for metadata that they cannot read: a bad checksum of a
comment, a colour profile that is cut off, an EXIF tag of the wrong type. None of it is
needed to decode pixels, so it is taken out of the file before they see it. Only the
orientation, which is read without the other tags, and the profile are kept.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from PIL import Image

from skmmrec.runtime import is_of_item

_ORIENTATION = 0x0112
# The integer types of TIFF, as `struct` calls them.
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
_XMP = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])")
# XMP of more than 1 MiB, unpacked, is not read. The standard asks for less than 64 KB.
# So much is unpacked of all texts of a file together: a few bytes may stand for it.
_MOST_TEXT = 2**20
# Nor is a colour profile of more than 4 MiB: those of printers have up to 3.
_MOST_PROFILE = 2**22


class Stripped(NamedTuple):
    """A file of a picture without its metadata.

    Parameters
    ----------
    data : bytes or file
        The file, from which all that is not needed to decode the pixels was taken.
    orientation : int or None
        1 to 8, as in EXIF; None if the file still says it itself, if at all.
    has_fractions : bool
        Whether it is a JPEG that may be decoded at a fraction of its size.
    profile : bytes or None
        The ICC profile; None if there is none, or the file still has it.
    """

    data: Any
    orientation: int | None
    has_fractions: bool = False
    profile: bytes | None = None


def strip(data: bytes) -> Stripped:
    """Take the metadata out of a JPEG, PNG, TIFF or AVIF file; leave other files.

    JPEG 2000 stays as it is, and is asked which way is up: libraries do not do so.
    """
    for is_of_format, strip_format in _FORMATS:
        if is_of_format(data):
            return strip_format(data)
    return Stripped(data, None)


def can_strip(head: bytes) -> bool:
    """Tell from the first 64 bytes of a file whether `strip` knows its format."""
    return any(is_of_format(head) for is_of_format, _ in _FORMATS)


def orientation_of(image: Image.Image) -> int:
    """Return the orientation of an opened picture; 1 if it cannot be read."""
    said: Any = None
    try:
        said = image.getexif().get(_ORIENTATION)
    except Exception as error:
        if not is_of_item(error):
            raise  # or else other tags are broken: read this one alone
    if said not in range(1, 9):
        said = _first([image.info.get("exif")], [image.info.get("xmp")])
    return int(said)


def _first(exifs: Iterable[Any], xmps: Iterable[Any]) -> int:
    """Return the first orientation that can be read, EXIF first; 1 without any."""
    read = chain(map(orientation_in_exif, exifs), map(_orientation_in_xmp, xmps))
    return next(filter(None, read), 1)


def orientation_in_exif(data: Any) -> int | None:
    """Return what EXIF says is the orientation, 1 to 8, whatever else it says.

    `data` is EXIF with or without its prefix, or a TIFF file.
    """
    if not isinstance(data, bytes):
        return None
    prefix = re.match(rb"(Exif\x00\x00){1,2}", data)
    data = data[prefix.end() :] if prefix else data
    for order, tag, entry in _entries(data):
        if tag == _ORIENTATION:
            value = _first_integer(data, order, entry)
            if value in range(1, 9):
                return value
    return None


def _orientation_in_xmp(data: Any) -> int | None:
    found = _XMP.search(data) if isinstance(data, bytes) else None
    return int(found[1]) if found else None


def _entries(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield byte order, tag and position of each entry of the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or 42 not in data[2:4] or len(data) < 10:
        return
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return
    (n_entries,) = struct.unpack_from(f"{order}H", data, start)
    n_whole = (len(data) - start - 2) // 12
    for entry in range(start + 2, start + 2 + 12 * min(n_entries, n_whole), 12):
        yield order, struct.unpack_from(f"{order}H", data, entry)[0], entry


def _first_integer(data: bytes, order: str, entry: int) -> int | None:
    kind, count = struct.unpack_from(f"{order}HI", data, entry + 2)
    if kind not in _INTEGERS or count == 0:
        return None
    code = f"{order}{_INTEGERS[kind]}"
    at = entry + 8
    if count * struct.calcsize(code) > 4:  # the values are elsewhere
        (at,) = struct.unpack_from(f"{order}I", data, at)
    if at + struct.calcsize(code) > len(data):
        return None
    return int(struct.unpack_from(code, data, at)[0])


# -- JPEG ------------------------------------------------------------------------------


# How a JPEG may be coded, and the three ways that decoders can scale: baseline,
# extended and progressive, by Huffman's code.
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCALED = {0xC0, 0xC1, 0xC2}
_EXIF, _XAP = b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"


def is_jpeg(data: bytes) -> bool:
    """Tell it by its first bytes."""
    return data[:3] == b"\xff\xd8\xff"


def exif_or_xmp(body: bytes) -> bool:
    """Tell whether a segment may say which way is up."""
    return body.startswith((_EXIF, _XAP))


def _strip_jpeg(data: bytes) -> Stripped:
    kept, exifs, xmps, frames = [data[:2]], [], [], set()
    profiles: list[bytes] = []
    at = 2
    for start, end, marker, body in jpeg_segments(data):
        if _matters(marker, body):
            kept.append(data[start:end])
            frames |= {marker} & JPEG_FRAMES
        elif body.startswith(_EXIF):
            exifs.append(body)
        elif body.startswith(_XAP):
            xmps.append(body)
        elif is_profile(marker, body):
            profiles.append(body)
        at = end
    stripped = b"".join([*kept, data[at:]])
    has_fractions = bool(frames) and frames <= _JPEG_SCALED
    profile = joined_profile(profiles)
    return Stripped(stripped, _first(exifs, xmps), has_fractions, profile)


def is_profile(marker: int, body: bytes) -> bool:
    """Tell whether a segment is a part of a colour profile."""
    return marker == 0xE2 and body.startswith(_ICC)


def joined_profile(segments: list[bytes]) -> bytes | None:
    """Join the parts of a profile, each with its number and how many there are."""
    parts = sorted(body[len(_ICC) :] for body in segments)
    numbers = [part[:1] for part in parts]
    if not parts or numbers != [bytes([n]) for n in range(1, len(parts) + 1)]:
        return None
    return b"".join(part[2:] for part in parts)[:_MOST_PROFILE]


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield start, end, marker and body of each segment of a JPEG before its pixels."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xDA:  # here the pixels start
            return
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD9:  # without a body
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4 or end > len(data):
            return
        yield at, end, marker, data[at + 4 : end]
        at = end


def _matters(marker: int, body: bytes) -> bool:
    """Tell whether a segment is needed to decode: most, but few of applications.

    Those of JFIF and Adobe say what the channels mean, if they are whole.
    """
    if marker == 0xE0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == 0xEE:
        return body.startswith(b"Adobe") and len(body) >= 12
    return not (0xE1 <= marker <= 0xEF or marker == 0xFE)


# -- PNG -------------------------------------------------------------------------------

_PNG = b"\x89PNG\r\n\x1a\n"
# Beside the chunks whose names say that they are critical: transparency and animation.
_PNG_KEPT = {b"tRNS", b"acTL", b"fcTL", b"fdAT"}
_PNG_READ = {b"eXIf", b"iCCP", b"tEXt", b"zTXt", b"iTXt"}
# Keys of the texts that may say which way is up.
_PNG_XMP, _PNG_EXIF = b"XML:com.adobe.xmp", b"Raw profile type exif"


def _is_png(data: bytes) -> bool:
    return data.startswith(_PNG)


def _strip_png(data: bytes) -> Stripped:
    kept, exifs, xmps = [data[:8]], [], []
    profile, at, room = None, 8, _MOST_TEXT
    for start, end, kind in _chunks(data):
        body = data[start + 8 : end - 4] if kind in _PNG_READ else b""
        if kind[:1].isupper() or kind in _PNG_KEPT:
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exifs.append(body)
        elif kind == b"iCCP" and profile is None:  # there may be one
            # A name, the method of compression, the profile.
            profile = _unpacked(body.partition(b"\0")[2][1:], _MOST_PROFILE)
        elif kind in _PNG_READ:
            key, text = _png_text(kind, body, room)
            room -= len(text)
            xmps += [text] if key == _PNG_XMP else []
            exifs += [_from_hex(text)] if key == _PNG_EXIF else []
        at = end
    stripped = b"".join([*kept, data[at:]])
    return Stripped(stripped, _first(exifs, xmps), profile=profile)


def _chunks(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield start, end and kind of each chunk that is whole."""
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield at, end, data[at + 4 : at + 8]
        at = end


def _png_text(kind: bytes, body: bytes, most: int) -> tuple[bytes, bytes]:
    """Return the key of a chunk, and at most so many bytes of its text.

    There are none of a text that is not asked for, or that cannot be unpacked.
    """
    key, _, text = body.partition(b"\0")
    if key not in (_PNG_XMP, _PNG_EXIF) or most <= 0:
        return key, b""
    is_packed = kind == b"zTXt" or (kind == b"iTXt" and text[:1] == b"\1")
    if kind == b"zTXt":
        text = text[1:]  # after the method of compression
    elif kind == b"iTXt":
        text = text[2:].split(b"\0", 2)[-1]  # after a language and a translated key
    return key, _unpacked(text, most) if is_packed else text[:most]


def _unpacked(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """Return a profile that ImageMagick wrote as name, length and hex digits."""
    digits = b"".join(text.split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


# -- TIFF ------------------------------------------------------------------------------

# Tags that say nothing of how pixels are stored: names of documents, devices, software
# and people, the orientation, the resolution, XMP, IPTC, Photoshop, colour profiles,
# and the directories of EXIF, GPS and ImageJ.
_TIFF_XMP, _TIFF_PROFILE = 700, 34675
_TIFF_DROPPED = {
    *(269, 270, 271, 272, 285, 305, 306, 315, 316, 33432),
    *(_ORIENTATION, 282, 283, 296),
    *(_TIFF_XMP, 33723, 34377, _TIFF_PROFILE, 34665, 34853, 37724, 40965),
}


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*")


def _strip_tiff(data: bytes) -> Stripped:
    """Leave entries out of the first directory, which then ends earlier."""
    entries = list(_entries(data))
    kept = [at for _, tag, at in entries if tag not in _TIFF_DROPPED]
    # A tag stands there once: many could each name all the bytes of the file.
    once = {tag: (order, at) for order, tag, at in reversed(entries)}
    xmps = [_tag_bytes(data, *once[_TIFF_XMP], _MOST_TEXT)] if _TIFF_XMP in once else []
    orientation = _first([data], xmps)
    if len(kept) == len(entries):
        return Stripped(data, orientation)
    order, _, first = entries[0]
    end = entries[-1][2] + 12
    next_page = data[end : end + 4].ljust(4, b"\0")
    count = struct.pack(f"{order}H", len(kept))
    directory = b"".join([count, *(data[at : at + 12] for at in kept), next_page])
    start = first - 2
    rest = data[start + len(directory) :]
    stripped = b"".join([data[:start], directory, rest])
    profile = None
    if _TIFF_PROFILE in once:
        profile = _tag_bytes(data, *once[_TIFF_PROFILE], _MOST_PROFILE)
    return Stripped(stripped, orientation, profile=profile)


def _tag_bytes(data: bytes, order: str, entry: int, most: int) -> bytes:
    """Return the bytes that an entry says are elsewhere in the file."""
    count, start = struct.unpack_from(f"{order}II", data, entry + 4)
    return data[start : start + min(count, most)]


# -- AVIF ------------------------------------------------------------------------------

# An entry of the list of what a file contains, which calls it Exif.
_AVIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)


def _is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and b"avi" in data[8:64]


def _strip_avif(data: bytes) -> Stripped:
    """Call EXIF something else, which decoders pass over.

    The file itself says how the picture is turned; EXIF does not count in this format.
    """
    return Stripped(_AVIF_EXIF.sub(rb"\1none", data), None)


# -- JPEG 2000 -------------------------------------------------------------------------

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
# What the boxes start with in which programs put EXIF and XMP.
_JP2_EXIF = b"JpgTiffExif->JP2"
_JP2_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")


def _is_jp2(data: bytes) -> bool:
    return data.startswith(_JP2)


def _read_jp2(data: bytes) -> Stripped:
    read: dict[bytes, list[bytes]] = {_JP2_EXIF: [], _JP2_XMP: []}
    at, end = 0, len(_JP2)
    while at < end <= len(data):
        body = data[at + 8 : min(end, at + _MOST_TEXT)]
        if data[at + 4 : at + 8] == b"uuid" and body[:16] in read:
            read[body[:16]].append(body[16:])
        # Boxes of more than 4 GB, and those without a length, hold pixels.
        at, end = end, end + int.from_bytes(data[end : end + 4], "big")
    return Stripped(data, _first(*read.values()))


_FORMATS: list[tuple[Callable[[bytes], bool], Callable[[bytes], Stripped]]] = [
    (is_jpeg, _strip_jpeg),
    (_is_png, _strip_png),
    (_is_tiff, _strip_tiff),
    (_is_avif, _strip_avif),
    (_is_jp2, _read_jp2),
]
