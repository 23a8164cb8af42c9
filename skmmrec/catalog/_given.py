"""Catalogues of vectors that are there already."""

from __future__ import annotations

import pandas as pd

from skmmrec.catalog._blocks import Blocks
from skmmrec.catalog._catalog import ItemCatalog
from skmmrec.interactions import ITEM, Ids


def catalog_of(ids: Ids, blocks: Blocks) -> ItemCatalog:
    """Make a catalogue of blocks; items may lack all modalities.

    The vectors are not copied. The catalogue cannot encode further content.
    """
    catalog = ItemCatalog(pd.DataFrame({ITEM: ids}), on_empty="ignore")
    catalog._encoded, catalog._was_tried = blocks, True
    return catalog
