"""Generated catalogues with known taste, and loaders of local data sets."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "load_audio_clips": "._audio_clips",
    "load_movielens_posters": "._movielens",
    "load_tiktok": "._tiktok",
    "make_multimodal_interactions": "._generated",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
