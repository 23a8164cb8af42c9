from ._blocks import (
    Blocks as Blocks,
    read_blocks as read_blocks,
    read_columns as read_columns,
)
from ._catalog import ItemCatalog as ItemCatalog, check_not_empty as check_not_empty
