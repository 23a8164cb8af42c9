"""Metadata never refuses pixels, and says alone which way is up."""

import io
import struct
import tracemalloc
import zlib
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from skmmrec.encoders import read_picture
from skmmrec.encoders._metadata import strip

from .conftest import noise_picture

PICTURE = noise_picture(0, size=(7, 5))
PIXELS = np.asarray(PICTURE)


def plain(file_format, **options):
    buffer = io.BytesIO()
    PICTURE.save(buffer, file_format, **options)
    return buffer.getvalue()


JPEG, PNG, TIFF = plain("JPEG", quality=100), plain("PNG"), plain("TIFF")
JP2 = plain("JPEG2000")


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(*segments, data=JPEG):
    return data[:2] + b"".join(segments) + data[2:]


def chunk(kind, body, check=None):
    check = zlib.crc32(kind + body) if check is None else check
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)


def png(*chunks):
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def entry(tag, kind, count, value, order="<"):
    return struct.pack(f"{order}HHI", tag, kind, count) + value


def exif(*entries, order="<", extra=b"", next_directory=0):
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8)
    count = struct.pack(f"{order}H", len(entries))
    last = struct.pack(f"{order}I", next_directory)
    return head + count + b"".join(entries) + last + extra


def turn(value, order="<", kind=3, count=1):
    code = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i"}[kind]
    return entry(0x0112, kind, count, struct.pack(order + code, value), order)


def jp2(data, kind=b"JpgTiffExif->JP2", *, first=False):
    box = struct.pack(">I", 24 + len(data)) + b"uuid" + kind + data
    after = 32 if first else len(JP2)  # the boxes that a file starts with
    return JP2[:after] + box + JP2[after:]


def holders(data):
    """Return EXIF in each kind of file, with what its pixels are when not turned."""
    yield jpeg(segment(0xE1, b"Exif\0\0" + data)), as_stored(JPEG)
    yield png(chunk(b"eXIf", data)), PIXELS
    yield plain("WEBP", lossless=True, exif=data), PIXELS


def as_stored(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def shown(pixels, orientation):
    """Return what a file that holds some pixels shows."""
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(pixels),
    }
    return turned[orientation]


def assert_reads(item, expected):
    image = read_picture(item)
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_each_orientation_is_turned_upright(orientation, order):
    for data, pixels in holders(exif(turn(orientation, order), order=order)):
        expected = shown(pixels, orientation)
        assert_reads(data, expected)
        assert_reads(Image.open(io.BytesIO(data)), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("first", [False, True])
def test_jpeg_2000_is_turned_by_boxes_that_pillow_passes_over(orientation, first):
    data = exif(turn(orientation))
    for prefix in (b"", b"Exif\0\0"):
        assert_reads(jp2(prefix + data, first=first), shown(PIXELS, orientation))
    assert_reads(jp2(data, b"another program!", first=first), PIXELS)


NEGATIVE = entry(0x0111, 9, 3, struct.pack("<I", 38))
HUGE = entry(0x010F, 2, 2**31, struct.pack("<I", 2**31))
BEYOND = entry(0x0100, 4, 3, struct.pack("<I", 10_000))
OTHERS = {
    "a tag that cannot be written back": (
        [NEGATIVE, turn(6)],
        struct.pack("<3i", -1, -2, -3),
    ),
    "a text of two gigabytes": ([HUGE, turn(6)], b""),
    "a value beyond the end": ([BEYOND, turn(6)], b""),
    "an unknown type": ([entry(0x0101, 99, 1, bytes(4)), turn(6)], b""),
    "a zero denominator": (
        [entry(0x011A, 5, 1, struct.pack("<I", 38)), turn(6)],
        struct.pack("<II", 72, 0),
    ),
    "a directory of itself": (
        [turn(6), entry(0x8769, 4, 1, struct.pack("<I", 8))],
        b"",
    ),
    "a directory beyond the end": (
        [turn(6), entry(0x8825, 4, 1, struct.pack("<I", 2**32 - 1))],
        b"",
    ),
    "a directory of a wrong type": ([turn(6), entry(0x8769, 2, 4, b"abc\0")], b""),
    "two orientations, the first invalid": ([turn(0), turn(6)], b""),
    "a long": ([turn(6, kind=4)], b""),
    "a byte": ([turn(6, kind=1)], b""),
    "a signed number": ([turn(6, kind=8)], b""),
    "two numbers": ([entry(0x0112, 3, 2, struct.pack("<HH", 6, 1))], b""),
    "numbers elsewhere": (
        [entry(0x0112, 3, 3, struct.pack("<I", 26))],
        struct.pack("<HHH", 6, 1, 1),
    ),
    "many tags": ([entry(0x0F00, 3, 1, bytes(4))] * 4000 + [turn(6)], b""),
    "the next directory is this one": ([turn(6)], b""),
}


@pytest.mark.parametrize("others", OTHERS)
def test_other_tags_do_not_hide_the_orientation(others):
    entries, extra = OTHERS[others]
    following = 8 if others.startswith("the next") else 0
    for data, pixels in holders(exif(*entries, extra=extra, next_directory=following)):
        assert_reads(data, shown(pixels, 6))


NOTHING = {
    "no EXIF": b"no exif at all",
    "two bytes": b"II",
    "empty": b"",
    "the head alone": b"II*\0\x08\0\0\0",
    "another byte order": b"MM\0*" + exif(turn(6))[4:],
    "a directory beyond the end": b"II*\0\xff\xff\xff\xff" + bytes(20),
    "more tags than there are": b"II*\0\x08\0\0\0\xff\xff",
    "a fraction": exif(entry(0x0112, 5, 1, struct.pack("<I", 8))),
    "a text": exif(entry(0x0112, 2, 2, b"6\0\0\0")),
    "no value": exif(turn(6, count=0)),
    "an orientation that there is not": exif(turn(9)),
    "a negative orientation": exif(turn(-6, kind=9)),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("case", NOTHING)
def test_an_orientation_that_cannot_be_read_leaves_pixels_as_stored(case):
    for data, pixels in holders(NOTHING[case]):
        assert_reads(data, pixels)
        assert_reads(Image.open(io.BytesIO(data)), pixels)


BASE = exif(
    turn(6),
    entry(0x010F, 2, 8, struct.pack("<I", 86)),
    entry(0x011A, 5, 1, struct.pack("<I", 94)),
    entry(0x0111, 9, 3, struct.pack("<I", 102)),
    entry(0x8769, 4, 1, struct.pack("<I", 114)),
    entry(0x8825, 4, 1, struct.pack("<I", 114)),
    extra=b"Camera\0\0" + struct.pack("<II3iHI", 72, 1, -1, 2, 3, 0, 0),
)
# Byte order, start and the orientation's own entry; what follows may be anything.
NEEDED = 8 + 2 + 12
mutations = st.tuples(
    st.lists(
        st.tuples(st.integers(0, len(BASE) - 1), st.integers(0, 255)),
        max_size=12,
    ),
    st.integers(0, len(BASE)),
    st.binary(max_size=20),
)


@settings(max_examples=600, database=None)
@given(mutation=mutations, which=st.integers(0, 2))
def test_pixels_stay_whatever_the_exif_holds(mutation, which):
    changes, end, more = mutation
    damaged = bytearray(BASE)
    for place, value in changes:
        damaged[place] = value
    damaged = bytes(damaged[:end]) + more
    data, pixels = next(islice(holders(damaged), which, None))
    seen = np.asarray(read_picture(data))
    if damaged[:8] == BASE[:8] and damaged[10:NEEDED] == BASE[10:NEEDED]:
        n_tags = struct.unpack("<H", damaged[8:10])[0]
        expected = [6] if n_tags else [1]
    else:
        expected = range(1, 9)
    assert any(np.array_equal(seen, shown(pixels, number)) for number in expected)


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
PACKED = zlib.compress(XMP)
XMP_KEY = b"XML:com.adobe.xmp\0"


@pytest.mark.parametrize(
    ("data", "pixels"),
    [
        (
            jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)),
            as_stored(JPEG),
        ),
        (png(chunk(b"iTXt", XMP_KEY + b"\0\0\0\0" + XMP)), PIXELS),
        (png(chunk(b"iTXt", XMP_KEY + b"\1\0en\0key\0" + PACKED)), PIXELS),
        (png(chunk(b"zTXt", XMP_KEY + b"\0" + PACKED)), PIXELS),
        (plain("WEBP", lossless=True, xmp=XMP), PIXELS),
        (plain("TIFF", tiffinfo={700: XMP}), PIXELS),
        (jp2(XMP, bytes.fromhex("be7acfcb97a942e89c71999491e3afac")), PIXELS),
        (
            jpeg(
                segment(0xE1, b"Exif\0\0unreadable"),
                segment(
                    0xE1,
                    b"http://ns.adobe.com/xap/1.0/\0"
                    b"<tiff:Orientation>6</tiff:Orientation>",
                ),
            ),
            as_stored(JPEG),
        ),
    ],
    ids=["jpeg", "png", "png packed", "png zTXt", "webp", "tiff", "jp2", "bad EXIF"],
)
def test_xmp_says_the_orientation_where_exif_does_not(data, pixels):
    assert_reads(data, shown(pixels, 6))


@settings(max_examples=200, database=None)
@given(place=st.integers(12, 80), value=st.integers(0, 255), end=st.integers(0, 300))
def test_whatever_the_lengths_of_boxes_are_they_end(place, value, end):
    damaged = bytearray(jp2(exif(turn(6)), first=True))
    damaged[place] = value
    assert strip(bytes(damaged[:end])).orientation in (None, 1, 6)


def test_exif_counts_before_xmp():
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP)
    upright = segment(0xE1, b"Exif\0\0" + exif(turn(1)))
    assert_reads(jpeg(xmp, upright), as_stored(JPEG))


def test_a_profile_of_imagemagick_is_read():
    profile = exif(turn(6))
    text = b"\nexif\n      %d\n" % len(profile) + profile.hex().encode() + b"\n"
    key = b"Raw profile type exif\0"
    assert_reads(
        png(chunk(b"zTXt", key + b"\0" + zlib.compress(text))), shown(PIXELS, 6)
    )
    assert_reads(png(chunk(b"tEXt", key + b"\nexif\n4\nnot hex")), PIXELS)


@pytest.mark.parametrize(
    "chunks",
    [
        chunk(b"iCCP", b"profile\0\0not packed"),
        chunk(b"iCCP", b"profile\0\x07" + zlib.compress(b"unknown method")),
        chunk(b"iCCP", b""),
        chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(70_000_000))),
        chunk(b"tEXt", b"Comment\0caf\xe9", check=0),
        chunk(b"zTXt", b"Comment\0\0not packed"),
        chunk(b"zTXt", b"Comment\0\x09" + PACKED),
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10_000_000))),
        chunk(b"iTXt", b"Comment\0\1\0\0\0not packed"),
        chunk(b"iTXt", b"Comment"),
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b""),
        chunk(b"sRGB", b"\x09"),
        chunk(b"cHRM", b"short"),
        chunk(b"tIME", b"\xff"),
        chunk(b"eXIf", b"II*\0", check=7),
    ],
)
def test_broken_chunks_do_not_refuse_a_png(chunks):
    assert_reads(png(chunks), PIXELS)
    assert_reads(PNG[:-12] + chunks + PNG[-12:], PIXELS)


@pytest.mark.parametrize(
    "segments",
    [
        segment(0xFE, bytes(range(256))),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\x05\x02broken"),
        segment(0xE2, b"MPF\0broken"),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\x00"),
        segment(0xE0, b"JFIF"),
        segment(0xEE, b"Adobe"),
        segment(0xE1, b""),
        segment(0xE7, b"\xff\xff\xd8"),
        b"\xff" * 9,
        segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 3,
    ],
)
def test_broken_segments_do_not_refuse_a_jpeg(segments):
    assert_reads(jpeg(segments), as_stored(JPEG))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_broken_tags_do_not_refuse_a_tiff(compression, orientation):
    info = {
        269: "name",
        274: orientation,
        282: 72.0,
        296: 3,
        700: b"xmp",
        34675: b"profile",
        34665: 8,
        34853: 8,
    }
    data = bytearray(plain("TIFF", compression=compression, tiffinfo=info))
    (start,) = struct.unpack("<I", data[4:8])
    (n_tags,) = struct.unpack("<H", data[start : start + 2])
    for at in range(start + 2, start + 2 + 12 * n_tags, 12):
        tag, kind = struct.unpack("<HH", data[at : at + 4])
        if tag in info and tag != 274:
            wrong = {2: 4, 4: 2, 1: 3, 7: 3, 3: 2, 5: 2, 13: 2}[kind]
            data[at + 2 : at + 8] = struct.pack("<HI", wrong, 2**30)
    assert_reads(bytes(data), shown(PIXELS, orientation))


@pytest.mark.parametrize("broken", [b"no exif at all", b"II", exif(turn(6), HUGE)])
def test_broken_exif_does_not_refuse_an_avif(broken):
    pixels = as_stored(plain("AVIF"))
    known = exif(entry(0x010F, 2, 60, struct.pack("<I", 26)), extra=b"a" * 60)
    good = plain("AVIF", exif=known)
    place = good.index(known)
    damaged = broken.ljust(len(known), b"\0")
    assert_reads(good[:place] + damaged + good[place + len(known) :], pixels)


def test_avif_is_turned_as_its_boxes_say():
    pixels = as_stored(plain("AVIF"))
    turned = plain("AVIF", exif=exif(turn(6)))
    np.testing.assert_allclose(
        np.asarray(read_picture(turned), float), shown(pixels, 6), rtol=0, atol=8
    )


def test_a_picture_is_turned_once():
    """What was read is upright: preprocessing hands it on to an encoder."""
    for data, pixels in holders(exif(turn(6))):
        once = read_picture(data)
        assert_reads(once, shown(pixels, 6))
        assert_reads(read_picture(read_picture(Image.open(io.BytesIO(data)))), once)


def test_large_files_are_decoded_as_they_are(tmp_path, monkeypatch):
    path = tmp_path / "large.png"
    path.write_bytes(png(chunk(b"eXIf", exif(turn(6)))))
    monkeypatch.setattr("skmmrec.encoders._pictures._MOST_BYTES", 10)
    assert_reads(path, shown(PIXELS, 6))


def packed_texts(key, text, n):
    body = key + b"\0\0" + zlib.compress(text, 9)
    return PNG[:33] + n * chunk(b"zTXt", body) + PNG[33:]


def tiff_of_tags(tag, n, size):
    """A TIFF that names all of its bytes `n` times."""
    entries = n * struct.pack("<HHII", tag, 7, size, 0)
    head = b"II*\0" + struct.pack("<IH", 8, n) + entries + bytes(4)
    return head + bytes(size - len(head))


MIB = 2**20


@pytest.mark.parametrize(
    "make",
    [
        lambda: packed_texts(b"XML:com.adobe.xmp", bytes(MIB), 40),
        lambda: packed_texts(b"Raw profile type exif", b"\n\n\n" + b"0" * MIB, 40),
        lambda: packed_texts(b"Comment", bytes(MIB), 40),
        lambda: tiff_of_tags(700, 400, MIB),
        lambda: tiff_of_tags(34675, 400, MIB),
    ],
    ids=["XMP", "EXIF as text", "comments", "TIFF XMP", "TIFF profiles"],
)
def test_memory_is_bounded_whatever_metadata_unpacks_to(make):
    """Each of them would be 40 MiB or more."""
    data = make()
    tracemalloc.start()
    try:
        strip(data)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_an_orientation_behind_comments_of_any_size_counts():
    xmp = b'<x tiff:Orientation="6"/>'
    data = packed_texts(b"Comment", bytes(2 * MIB), 3)
    data = data[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp) + data[33:]
    assert strip(data).orientation == 6
    comment = chunk(b"tEXt", b"Comment\0" + bytes(MIB + 1))
    itxt = chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)
    assert strip(PNG[:33] + comment + itxt + PNG[33:]).orientation == 6
