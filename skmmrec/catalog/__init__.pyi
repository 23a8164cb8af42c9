from ._blocks import Blocks as Blocks
from ._catalog import ItemCatalog as ItemCatalog
