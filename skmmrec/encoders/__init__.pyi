from ._audio import AudioEncoder as AudioEncoder
from ._base import (
    BaseEncoder as BaseEncoder,
    ContentError as ContentError,
    EmbeddingCache as EmbeddingCache,
)
from ._image import ImageEncoder as ImageEncoder
from ._multimodal import MultimodalEncoder as MultimodalEncoder
from ._panns import cnn14_is_cached as cnn14_is_cached
from ._text import TextEncoder as TextEncoder
from ._video import VideoEncoder as VideoEncoder
