from ._audio import AudioEncoder as AudioEncoder
from ._base import (
    BaseEncoder as BaseEncoder,
    CacheInfo as CacheInfo,
    ContentError as ContentError,
    EmbeddingCache as EmbeddingCache,
)
from ._image import ImageEncoder as ImageEncoder
from ._multimodal import MultimodalEncoder as MultimodalEncoder
from ._panns import cnn14_is_cached as cnn14_is_cached
from ._sounds import read_sound as read_sound
from ._text import TextEncoder as TextEncoder
from ._video import VideoEncoder as VideoEncoder
from ._video_model import VideoWindows as VideoWindows

# isort: split
# For other rooms: hashes of encoders, what they state of themselves, encoders that text
# describes, and reading media.
from ._clips import still_frames as still_frames
from ._identity import encoder_identity as encoder_identity
from ._kinds import (
    encoder_class as encoder_class,
    encoder_parameters as encoder_parameters,
    make_encoder as make_encoder,
)
from ._origin import origins_of as origins_of
from ._pictures import (
    MAX_PIXELS as MAX_PIXELS,
    picture_key as picture_key,
    present_pictures as present_pictures,
    read_picture as read_picture,
)
from ._sounds import (
    decode_sound as decode_sound,
    sound_key as sound_key,
)
from ._timeline import read_timeline as read_timeline
