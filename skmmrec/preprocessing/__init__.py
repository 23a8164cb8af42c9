"""Preprocessing: one raw column in, one raw column out, before an encoder.

Every transformer takes what the encoder of its content takes, and returns what that
encoder takes. Names are resolved when first used.
"""

from skmmrec._lazy import lazy_names

_NAMES = {
    "AudioDenoiser": "._audio",
    "AudioTrimmer": "._audio",
    "BaseContentTransformer": "._base",
    "ImageCropper": "._image",
    "ImageDenoiser": "._image",
    "ImageResizer": "._image",
    "LoudnessNormalizer": "._audio",
    "TextCleaner": "._text",
}
__all__ = [*sorted(_NAMES)]
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
