"""What stands in a folder of partitions, and what should."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.frozen import FrozenEstimator

from skmmrec import ItemCatalog
from skmmrec.catalog import Blocks


def read(folder):
    """Ids, blocks and the note for readers, of all partitions in order of names."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    note = json.loads(tables[0].schema.metadata[b"skmmrec"])
    bare = [table.replace_schema_metadata(None) for table in tables]
    table = pa.concat_tables(bare).combine_chunks()
    values, masks = {}, []
    for name in table.schema.names[1:]:
        lists = table[name].chunk(0)
        present = lists.is_valid().to_numpy(zero_copy_only=False)
        is_number = name in note["numbers"]
        kind = pa.float64() if is_number else pa.float32()
        assert lists.type == pa.list_(kind)
        width = note["widths"][name]
        assert set(lists.value_lengths().drop_null().to_pylist()) <= {width}
        block = np.zeros((len(table), width), kind.to_pandas_dtype())
        block[present] = lists.drop_null().flatten().to_numpy().reshape(-1, width)
        values[name] = block
        masks.append(present)
    mask = np.column_stack(masks)
    ids = table[note["key"]].to_pylist()
    return ids, Blocks(values, mask, frozenset(note["numbers"])), note


def expected(items, encoder, key="item_id"):
    """What a catalogue makes of all rows at once."""
    catalog = ItemCatalog(items, FrozenEstimator(encoder), key=key, on_empty="ignore")
    return catalog.ids.tolist(), catalog.blocks


def assert_same(folder, items, encoder, key="item_id", in_order=True):
    """The partitions hold the bits of a catalogue of all rows."""
    ids, blocks, _ = read(folder)
    wanted_ids, wanted = expected(items, encoder, key)
    order = np.arange(len(ids)) if in_order else np.argsort(ids)
    assert [ids[row] for row in order] == wanted_ids
    assert_equal_blocks(blocks.take(order), wanted)


def assert_equal_blocks(blocks, wanted):
    """Names, numbers, mask and all bits are equal."""
    assert (blocks.modalities, blocks.numbers) == (wanted.modalities, wanted.numbers)
    np.testing.assert_array_equal(blocks.mask, wanted.mask)
    for name, block in wanted.values.items():
        found = blocks.values[name]
        assert found.dtype == block.dtype
        np.testing.assert_array_equal(found.view(np.uint8), block.view(np.uint8))
