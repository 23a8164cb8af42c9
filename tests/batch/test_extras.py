"""Without Ray or Spark, the extra is named."""

import sys

import pytest

from skmmrec.batch import encode


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
