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

# isort: split
# For other rooms: hashes of encoders, and reading pictures, sounds and videos.
from ._identity import encoder_identity as encoder_identity
from ._pictures import (
    picture_key as picture_key,
    present_pictures as present_pictures,
    read_picture as read_picture,
)
from ._sounds import (
    decode_sound as decode_sound,
    read_sound as read_sound,
    sound_key as sound_key,
)
from ._timeline import Timeline as Timeline, read_timeline as read_timeline
