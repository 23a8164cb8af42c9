"""Data sets that are prepared once and read without their sources."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from recommending import data


def test_prepared_data_are_read_as_they_were_kept(small, tmp_path):
    words = small.items[["item_id"]].assign(title="Words & pictures")
    whole = replace(small, later=small.tuning[1], words=words)
    data.keep(whole, tmp_path)
    again = data.load("small", tmp_path)
    for name in ("items", "train", "test", "later", "words"):
        pd.testing.assert_frame_equal(
            getattr(again, name),
            getattr(whole, name).reset_index(drop=True)
            if name in ("items", "words")
            else getattr(whole, name),
        )
    for ours, theirs in zip(again.tuning, whole.tuning, strict=True):
        pd.testing.assert_frame_equal(ours, theirs)


def test_tuning_sees_no_test_row_and_encodes_nothing_anew(small):
    whole = replace(small, later=small.tuning[1])
    part = whole.for_tuning()
    assert part.train.equals(small.tuning[0])
    assert part.test.equals(small.tuning[1])
    assert part.later is None
    assert part.catalog is whole.catalog


def test_an_unknown_data_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown data set 'nowhere'"):
        data.load("nowhere", tmp_path)


def test_data_need_the_folder_that_has_them(tmp_path, monkeypatch):
    monkeypatch.delenv("SKMMREC_DATA_HOME", raising=False)
    with pytest.raises(ValueError, match="SKMMREC_DATA_HOME must name"):
        data.load("beauty", tmp_path)


def test_codes_become_a_modality_for_each_level():
    table = data.as_one_hot(np.array([[0, 1], [2, 0]]))
    assert list(table) == [
        "item_id",
        "code0__0",
        "code0__1",
        "code0__2",
        "code1__0",
        "code1__1",
    ]
    np.testing.assert_array_equal(
        table.to_numpy()[:, 1:], [[1, 0, 0, 0, 1], [0, 0, 1, 1, 0]]
    )
