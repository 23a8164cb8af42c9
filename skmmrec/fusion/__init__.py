"""Torch modules that turn the blocks of several modalities into one vector.

They know no ids and no tables: a list of ``(n, d_m)`` tensors and an ``(n, m)`` mask of
what is present go in, an ``(n, dim)`` tensor comes out.
"""

from skmmrec._lazy import lazy_names

_NAMES = {
    "AttentionFusion": "._attention",
    "BilinearFusion": "._bilinear",
    "ConcatFusion": "._concat",
    "CrossAttentionFusion": "._cross_attention",
    "Fusion": "._base",
    "GatedFusion": "._gated",
    "LateFusion": "._late",
    "LateMeanFusion": "._late",
    "LateStackingFusion": "._late",
    "TransformerFusion": "._transformer",
    "WeightedFusion": "._weighted",
    "get_fusion": "._registry",
    "get_fusion_names": "._registry",
    "register_fusion": "._registry",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
