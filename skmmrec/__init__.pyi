from .catalog import ItemCatalog as ItemCatalog
from .encoders import (
    AudioEncoder as AudioEncoder,
    ImageEncoder as ImageEncoder,
    MultimodalEncoder as MultimodalEncoder,
    TextEncoder as TextEncoder,
    VideoEncoder as VideoEncoder,
)
from .recommender import MultimodalFusionRecommender as MultimodalFusionRecommender

__version__: str
