"""Fusion by a language model: it stands before the content space of the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec._ids import plain
from skmmrec.catalog import Blocks
from skmmrec.fusion._registry import LLM

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser
    from skmmrec.recommender._learner import Learner
    from skmmrec.recommender._queries import Queries

SPOKEN = ("text", "words")
"""Modalities to which an item's words belong, the first that there is."""
SCALE = "fuser.scale"
FITTED = (
    "widths_",
    "columns_",
    "template_",
    "precision_",
    "language_model_",
    "embedding_dim_",
    "loss_curve_",
)


def fuses_by_llm(rec: Any) -> bool:
    """Whether a recommender's parameters ask for a language model."""
    return rec.mode == "fusion" and rec.fusion == LLM


def check_llm(rec: Any) -> None:
    """Refuse, before anything else, parameters without a language model.

    Raises
    ------
    ValueError
        If ``fusion="llm"`` and there is none.
    """
    if not fuses_by_llm(rec):
        return
    if rec.llm is None:
        raise ValueError(
            "fusion='llm' needs a language model: give llm, the name or path of one, "
            "'package:smollm2-135m-instruct' or a SoftTokenFuser"
        )
    from skmmrec.llm import SoftTokenFuser

    if not isinstance(rec.llm, str | os.PathLike | SoftTokenFuser):
        raise InvalidParameterError(
            f"The 'llm' parameter of {type(rec).__name__} must be a str, a path, a "
            f"SoftTokenFuser or None, got {rec.llm!r}"
        )


def fit_fuser(rec: Learner, items: pd.Index, blocks: Blocks) -> SoftTokenFuser:
    """Fit what fuses these items; the histories are known by now."""
    from skmmrec.llm import CoLikes, SoftTokenFuser

    if isinstance(rec.llm, SoftTokenFuser):
        fuser = clone(rec.llm)
    else:
        fuser = SoftTokenFuser(rec.llm, device=rec.device, verbose=rec.verbose)
    if rec.catalog is not None:
        fuser.remember_in(rec.catalog.derived)
    history = rec.history_
    likes = CoLikes(history.users[history.liked], history.items[history.liked])
    return fuser.fit(blocks, words=words_of(rec, items), likes=likes)


def words_of(rec: Any, items: pd.Index) -> pd.DataFrame | None:
    """Raw content of items of the catalogue; a flat table brings none."""
    if rec.catalog is None:
        return None
    table = rec.catalog.items.iloc[rec.catalog.ids.get_indexer(items)]
    return table.drop(columns=rec.catalog.key)


@dataclass(frozen=True)
class Sources:
    """Content of items, from which modalities can be taken away.

    Attributes
    ----------
    blocks : Blocks of n items
        By modality.
    """

    blocks: Blocks

    def keep(self, kept: NDArray[np.bool_]) -> Blocks:
        """Keep some modalities, in the space of the network."""
        return Blocks(self.blocks.values, self.blocks.mask & kept)


class FusedSources:
    """Content of items as a language model found it, to be fused with less of it.

    Words count as part of a modality ``text`` or ``words``; where there is neither, as
    a modality of their own.

    Parameters
    ----------
    rec : MultimodalFusionRecommender
        Fitted, with a catalogue.
    rows : ndarray of shape (n,) or slice
        Positions of items.

    Attributes
    ----------
    blocks : Blocks of n items
        By modality; words on their own have no vectors.
    """

    def __init__(self, rec: Queries, rows: NDArray | slice) -> None:
        catalog, fuser = rec.catalog, rec.fuser_
        assert catalog is not None
        assert fuser is not None
        ids = rec.item_index_[rows]
        places = catalog.ids.get_indexer(ids)
        known = places >= 0
        self.rec, self.unknown = rec, ids[~known]
        self.words = catalog.items.iloc[places]
        blocks = catalog.blocks.take(places)
        self.blocks = Blocks(blocks.values, blocks.mask & known[:, None])
        self.spoken = next((m for m in SPOKEN if m in blocks.values), None)
        if fuser.columns_ and self.spoken is None:
            self.blocks = _with_words(self.blocks)

    def keep(self, kept: NDArray[np.bool_]) -> Blocks:
        """Fuse again, with some modalities alone, into the space of the network.

        Raises
        ------
        ValueError
            For items that were added after the fit: the catalogue does not know them.
        """
        if len(self.unknown):
            raise ValueError(
                f"item {plain(self.unknown[0])!r} is not in the catalogue, so with "
                "fusion='llm' nobody knows what each of its modalities adds"
            )
        keeps = dict(zip(self.blocks.modalities, kept, strict=True))
        if self.spoken is not None:
            has_words = keeps[self.spoken]
        else:
            has_words = keeps.pop(SPOKEN[-1], False)
        blocks = Blocks(
            {name: self.blocks.values[name] for name in keeps},
            (self.blocks.mask & kept)[:, : len(keeps)],
        )
        return self.rec._in_space(blocks, self.words if has_words else None)


def _with_words(blocks: Blocks) -> Blocks:
    """Add a last modality that has no vectors."""
    nothing = np.zeros((len(blocks), 1))
    return Blocks(
        {**blocks.values, SPOKEN[-1]: nothing.astype(np.float32)},
        np.column_stack([blocks.mask, nothing.astype(bool)]),
    )


# -- keeping -------------------------------------------------------------------------


def llm_out(llm: Any) -> Any:
    """Write the parameter `llm` in terms of JSON, but for the place of its cache."""
    if llm is None:
        return None
    if isinstance(llm, str | os.PathLike):
        return os.fspath(llm)
    params = {name: plain(value) for name, value in llm.get_params().items()}
    del params["cache"]
    for name in ("model", "prompt"):
        params[name] = None if params[name] is None else os.fspath(params[name])
    params["columns"] = None if llm.columns is None else list(llm.columns)
    params["device"] = str(llm.device)
    params["lora"] = _lora_out(llm.lora)
    return params


def llm_in(record: Any) -> Any:
    """Read what `llm_out` wrote."""
    if not isinstance(record, dict):
        return record
    from skmmrec.llm import SoftTokenFuser

    return SoftTokenFuser(**record)


def fuser_out(fuser: SoftTokenFuser | None) -> tuple[Any, dict[str, NDArray]]:
    """Write a fitted fuser, for any device: in terms of JSON, and what was learned."""
    if fuser is None:
        return None, {}
    fitted = {name: getattr(fuser, name) for name in FITTED}
    weights = {f"fuser.{name}": weight for name, weight in fuser.weights_.items()}
    if fuser.scale_ is not None:
        weights[SCALE] = fuser.scale_
    return {"params": {**llm_out(fuser), "device": "auto"}, "fitted": fitted}, weights


def fuser_in(record: Any, tensors: Mapping[str, NDArray]) -> SoftTokenFuser | None:
    """Read what `fuser_out` wrote; the language model is loaded when it is needed."""
    if record is None:
        return None
    fuser = llm_in(record["params"])
    for name in FITTED:
        setattr(fuser, name, record["fitted"][name])
    fuser.scale_ = tensors.get(SCALE)
    fuser.weights_ = {
        name.removeprefix("fuser."): weight
        for name, weight in tensors.items()
        if name.startswith("fuser.") and name != SCALE
    }
    return fuser


def _lora_out(lora: Any) -> dict[str, Any] | None:
    if lora is None or isinstance(lora, Mapping):
        return None if lora is None else dict(lora)
    from skmmrec.llm import settings_of

    return settings_of(lora)
