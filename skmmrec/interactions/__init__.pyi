from ._history import History as History, InteractionData as InteractionData

# isort: split
# For other rooms: names of columns, reading and checking tables, and warnings.
from ._by_id import (
    check_by_id as check_by_id,
    check_has_ids as check_has_ids,
    check_series as check_series,
    groups_of as groups_of,
)
from ._caller import is_called_by as is_called_by, warn_caller as warn_caller
from ._columns import (
    Column as Column,
    has_times as has_times,
    item_codes as item_codes,
    item_ids as item_ids,
    read_column as read_column,
    read_ids as read_ids,
    time_codes as time_codes,
    user_codes as user_codes,
    user_ids as user_ids,
)
from ._frames import (
    as_frame as as_frame,
    id_table as id_table,
    take_over as take_over,
)
from ._ids import (
    as_list as as_list,
    check_count as check_count,
    check_ids as check_ids,
    check_same_kind as check_same_kind,
    exact_below as exact_below,
    hashed as hashed,
    is_integer as is_integer,
    nearest_count as nearest_count,
    plain as plain,
    positions as positions,
    refuse_merged as refuse_merged,
    sorted_index as sorted_index,
)
from ._keys import (
    ITEM as ITEM,
    TIME as TIME,
    USER as USER,
    Keys as Keys,
    column_names as column_names,
    find_column as find_column,
)
from ._lists import (
    check_ranks as check_ranks,
    ranks_in as ranks_in,
    read_scores as read_scores,
)
from ._no_tables import (
    how_to_read as how_to_read,
    refuse_no_table as refuse_no_table,
    wanted_columns as wanted_columns,
)
from ._order import time_order as time_order
from ._reading import (
    Interactions as Interactions,
    OtherColumns as OtherColumns,
    check_numbers as check_numbers,
    read_answers as read_answers,
    read_interactions as read_interactions,
    read_ranked as read_ranked,
    read_strengths as read_strengths,
    read_weights as read_weights,
    refuse_columns as refuse_columns,
)
from ._times import (
    check_same_unit as check_same_unit,
    check_times as check_times,
    date_of_number as date_of_number,
)
from ._types import (
    Ids as Ids,
    Numbers as Numbers,
    RandomState as RandomState,
    RawColumn as RawColumn,
    Table as Table,
)
from ._unread_times import (
    warn_of_moments as warn_of_moments,
    warn_of_sorted_rows as warn_of_sorted_rows,
    warn_of_unread_times as warn_of_unread_times,
)
from ._values import refuse_missing as refuse_missing, unmasked as unmasked
from ._vector_tables import (
    read_vector_table as read_vector_table,
    unit_vectors as unit_vectors,
)
