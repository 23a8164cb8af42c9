"""Encoders: one column of raw content in, a float32 matrix out.

Each encoder is a scikit-learn transformer around a pretrained model. Names are
resolved when first used: importing this package loads no model library.
"""

from skmmrec._lazy import lazy_names

_NAMES = {
    "AudioEncoder": "._audio",
    "BaseEncoder": "._base",
    "ContentError": "._errors",
    "EmbeddingCache": "._cache",
    "ImageEncoder": "._image",
    "MultimodalEncoder": "._multimodal",
    "TextEncoder": "._text",
    "VideoEncoder": "._video",
    "cnn14_is_cached": "._panns",
}
__all__ = [*sorted(_NAMES)]
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
