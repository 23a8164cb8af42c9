"""Titles and texts by id, from tables as people have them."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.app._ids import TextSearch
from skmmrec.app._items import ItemTable, open_items
from skmmrec.datasets import TableFiles

from .conftest import EVIL, SCRIPTS


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_keeps_ids_and_words_as_they_are_written(tmp_path):
    text = "sku,title,price,code\n007,NA,1.5,01\n8,null,,x\n"
    found = open_items(TableFiles(write(tmp_path / "t.csv", text)), ["sku"])
    assert found.ids.tolist() == ["007", "8"]
    assert found.item("007") == ("NA", "", ["price 1.5", "code 01"])
    assert found.item("8") == ("null", "", ["code x"])


def test_compressed_csv_and_parquet_are_read(tmp_path):
    table = pd.DataFrame({"item_id": ["a"], "title": ["One"]})
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv.gz", "t.parquet"):
        found = open_items(TableFiles(tmp_path / name), ["item_id"])
        assert found.title("a") == "One"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.parquet", b"PAR1 and no more", "cannot be read"),
        ("t.csv", b"", "cannot be read"),
        ("t.csv", b"item_id\n\xff\xfe\xfa\n", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=problem) as caught:
        open_items(TableFiles(tmp_path / name), ["item_id"])
    assert name in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        open_items(TableFiles(tmp_path / "none.csv"), ["item_id"])


def test_numbers_are_found_by_how_they_are_written():
    found = open_items(pd.DataFrame({"item_id": [7], "title": ["Seven"]}), ["item_id"])
    assert found.title("7") == found.title(7) == found.title(np.int64(7)) == "Seven"


def test_the_key_is_found_by_name_or_is_the_first_column():
    table = pd.DataFrame({"title": ["One"], "sku": ["a"], "item_id": ["b"]})
    assert open_items(table, ["sku", "item_id"]).ids.tolist() == ["a"]
    assert open_items(table, ["item_id"]).ids.tolist() == ["b"]
    assert open_items(table[["sku", "title"]], ["item_id"]).ids.tolist() == ["a"]


def test_tables_are_read_as_they_are_written(tmp_path):
    """With a separator, an encoding and a column of ids that are told."""
    path = tmp_path / "t.csv"
    path.write_bytes("title;sku;item_id\nSüß;007;x\n".encode("cp1252"))
    files = TableFiles(path, ";", "cp1252")
    found = open_items(files, ["item_id"], key="sku")
    assert found.ids.tolist() == ["007"]
    assert found.title("007") == "Süß"
    with pytest.raises(ValueError, match=r"no column 'no' \(key\); it has \['title',"):
        open_items(files, ["item_id"], key="no")


def test_of_rows_with_one_id_the_first_counts():
    table = pd.DataFrame({"item_id": ["a", "a"], "title": ["One", "Two"]})
    found = ItemTable(table, "item_id", None)
    assert (len(found), found.title("a")) == (1, "One")


def test_what_is_not_in_the_table_is_called_by_its_id(shown):
    assert shown.item("nobody") == ("nobody", "", [])
    assert shown.picture("nobody") == (None, None)
    assert shown.players("nobody")["sound"] == (None, "", None)


def test_an_empty_table_calls_everything_by_its_id():
    found = ItemTable.without()
    assert found.item(3) == ("3", "", [])
    assert found.all_titles([3, "x"]) == ["3", "x"]
    assert found.players(3) == {}
    assert found.coverage([1, 2]) == (0, 2, 0)


@pytest.mark.parametrize("title", [EVIL, SCRIPTS, "a\n\tb  c", "x" * 1000])
def test_titles_are_one_line_of_what_is_written(title):
    table = pd.DataFrame({"item_id": ["a"], "title": [title]})
    found = ItemTable(table, "item_id", None)
    assert found.title("a") == " ".join(title.split())[:400]
    assert found.all_titles(["a", "b"]) == [found.title("a"), "b"]


def test_halves_of_characters_are_shown_as_question_marks():
    """A text that was cut by UTF-16, as JSON may have it, is sent to no browser."""
    table = pd.DataFrame({"item_id": ["a"], "title": ["cut \ud83d"], "kind": "\udc00"})
    found = open_items(table, ["item_id"])
    assert found.item("a") == ("cut ?", "", ["kind ?"])
    assert TextSearch(found.ids, found.all_titles(["a"])).find("cut", 5) == [0]


def test_titles_are_given_once_for_each_item(shown):
    titles = shown.titles(["item-0001", "item-0001", "nobody"])
    assert titles.index.tolist() == ["item-0001", "nobody"]
    assert titles["nobody"] == "nobody"


def test_dates_and_numbers_are_short():
    table = pd.DataFrame(
        {"item_id": ["a"], "title": ["One"], "price": [1.23456], "day": ["2020-01-02"]}
    )
    table["day"] = pd.to_datetime(table["day"])
    assert ItemTable(table, "item_id", None).item("a").facts == [
        "price 1.235",
        "day 2020-01-02",
    ]


def test_the_coverage_counts_both_sides(shown, table):
    ids = [*table["item_id"][:20], "unknown"]
    assert shown.coverage(ids) == (20, 21, len(table) - 20)


def test_media_are_those_beside_the_file(shown):
    assert shown.picture("item-0001").uri
    assert shown.players("item-0001")["sound"].mime == "audio/wav"


def test_a_table_without_columns_is_refused():
    with pytest.raises(ValueError, match="no columns"):
        open_items(pd.DataFrame(), ["item_id"])


def test_columns_that_come_twice_are_named():
    table = pd.DataFrame([["a", "One", "Two"]], columns=["item_id", "title", "title"])
    with pytest.raises(ValueError, match="several columns named 'title'"):
        open_items(table, ["item_id"])
