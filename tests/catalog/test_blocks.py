"""Columns become modalities; what is missing becomes a mask."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog
from skmmrec.catalog import Blocks
from skmmrec.catalog._blocks import as_slice, group_columns, modality_name

NAN, INF = np.nan, np.inf
GROUPS = {"text": [0, 1], "image": [2]}


def test_rows_of_nan_or_zeros_are_missing():
    blocks = Blocks.from_matrix([[1, 0, NAN], [0, 0, 2], [NAN, NAN, 0]], GROUPS)
    assert blocks.mask.tolist() == [[True, False], [False, True], [False, False]]
    assert blocks.values["text"].tolist() == [[1, 0], [0, 0], [0, 0]]
    assert blocks.values["image"].tolist() == [[0], [2], [0]]
    assert {block.dtype for block in blocks.values.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("value", "word"), [(NAN, "NaN"), (INF, "inf"), (-INF, "inf")])
def test_a_partly_bad_row_is_named(value, word):
    with pytest.raises(ValueError, match=rf"{word}.*'text' of row 1"):
        Blocks.from_matrix([[1, 2, 3], [1, value, 3]], GROUPS)


def test_an_infinite_row_is_not_taken_for_missing():
    with pytest.raises(ValueError, match=r"infinity.*'image' of row 0"):
        Blocks.from_matrix([[1, 2, INF]], GROUPS)


@pytest.mark.parametrize("size", [1e-300, 1e-50, 1e-44, 1e-38])
def test_a_vector_that_vanishes_in_float32_is_not_taken_for_missing(size):
    with pytest.raises(
        ValueError, match=r"'text' of row 1 .*\(1 such rows\): multiply"
    ):
        Blocks.from_matrix([[1, 0, NAN], [0, size, NAN], [0, 0, NAN]], GROUPS)
    beside = Blocks.from_matrix([[1, size, NAN], [1e-37, size, NAN]], GROUPS)
    assert beside.mask.tolist() == [[True, False]] * 2
    number = Blocks.from_matrix([[size]], {"price": [0]}, numbers=["price"])
    assert number.values["price"].item() == size


def test_the_caller_keeps_its_matrix():
    matrix = np.array([[1, 2, NAN]], dtype=np.float32)
    Blocks.from_matrix(matrix, {"text": slice(0, 2), "image": slice(2, 3)})
    assert np.isnan(matrix[0, 2])


def test_take_keeps_values_and_mask_together():
    blocks = Blocks.from_matrix([[1, 1, NAN], [2, 2, 2], [NAN, NAN, 3]], GROUPS)
    part = blocks.take([2, 0])
    assert len(part) == 2
    assert part.mask.tolist() == [[False, True], [True, False]]
    assert part.values["text"].tolist() == [[0, 0], [1, 1]]
    assert (part.modalities, part.widths) == (
        ["text", "image"],
        {"text": 2, "image": 1},
    )


def test_items_of_which_all_is_missing_can_be_put_behind_others():
    blocks = Blocks.from_matrix([[1, 1, 2], [2, 2, 3]], GROUPS, numbers=["image"])
    nothing = blocks.missing(3)
    assert (len(nothing), nothing.widths) == (3, blocks.widths)
    assert not nothing.mask.any()
    whole = blocks.append(nothing)
    assert whole.mask.sum(axis=1).tolist() == [2, 2, 0, 0, 0]
    assert whole.numbers == blocks.numbers
    for name, block in whole.values.items():
        assert block.dtype == blocks.values[name].dtype


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("textencoder", "text"),
        ("imageencoder-2", "image-2"),
        ("image", "image"),
        ("encoder", "encoder"),
        ("my_encoder_x", "my_encoder_x"),
    ],
)
def test_the_encoder_suffix_is_left_out(prefix, name):
    assert modality_name(prefix) == name


def plain(groups):
    return {name: list(columns) for name, columns in groups.items()}


def test_prefixes_name_the_modalities():
    names = ["textencoder__0", "image__a", "textencoder__1"]
    assert plain(group_columns(names, 3, None)) == {"text": [0, 2], "image": [1]}


def test_columns_without_a_prefix_are_one_modality():
    assert plain(group_columns(None, 2, None)) == {"content": [0, 1]}
    assert plain(group_columns(["a", "b"], 2, None)) == {"content": [0, 1]}


@pytest.mark.parametrize(
    "columns", [slice(1, None), [1, 2], [-2, -1], ["b", "c"], np.array([1, 2])]
)
def test_modalities_by_slice_position_or_name(columns):
    assert plain(group_columns(list("abc"), 3, {"m": columns})) == {"m": [1, 2]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["z"], "unknown column: 'z'"),
        ([3], "selects column 3, but there are 3"),
        ([-4], "selects column -4, but there are 3"),
        (slice(3, None), "selects no column"),
        ([], "selects no column"),
    ],
)
def test_wrong_modalities_are_named(columns, message):
    with pytest.raises(ValueError, match=message) as error:
        group_columns(list("abc"), 3, {"m": columns})
    assert "modalities['m']" in str(error.value)


def test_names_need_named_columns():
    with pytest.raises(ValueError, match="unknown column: 'a'"):
        group_columns(None, 3, {"m": ["a"]})


def test_blocks_are_told_in_a_line():
    mask = np.array([[True, False], [True, True]])
    blocks = Blocks({"text": np.ones((2, 300)), "image": np.ones((2, 500))}, mask)
    assert repr(blocks) == (
        "Blocks(2 items, widths={'text': 300, 'image': 500}, "
        "present={'text': 2, 'image': 1})"
    )


def test_columns_that_follow_one_another_are_a_slice():
    table = np.arange(12).reshape(2, 6)
    for columns in ([2], [1, 2, 3], np.array([4, 5])):
        assert isinstance(as_slice(columns), slice)
        np.testing.assert_array_equal(table[:, as_slice(columns)], table[:, columns])
    masks = [[False, True], [True] * 6]
    for columns in ([], [2, 1], [0, 2], [-2, -1], [1, 1], slice(1, 3), *masks):
        assert as_slice(columns) is columns


@pytest.mark.parametrize("n_modalities", [1, 2])
def test_vectors_in_a_table_are_copied_twice_at_most(n_modalities):
    """They may be most of the memory that there is; pandas 2 copies what is picked."""
    n_items, width = 20_000, 64
    names = [f"m{i}__{n}" for i in range(n_modalities) for n in range(width)]
    values = np.random.default_rng(0).standard_normal((n_items, len(names)), "f4")
    values[5] = np.nan
    items = pd.DataFrame(values, columns=names).assign(item_id=np.arange(n_items))
    catalog = ItemCatalog(items, on_empty="ignore")
    tracemalloc.start()
    try:
        blocks = catalog.blocks
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * values.nbytes
    for number, block in enumerate(blocks.values.values()):
        given = values[:, number * width : (number + 1) * width]
        np.testing.assert_array_equal(block, np.nan_to_num(given))
        assert not np.shares_memory(block, values)
    assert blocks.mask.sum() == (n_items - 1) * n_modalities
