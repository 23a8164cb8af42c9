"""Which columns are shown: by what they hold, and by what they are called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from skmmrec.app._columns import NAMES, SUFFIXES, find_columns, kind_of

PNG, WAV, MP4 = b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WAVEfmt ", b"\0\0\0\x18ftypmp42"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([PNG, None], "picture"),
        ([b"\xff\xd8\xff\xe0"], "picture"),
        ([bytearray(PNG)], "picture"),
        ([Image.new("RGB", (2, 2))], "picture"),
        ([np.zeros((2, 2, 3), np.uint8)], "picture"),
        (["a/b.JPG", ""], "picture"),
        ([Path("a.webp")], "picture"),
        ([WAV], "sound"),
        (["x.mp3"], "sound"),
        ([b"ID3\x04"], "sound"),
        ([MP4], "video"),
        ([b"\0\0\0\x18ftypavif"], "picture"),
        (["x.webm"], "video"),
        (["A title", "Another one"], "text"),
        (["a line\nand x.png"], "text"),
        ([1, 2.5, np.nan], "fact"),
        ([pd.Timestamp("2020-01-01")], "fact"),
        ([True, False], "fact"),
        ([Path("notes")], "other"),
        ([b"nothing known"], "other"),
        ([[1.0, 2.0]], "other"),
        ([None, np.nan, pd.NA], None),
        ([], None),
    ],
)
def test_kinds(values, kind):
    assert kind_of(pd.Series(values, dtype=object)) == kind


def test_the_kind_is_that_of_most_values():
    assert kind_of(pd.Series(["a.png", "b.png", "no picture here"])) == "picture"


def test_values_are_found_behind_many_that_are_missing():
    column = pd.Series([None] * 5000 + ["a.png"], dtype=object)
    assert kind_of(column) == "picture"


@pytest.fixture
def table():
    return pd.DataFrame(
        {
            "item_id": ["a", "b"],
            "blurb": ["words " * 20, "more words " * 20],
            "name": ["A", "B"],
            "thumbnail": ["a.png", "b.png"],
            "image": ["a.jpg", "b.jpg"],
            "preview": ["a.wav", "b.wav"],
            "trailer": ["a.mp4", "b.mp4"],
            "price": [1.5, 2.0],
            "brand": ["north", "south"],
            "year": [1999, 2001],
            "stock": [1, 2],
            "emb__0": [0.1, 0.2],
        }
    )


def test_usual_names_go_before_the_first_of_a_kind(table):
    found = find_columns(table, "item_id")
    assert (found.title, found.text) == ("name", "blurb")
    assert (found.picture, found.sound, found.video) == ("image", "preview", "trailer")
    assert found.facts == ("price", "brand", "year")


def test_without_usual_names_the_first_of_a_kind_is_taken():
    table = pd.DataFrame(
        {
            "sku": ["x"],
            "alpha": ["One"],
            "tag": ["new"],
            "beta": ["Two " * 20],
            "pic_a": ["1.png"],
        }
    )
    found = find_columns(table, "sku")
    assert (found.title, found.text, found.picture) == ("alpha", "beta", "pic_a")
    assert found.facts == ("tag",)


def test_an_empty_table_has_nothing_to_show():
    found = find_columns(pd.DataFrame({"item_id": [], "title": []}), "item_id")
    assert vars(found) == vars(find_columns(pd.DataFrame({"item_id": []}), "item_id"))


def test_galleries_take_the_same_names():
    assert (NAMES["title"][0], NAMES["picture"][0]) == ("title", "image")


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from([*sum(NAMES.values(), ()), "other"]),
        st.sampled_from([*SUFFIXES, "text"]),
        min_size=1,
    )
)
def test_each_column_is_shown_as_what_it_is(kinds):
    cells = {"picture": "a.png", "sound": "a.wav", "video": "a.mp4"}
    cells["text"] = "many words " * 9
    columns = {name: [cells[kind]] for name, kind in kinds.items()}
    table = pd.DataFrame({"item_id": ["a"], **columns})
    found = find_columns(table, "item_id")
    for kind in SUFFIXES:
        column = getattr(found, kind)
        assert (column is None) == (kind not in kinds.values())
        assert column is None or kinds[column] == kind
    shown = [c for c in (found.title, found.text) if c is not None]
    assert all(kinds[column] == "text" for column in shown)
    assert len(set(shown)) == min(2, list(kinds.values()).count("text"))
