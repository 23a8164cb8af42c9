from ._errors import too_small as too_small
from ._item_memory import ItemMemory as ItemMemory
from ._learning import (
    POWERS as POWERS,
    MemoryOfLikes as MemoryOfLikes,
    in_units as in_units,
    spread_users as spread_users,
)
from ._sparse_linear import (
    neighbour_weights as neighbour_weights,
)
