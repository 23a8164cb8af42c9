from ._item_memory import ItemMemory as ItemMemory
from ._sparse_linear import (
    neighbour_weights as neighbour_weights,
    too_small as too_small,
)
