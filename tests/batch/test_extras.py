"""Without Ray or Spark, the extra is named."""

import sys
from types import SimpleNamespace

import pyarrow as pa
import pytest

from skmmrec.batch import _ray, encode


@pytest.mark.parametrize(
    ("engine", "module"), [("ray", "ray"), ("spark", "pyspark"), ("ray", "ray.data")]
)
def test_the_extra_is_named(folder, encoder, tmp_path, monkeypatch, engine, module):
    for name in [m for m in sys.modules if m == module or m.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"skmmrec\[{engine}\]"):
        encode(folder, encoder, tmp_path / "out", engine=engine)
    assert not (tmp_path / "out").exists()


def test_blocks_of_ray_without_rows_are_passed_on():
    """They may lack the columns, and have the types of others when they come back."""
    job = SimpleNamespace(columns=["item_id", "title"])
    rows = pa.table({"title": ["a", "b"], "item_id": [1, 2], "other": [3, 4]})
    full, empty = (_ray._Pack(job, 1)(block) for block in (rows, pa.table({})))
    assert (len(full), len(empty)) == (2, 0)
    assert full.schema == empty.schema
    assert _ray._Tables(job)(empty).schema == _ray._Slices(job)(empty).schema
    assert len(_ray._Tables(job)(empty)) == 0
    present = _ray._Present("title")
    assert len(present(pa.table({}))) == 0
    assert len(present(rows)) == 2
