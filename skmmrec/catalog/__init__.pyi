from ._blocks import Blocks as Blocks
from ._catalog import ItemCatalog as ItemCatalog

# isort: split
# For other rooms: reading content and checking it, and what an encoder is.
from ._blocks import read_columns as read_columns
from ._changes import refuse_known as refuse_known
from ._given import catalog_of as catalog_of
from ._identity import Encoding as Encoding, encoding_of as encoding_of
from ._item_table import check_not_empty as check_not_empty, unique_ids as unique_ids
from ._number_space import NumberSpace as NumberSpace
from ._origins import modality_origins as modality_origins
from ._parquet_files import (
    parquet_files as parquet_files,
    read_schema as read_schema,
    reading_file as reading_file,
)
from ._parquet_layout import FORMAT as FORMAT, METADATA as METADATA
