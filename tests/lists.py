"""Lists of one length, some of them null, as the installed pyarrow can store them."""

import pyarrow as pa

# Before pyarrow 26, a parquet file of lists of a fixed length is not written, or not
# read, where one of them is null.
FIXED_MAY_BE_NULL = int(pa.__version__.split(".")[0]) >= 26


def list_of(kind, width):
    """Type of lists of one length, which says so if null lists can be stored then."""
    return pa.list_(kind, width if FIXED_MAY_BE_NULL else -1)
