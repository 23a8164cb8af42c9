from ._backend import Backend as Backend, Event as Event, Row as Row
from ._batch import (
    NUMBERS as NUMBERS,
    VECTOR as VECTOR,
    Batch as Batch,
    Column as Column,
    Rows as Rows,
    Slice as Slice,
    cuts as cuts,
)
from ._cache import (
    MakingLocks as MakingLocks,
    RecentTables as RecentTables,
    joined_table as joined_table,
    vector_table as vector_table,
    with_later as with_later,
)
from ._checksum import Checksum as Checksum
from ._chunks import chunks as chunks
from ._columns import (
    column_of as column_of,
    condition_mask as condition_mask,
    scalar_features as scalar_features,
)
from ._content_encoders import (
    ContentSettings as ContentSettings,
    encoders_of as encoders_of,
    same_encoder as same_encoder,
)
from ._damage import (
    Place as Place,
    parsed as parsed,
    parsed_vectors as parsed_vectors,
)
from ._encoding import (
    entity_keys as entity_keys,
    has_numbers as has_numbers,
    ids_of_keys as ids_of_keys,
    key_ids as key_ids,
    pack_ids as pack_ids,
    pack_int as pack_int,
    pack_text as pack_text,
    pack_vectors as pack_vectors,
    text_of as text_of,
    unpack as unpack,
    unpack_vectors as unpack_vectors,
)
from ._errors import (
    BusyStoreError as BusyStoreError,
    DamagedStoreError as DamagedStoreError,
    FullStoreError as FullStoreError,
    LostRowsError as LostRowsError,
    ReadOnlyStoreError as ReadOnlyStoreError,
    StoreError as StoreError,
    UnknownIdError as UnknownIdError,
)
from ._expiry import (
    fresh as fresh,
    oldest_us as oldest_us,
)
from ._feedback import (
    LAST_EVENT as LAST_EVENT,
    SEQUENCE as SEQUENCE,
    feedback_frame as feedback_frame,
)
from ._filters import (
    Filter as Filter,
    FilterColumn as FilterColumn,
    filter_mask as filter_mask,
    filter_names as filter_names,
    parse_filter as parse_filter,
)
from ._keys import (
    sorted_joined as sorted_joined,
    sorted_keys as sorted_keys,
)
from ._names import (
    CATEGORY as CATEGORY,
    DISLIKED as DISLIKED,
    EVENT as EVENT,
    EVENT_ITEM as EVENT_ITEM,
    EVENT_USER as EVENT_USER,
    EVENT_VIEW as EVENT_VIEW,
    EVENT_Y as EVENT_Y,
    HISTORY_SIZE as HISTORY_SIZE,
    ITEM_VECTOR as ITEM_VECTOR,
    ITEM_VERSION as ITEM_VERSION,
    ITEM_VIEW as ITEM_VIEW,
    MEMORY as MEMORY,
    MEMORY_WEIGHTS as MEMORY_WEIGHTS,
    POPULARITY as POPULARITY,
    PUBLISHED_VIEWS as PUBLISHED_VIEWS,
    SEEN as SEEN,
    TIMESTAMP as TIMESTAMP,
    USER_VECTOR as USER_VECTOR,
    USER_VERSION as USER_VERSION,
    USER_VIEW as USER_VIEW,
)
from ._online_store import (
    VERSION_OF as VERSION_OF,
    Cells as Cells,
    ExactOnlineStore as ExactOnlineStore,
    GroupedRefs as GroupedRefs,
    WriteRow as WriteRow,
    feast_row as feast_row,
    fresh_cells as fresh_cells,
    merge_cells as merge_cells,
)
from ._pace import (
    Pace as Pace,
    give_way as give_way,
)
from ._queries import vector_lengths as vector_lengths
from ._refusals import RowError as RowError, SearchError as SearchError
from ._search import (
    NOTHING_ADDED as NOTHING_ADDED,
    Added as Added,
    Aspect as Aspect,
    VectorTable as VectorTable,
    metric_name as metric_name,
    nearest as nearest,
    nearest_among as nearest_among,
    nearest_weighted as nearest_weighted,
)
from ._snapshot import Snapshot as Snapshot
from ._sockets import (
    KEEPALIVE_IDLE as KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL as KEEPALIVE_INTERVAL,
    tcp_options as tcp_options,
)
from ._times import (
    from_us as from_us,
    to_us as to_us,
)
from ._types import (
    Features as Features,
    Id as Id,
)
