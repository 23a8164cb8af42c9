from ._item_memory import ItemMemory as ItemMemory
from ._learning import (
    POWERS as POWERS,
    SPREAD_USERS as SPREAD_USERS,
    MemoryOfLikes as MemoryOfLikes,
    typical_spread as typical_spread,
)
from ._sparse_linear import (
    neighbour_weights as neighbour_weights,
    too_small as too_small,
)
