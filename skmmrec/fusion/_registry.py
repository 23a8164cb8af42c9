"""Fusion kinds by name."""

from __future__ import annotations

from collections.abc import Sequence

import torch

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
            "register_fusion in this process, a subclass of skmmrec.fusion.Fusion or a "
            f"SoftTokenFuser of skmmrec.llm, got {fusion!r}"
        )
    return _REGISTRY[fusion]


def fusion_name(cls: type[Fusion]) -> str | None:
    """Return the name under which a class is registered; None: it has none."""
    return next((name for name, known in _REGISTRY.items() if known is cls), None)


def make_fusion(fusion: str | type[Fusion], widths: Sequence[int], dim: int) -> Fusion:
    """Construct a fusion, and refuse one of whoever uses this that breaks the contract.

    Raises TypeError if `weigh` or the module itself returns no tensor, or the module
    one of another type than float32, or if its state is not of tensors alone;
    ValueError if they return one of another shape than the contract says.
    """
    cls = get_fusion(fusion)
    made = cls(widths, dim)
    if fusion_name(cls) not in BUILT_IN:
        _check_state(made)
        _check_shapes(made, widths, dim)
    return made


def _check_state(fusion: Fusion) -> None:
    """Refuse what can be kept neither from epoch to epoch nor in a saved model."""
    for name, value in fusion.state_dict().items():
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"the state of {type(fusion).__name__} must be of tensors, and {name} "
                f"is {type(value).__name__}: make it a buffer, by register_buffer"
            )


@torch.no_grad()
def _check_shapes(fusion: Fusion, widths: Sequence[int], dim: int) -> None:
    n, m, was_training = len(widths) + 1, len(widths), fusion.training
    blocks = [torch.zeros(n, width) for width in widths]
    mask = torch.ones(n, m, dtype=torch.bool)
    fusion.eval()  # dropout would draw from the generator
    tokens = fusion.project(blocks, mask)
    for method, given, width in (("weigh", tokens, m), ("forward", blocks, dim)):
        name = f"{type(fusion).__name__}.{method}"
        made = getattr(fusion, method)(given, mask)
        if not isinstance(made, torch.Tensor):
            raise TypeError(f"{name} must return a tensor, got {type(made).__name__}")
        if made.shape != (n, width):
            raise ValueError(
                f"{name} of {n} items with {m} modalities must return shape "
                f"{(n, width)}, got {tuple(made.shape)}"
            )
    if made.dtype != torch.float32:
        raise TypeError(f"{name} must return float32, got {made.dtype}: use .float()")
    fusion.train(was_training)


def register_fusion(name: str, cls: type[Fusion]) -> None:
    """Make a fusion class of your own available by name.

    Parameters
    ----------
    name : str
        The value of the recommender's ``fusion`` parameter, which a saved model keeps.
        One of your own may be given anew.
    cls : type
        Subclass of `Fusion`, constructed as ``cls(widths, dim)``.

    Raises
    ------
    TypeError
        If `name` is no str, or `cls` is not a subclass of `Fusion`.
    ValueError
        For the name of a kind that this package brings.

    Notes
    -----
    A name is known to the process that has registered it. For a search or a
    cross-validation in several processes, give the class itself.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, got {name!r}")
    if name in BUILT_IN:
        raise ValueError(f"{name!r} is a kind that there is: choose another name")
    if not (isinstance(cls, type) and issubclass(cls, Fusion)):
        raise TypeError(f"cls must be a subclass of Fusion, got {cls!r}")
    _REGISTRY[name] = cls
