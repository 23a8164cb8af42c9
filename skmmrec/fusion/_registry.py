"""Fusion kinds by name."""

from __future__ import annotations

from skmmrec.fusion._attention import AttentionFusion
from skmmrec.fusion._base import Fusion
from skmmrec.fusion._bilinear import BilinearFusion
from skmmrec.fusion._concat import ConcatFusion
from skmmrec.fusion._cross_attention import CrossAttentionFusion
from skmmrec.fusion._gated import GatedFusion
from skmmrec.fusion._late import LateFusion, LateMeanFusion, LateStackingFusion
from skmmrec.fusion._transformer import TransformerFusion
from skmmrec.fusion._weighted import WeightedFusion

_REGISTRY: dict[str, type[Fusion]] = {
    "attention": AttentionFusion,
    "bilinear": BilinearFusion,
    "concat": ConcatFusion,
    "cross_attention": CrossAttentionFusion,
    "gated": GatedFusion,
    "late": LateFusion,
    "late_mean": LateMeanFusion,
    "late_stacking": LateStackingFusion,
    "transformer": TransformerFusion,
    "weighted": WeightedFusion,
}
BUILT_IN = frozenset(_REGISTRY)


def get_fusion_names() -> list[str]:
    """List the names that `get_fusion` knows.

    Returns
    -------
    list of str
        In alphabetical order.

    Examples
    --------
    >>> from skmmrec.fusion import get_fusion_names
    >>> "gated" in get_fusion_names(), "no such kind" in get_fusion_names()
    (True, False)
    """
    return sorted(_REGISTRY)


def get_fusion(fusion: str | type[Fusion]) -> type[Fusion]:
    """Find a fusion class.

    Parameters
    ----------
    fusion : str or type
        A registered name, or a `Fusion` subclass, which is returned as it is.

    Returns
    -------
    type
        Subclass of `Fusion`.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if isinstance(fusion, type) and issubclass(fusion, Fusion):
        return fusion
    if fusion == "llm":
        raise ValueError(
            "fusion='llm' is now fusion=SoftTokenFuser(model), of skmmrec.llm"
        )
    if fusion not in _REGISTRY:
        raise ValueError(
            f"fusion must be one of {get_fusion_names()}, a name given to "
            "register_fusion, a subclass of skmmrec.fusion.Fusion or a SoftTokenFuser "
            f"of skmmrec.llm, got {fusion!r}"
        )
    return _REGISTRY[fusion]


def register_fusion(name: str, cls: type[Fusion]) -> None:
    """Make a fusion class of your own available by name.

    Parameters
    ----------
    name : str
        The value of the recommender's ``fusion`` parameter. One of your own may be
        given anew.
    cls : type
        Subclass of `Fusion`, constructed as ``cls(widths, dim)``.

    Raises
    ------
    TypeError
        If `name` is no str, or `cls` is not a subclass of `Fusion`.
    ValueError
        For the name of a kind that this package brings.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {name!r}")
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is a kind that there is: choose another name")
    if not (isinstance(cls, type) and issubclass(cls, Fusion)):
        raise TypeError(f"cls must be a subclass of Fusion, got {cls!r}")
    _REGISTRY[name] = cls
