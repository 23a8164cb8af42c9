"""Find the sound in files of chunks, whatever sizes they declare.

WAV (RIFF, RIFX, RF64, BW64), AIFF, Wave64 and CAF consist of chunks: a name, a size, a
body. Writers that cannot go back leave the sizes open, others get them wrong. The
sizes are therefore hints. What is handed to the decoder is a new file: the chunks that
it needs, then the sound, with the size that it really has.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import BinaryIO, NamedTuple

from skmmrec.encoders._mpeg import mpeg_parts
from skmmrec.encoders._sound_parts import (
    Part,
    Spliced,
    buffered,
    bytes_at,
    few_recordings,
    size_of,
    spliced,
)
from skmmrec.runtime import ContentError

# How far from the start and from the end chunks are looked for where the sizes do not
# lead to them: more than the texts and the time codes of broadcast files take.
_SEARCHED = 2**20
# Chunks that are followed: files have dozens at the most.
_MOST_CHUNKS = 1000
# Bytes of a chunk that describes samples; packet tables are the longest.
_MOST_BYTES = 2**24
# Writers of a pipe declare 2**31 or 2**32 bytes, less the header or what fits into a
# buffer: sox 0x7FFFF000, others 0x7FFFFFFF, 0x80000000 or 0xFFFFFFFF.
_NEAR = 2**16
# Names of files, which stand where a chunk would if files are joined.
_FILES = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM")
# Names of chunks that follow a sound.
_TRAILERS = re.compile(
    rb"LIST|INFO|fact|PEAK|bext|iXML|_PMX|axml|cue |plst|smpl|inst|id3 |ID3 |JUNK|PAD "
    rb"|FLLR|afsp|MARK|INST|COMT|NAME|AUTH|ANNO|APPL|CHAN|MIDI|AESD|\(c\) |chna|levl"
    rb"|umid|info|strg|uuid|free|mark|edct|ovvw|peak|midi"
)
_OPEN = 2**32 - 1
# The least body of a chunk that describes samples: that of WAV without the bits.
_LEAST = 14
# MPEG layer I or II, and layer III, in a WAV.
_MPEG_TAGS = (0x50, 0x55)
# Samples one by one: integers, floats, A-law, mu-law, or said in an extension.
_PLAIN_TAGS = (1, 3, 6, 7, 0xFFFE)
_INNER_TAGS = tuple(struct.pack("<H", tag) for tag in _PLAIN_TAGS[:-1])
_WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
# In Hz: the rates in common use.
_RATES = [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200]
_RATES += [96_000, 176_400, 192_000]


class Layout(NamedTuple):
    """How a kind of file is cut into chunks."""

    order: str
    size_code: str
    first: int
    """Where the first chunk starts."""
    kept: tuple[bytes, ...]
    """The chunks that a decoder needs besides the sound."""
    sound: bytes
    has_total: bool = True
    """Whether the size of everything stands behind the name of the file."""
    padding: int = 2
    counts_header: bool = False

    @property
    def n_name(self) -> int:
        """The bytes of a name."""
        return len(self.sound)

    @property
    def n_header(self) -> int:
        """The bytes of a name and a size."""
        return self.n_name + struct.calcsize(self.size_code)

    def size(self, data: bytes) -> int:
        """Return the size that a chunk's first bytes declare, of its body alone."""
        (size,) = struct.unpack_from(self.order + self.size_code, data, self.n_name)
        return size - self.n_header * self.counts_header

    def header(self, name: bytes, size: int) -> bytes:
        """Return the first bytes of a chunk; too large a size is left open."""
        size += self.n_header * self.counts_header
        size = min(size, _OPEN) if self.size_code == "I" else size
        return name + struct.pack(self.order + self.size_code, size)

    def padded(self, size: int) -> int:
        """Return the bytes that a body takes."""
        return size + -size % self.padding


class Chunk(NamedTuple):
    """A chunk's name, where its body starts, and the size that it declares."""

    name: bytes
    start: int
    size: int


_RIFF = Layout("<", "I", 12, (b"fmt ",), b"data")
_WAVE64 = Layout(
    *("<", "Q", 40, (b"fmt " + _WAVE64_TAIL,), b"data" + _WAVE64_TAIL),
    padding=8,
    counts_header=True,
)
_AIFF = Layout(">", "I", 12, (b"FVER", b"COMM"), b"SSND")
_CAF = Layout(
    ">", "q", 8, (b"desc", b"kuki", b"pakt", b"chan"), b"data", False, padding=1
)


def layout_of(head: bytes) -> Layout | None:
    """Return how a file is cut, by its first 40 bytes; None if it has no chunks."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _RIFF._replace(order=">") if head[:4] == b"RIFX" else _RIFF
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _AIFF
    if head[:4] == b"riff" and head[24:28] == b"wave":
        return _WAVE64
    return _CAF if head[:4] == b"caff" else None


def chunked_parts(file: BinaryIO, layout: Layout, max_duration: float) -> list[Part]:
    """Return files of the chunks that a decoder needs, and all the sound.

    There is one for each chunk of sound, and for each of several files that are joined.

    Raises ContentError if there is no sound, less of it than declared, or a format that
    contradicts itself.
    """
    files = few_recordings(_parts_of_files(file, layout, max_duration))
    return [part for parts in files for part in parts]


def _parts_of_files(
    file: BinaryIO, layout: Layout, max_duration: float
) -> Iterator[list[Part]]:
    """Yield the parts of each of the files that are joined."""
    start = 0
    while True:
        whole = buffered(Spliced(b"", file, start, size_of(file))) if start else file
        search = _Search(whole, layout)
        yield _parts_of_one(whole, layout, search, max_duration)
        following = search.following_file()
        if following is None:
            return
        n_before, layout = following
        start += n_before


def _parts_of_one(
    file: BinaryIO, layout: Layout, search: _Search, max_duration: float
) -> list[Part]:
    kept, spans = search.needed()
    bodies = {c.name: bytes_at(file, c.start, min(c.size, _MOST_BYTES)) for c in kept}
    if layout.sound == b"data" and b"fmt " in bodies:
        _require_consistent(bodies[b"fmt "], layout.order)
        (tag,) = struct.unpack_from(layout.order + "H", bodies[b"fmt "])
        if tag in _MPEG_TAGS:
            inner = [spliced(b"", file, *span) for span in spans]
            return [part for each in inner for part in mpeg_parts(each, max_duration)]
    for name in _WAVE64.kept if layout.sound == _WAVE64.sound else ():
        bodies = {**bodies, name: _without_extension(bodies.get(name, b""))}
    head = bytes_at(file, 0, layout.first)
    headers = [_new_header(head, layout, bodies, end - start) for start, end in spans]
    per_second = _bytes_per_second(bodies, layout)
    return [
        Part(spliced(header, file, start, end), seconds=(end - start) / per_second)
        for header, (start, end) in zip(headers, spans, strict=True)
    ]


def _without_extension(body: bytes) -> bytes:
    """Return the format of a Wave64 as its extension says it; itself without one.

    libsndfile takes all samples with an extension for integers, floats among them.
    """
    tag, inner = body[:2], body[24:26]
    is_extended = tag == b"\xfe\xff" and inner in _INNER_TAGS
    return inner + body[2:16] + bytes(2) if is_extended else body


def _bytes_per_second(bodies: dict[bytes, bytes], layout: Layout) -> float:
    """Return what a WAV declares, or so little that its length is not known."""
    body = bodies.get(b"fmt ", b"")
    fields = struct.unpack_from(layout.order + "I", body, 8) if len(body) >= 12 else [0]
    return fields[0] or 1


def _new_header(
    start: bytes, layout: Layout, bodies: dict[bytes, bytes], n_bytes: int
) -> bytes:
    """Return all that stands before the sound, of `n_bytes`."""
    chunks = [
        layout.header(name, len(body)) + body.ljust(layout.padded(len(body)), b"\0")
        for name, body in bodies.items()
    ]
    header = b"".join([*chunks, layout.header(layout.sound, n_bytes)])
    n_total = len(start) + len(header) + n_bytes
    if layout.sound == _WAVE64.sound:
        return start[:16] + struct.pack("<Q", n_total) + start[24:] + header
    if not layout.has_total:
        return start + header
    name = b"RIFF" if start[:4] in (b"RF64", b"BW64") else start[:4]
    return layout.header(name, n_total - 8) + start[8:] + header


class _Search:
    """Looks for chunks and for where the sound ends."""

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._n_bytes = size_of(file)
        self._total = self._declared_total()
        self._long_sound = _OPEN
        self._known: dict[int, bool] = {}
        """Where chunks were followed from, and whether they led to the end."""
        self._after_sound: list[Chunk] = []

    def needed(self) -> tuple[list[Chunk], list[tuple[int, int]]]:
        """Return what a decoder needs, and where sound starts and ends."""
        before, sound = self._walk_to_sound()
        if sound is None or not before:
            before, sound = self._look_for_sound()
        end = self._end_of(sound)
        self._after_sound = list(self._walk_to_file(self._next(end)))
        named = {c.name: c for c in [*self._after_sound, *before]}
        kept = [named[name] for name in self._layout.kept if name in named]
        if not kept:
            raise ContentError("is not a readable sound: its format is not declared")
        return kept, [(sound.start, end), *self._more_sound()]

    def _more_sound(self) -> list[tuple[int, int]]:
        """Return where chunks of sound that follow the first start and end."""
        if self._layout.kept != _RIFF.kept:  # other files have one
            return []
        own = takewhile(lambda c: c.name not in _FILES, self._after_sound)
        sounds = [c for c in own if c.name == self._layout.sound and c.size]
        return [(c.start, self._end_of(c)) for c in sounds]

    def following_file(self) -> tuple[int, Layout] | None:
        """Return where another file starts that was joined to this one, and its kind.

        Only known after `needed`.
        """
        layouts = ((chunk, self._layout_at(chunk)) for chunk in self._after_sound)
        return next(
            (
                (chunk.start - self._layout.n_header, layout)
                for chunk, layout in layouts
                if layout is not None
            ),
            None,
        )

    def _layout_at(self, chunk: Chunk) -> Layout | None:
        """Return how the file is cut that starts in the place of a chunk, or None."""
        if chunk.name not in _FILES:
            return None
        return layout_of(bytes_at(self._file, chunk.start - self._layout.n_header, 40))

    def _declared_total(self) -> int | None:
        """Return where everything ends; None if that is not declared."""
        head = bytes_at(self._file, 0, 24)
        if self._layout.padding == 8:
            total = int.from_bytes(head[16:24], "little")
        elif self._layout.has_total:
            total = 8 + self._layout.size(head)
        else:
            return None
        # Above 4 GB, four bytes hold what is left of the size.
        is_wrapped = self._n_bytes > total and (self._n_bytes - total) % 2**32 == 0
        return None if _is_open(total - 8) or is_wrapped else total

    def _walk(self, position: int) -> Iterator[Chunk]:
        """Yield one chunk after the other, as long as they have names."""
        layout = self._layout
        for _ in range(_MOST_CHUNKS):
            if position + layout.n_header > self._n_bytes:
                return
            head = bytes_at(self._file, position, layout.n_header)
            if not _is_name(head):
                return
            start = position + layout.n_header
            chunk = Chunk(head[: layout.n_name], start, layout.size(head))
            yield chunk
            if chunk.size < 0:
                return
            position = self._after(chunk)

    def _walk_to_file(self, position: int) -> Iterator[Chunk]:
        """Do so up to the first file, whose own chunks are found by itself."""
        for chunk in self._walk(position):
            yield chunk
            if self._layout_at(chunk) is not None:
                return

    def _after(self, chunk: Chunk) -> int:
        return self._next(chunk.start + chunk.size)

    def _next(self, end: int) -> int:
        """Return where the next chunk starts; some writers do not pad odd sizes."""
        padded = end + -end % self._layout.padding
        names = [bytes_at(self._file, position, 4) for position in (end, padded)]
        return end if _is_name(names[0]) and not _is_name(names[1]) else padded

    def _walk_to_sound(self) -> tuple[list[Chunk], Chunk | None]:
        before: list[Chunk] = []
        for chunk in self._walk(self._layout.first):
            if chunk.name == self._layout.sound:
                return before, self._with_long_size(chunk)
            if chunk.name == b"ds64":
                self._read_long_sizes(chunk)
            elif chunk.name in self._layout.kept:
                before.append(chunk)
        return before, None

    def _read_long_sizes(self, chunk: Chunk) -> None:
        sizes = bytes_at(self._file, chunk.start, 16)
        if len(sizes) == 16:
            total, self._long_sound = struct.unpack("<QQ", sizes)
            self._total = None if _is_open(total) else total + 8

    def _with_long_size(self, sound: Chunk) -> Chunk:
        return sound._replace(size=self._long_sound) if sound.size == _OPEN else sound

    def _look_for_sound(self) -> tuple[list[Chunk], Chunk]:
        """Find chunks by their names, where a size leads into the void.

        The sound must end where a file can end: its name may also stand in a text.
        """
        layout = self._layout
        head = bytes_at(self._file, 0, _SEARCHED)
        matches = re.finditer(re.escape(layout.sound), head)
        for match in islice(matches, _MOST_CHUNKS):
            start = match.start() + layout.n_header
            if start > len(head):
                break
            sound = Chunk(layout.sound, start, layout.size(head[match.start() :]))
            sound = self._with_long_size(sound)
            if _is_open(sound.size) or self._ends_at(sound):
                return self._named_before(head[: match.start()]), sound
        raise ContentError("is not a readable sound: it has no chunk of samples")

    def _named_before(self, head: bytes) -> list[Chunk]:
        """Return chunks by their names alone; their bodies end before the sound."""
        layout = self._layout
        found = []
        for name in layout.kept:
            position = head.find(name, layout.first)
            start = position + layout.n_header
            if position >= 0 and start < len(head):
                size, room = layout.size(head[position:]), len(head) - start
                size = size if _LEAST <= size <= room else room
                found.append(Chunk(name, start, size))
        return found

    def _end_of(self, sound: Chunk) -> int:
        """Return where the sound ends, by the declared size if that can be right."""
        if self._ends_at(sound):
            return min(sound.start + sound.size, self._n_bytes)
        end = sound.start + sound.size
        total_fits = self._total is not None and self._total <= self._n_bytes + 1
        if end > self._n_bytes and not _is_open(sound.size) and not total_fits:
            raise ContentError(f"is cut off: {self._n_bytes} of {end} bytes are there")
        return self._first_trailer(sound.start)

    def _ends_at(self, sound: Chunk) -> bool:
        """Whether a file can end, or another chunk start, where the sound ends."""
        end = sound.start + max(sound.size, 0)
        if end > self._n_bytes + 1:
            return False
        agrees = self._total is not None and abs(self._total - end) <= 1
        padded = end + -end % self._layout.padding
        return (agrees and sound.size > 0) or any(map(self._is_chain, (padded, end)))

    def _is_chain(self, position: int) -> bool:
        """Whether chunks follow one another from here to the end."""
        end, passed = position, [position]
        leads_to_end = self._known.get(position)
        if leads_to_end is None:
            for chunk in self._walk(position):
                end = self._after(chunk)
                if self._total is not None and abs(end - self._total) <= 1:
                    leads_to_end = True  # what follows is no part of it, or is cut off
                    break
                leads_to_end = self._known.get(end)
                if leads_to_end is not None:
                    break
                passed.append(end)
        if leads_to_end is None:
            is_end = abs(end - self._n_bytes) <= 1
            leads_to_end = is_end or len(passed) > _MOST_CHUNKS
        self._known.update(dict.fromkeys(passed, leads_to_end))
        return leads_to_end

    def _first_trailer(self, start: int) -> int:
        """Return where chunks begin that lead to the end, or the end."""
        start = max(start, self._n_bytes - _SEARCHED)
        matches = _TRAILERS.finditer(bytes_at(self._file, start, _SEARCHED))
        for match in islice(matches, _MOST_CHUNKS):
            if self._is_chain(start + match.start()):
                return start + match.start()
        return self._n_bytes


def _is_name(head: bytes) -> bool:
    return len(head) >= 4 and all(0x20 <= byte < 0x7F for byte in head[:4])


def _is_open(size: int) -> bool:
    """Whether a size says that it was not known."""
    is_near = any(abs(size - 2**power) < _NEAR for power in (31, 32))
    return size <= 0 or is_near or size >= 2**62


def _require_consistent(body: bytes, order: str) -> None:
    """Raise if the fields of a format contradict each other: two are made of others."""
    if len(body) < 16:
        raise ContentError("is not a readable sound: its format is cut off")
    fields = struct.unpack_from(order + "HHIIHH", body)
    tag, n_channels, rate, per_second, per_frame, n_bits = fields
    if tag not in _PLAIN_TAGS or not per_second:
        return
    n_bytes = n_channels * -(-n_bits // 8)
    if per_frame != n_bytes and per_frame * rate == per_second:
        raise ContentError(
            f"is damaged: it declares {n_channels} channels of {n_bits} bits, "
            f"and {per_frame} bytes for all of them"
        )
    if rate not in _RATES and per_frame == n_bytes and per_second / n_bytes in _RATES:
        raise ContentError(
            f"is damaged: it declares a rate of {rate} Hz, and the bytes of "
            f"{per_second // n_bytes} Hz"
        )


def sun_part(file: BinaryIO) -> Part:
    """Return an AU file, of one header and the sound, with its length left open.

    Raises ContentError if there is less of it than declared.
    """
    head = bytes_at(file, 0, 24)
    order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 24:
        raise ContentError("is not a readable sound: its header is cut off")
    start, size = struct.unpack_from(order + "II", head, 4)
    n_bytes = size_of(file)
    if n_bytes < start + size and not _is_open(size):
        raise ContentError(f"is cut off: {n_bytes} of {start + size} bytes are there")
    header = bytes_at(file, 0, start)
    header = header[:8] + struct.pack(order + "I", _OPEN) + header[12:]
    return Part(spliced(header, file, start, n_bytes))
