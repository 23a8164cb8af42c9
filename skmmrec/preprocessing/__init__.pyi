from ._audio import (
    AudioDenoiser as AudioDenoiser,
    AudioTrimmer as AudioTrimmer,
    LoudnessNormalizer as LoudnessNormalizer,
)
from ._base import BaseContentTransformer as BaseContentTransformer
from ._image import (
    ImageCropper as ImageCropper,
    ImageDenoiser as ImageDenoiser,
    ImageResizer as ImageResizer,
)
from ._text import TextCleaner as TextCleaner
