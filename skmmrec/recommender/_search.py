"""Lists by an approximate index of the items, instead of scoring all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_is_fitted

from skmmrec.recommender._model import FittedModel
from skmmrec.retrieval import (
    MANY_ITEMS,
    N_QUERIES,
    ApproximateIndex,
    Lists,
    fresh_places,
    mix_fresh,
    score_pairs,
    without_entries,
)

Index = ApproximateIndex | Literal["auto"] | None

# To build an index of a million items takes as long as 2,200 exact lists (3,100 for
# 300,000 items): for twice as many users it pays within the call that builds it.
AUTO_USERS = 5000

_log = logging.getLogger("skmmrec.recommender")


class Fresh(NamedTuple):
    """What of a list is kept for new items.

    Attributes
    ----------
    places : int or float
        Number of its places, or share of them.
    met : int
        The most users who may have met an item that is new.
    """

    places: float = 0
    met: int = 0


@dataclass(frozen=True)
class KeptIndex:
    """An index of a recommender's own items.

    Attributes
    ----------
    index : ApproximateIndex or None
        Never changed: an update makes another. None: it was slower than exact search.
    vectors : ndarray of shape (n_items, d)
        Those of the model when it was made.
    """

    index: ApproximateIndex | None
    vectors: NDArray[np.float32]

    @classmethod
    def build(cls, model: FittedModel, index: ApproximateIndex) -> KeptIndex:
        """Build an index of all items."""
        index.fit(item_table(model), _sample_of(model))
        # Whoever gave the index may change it, or fit it to another recommender.
        return cls(copy(index), model.item_vectors)

    @classmethod
    def build_if_fast(cls, model: FittedModel) -> KeptIndex:
        """Build an index with defaults, and keep it if it is faster."""
        kept = cls.build(model, index := ApproximateIndex())
        _log.info(
            "%s an index of %d items, which reads %d of %d lists for a recall of %.4f",
            "built" if index.is_fast_ else "built, and will not use,",
            len(index.item_index_),
            index.n_probes_,
            index.n_lists_,
            index.recall_,
        )
        return kept if index.is_fast_ else replace(kept, index=None)

    def of(self, model: FittedModel) -> KeptIndex:
        """Bring it up to date with a model that has taken in feedback or items."""
        if self.index is None or self.vectors is model.item_vectors:
            return self
        index = self.index
        if not index.holds(model.data.items, model.item_hashes()):
            index = copy(index).update(item_table(model))
        return KeptIndex(index, model.item_vectors)


def pays(model: FittedModel, n_users: int, device: torch.device) -> bool:
    """Tell whether to build an index for the lists of so many users, and keep it.

    On an accelerator, comparing with all items is as fast.
    """
    is_large = len(model.data.items) > MANY_ITEMS and device.type == "cpu"
    return is_large and n_users > AUTO_USERS and find_spec("faiss") is not None


def item_table(model: FittedModel) -> pd.DataFrame:
    """Vectors of the items, biases last, by id."""
    table = np.hstack([model.item_vectors, model.item_biases[:, :1]])
    table.flags.writeable = False  # so that an index need not copy it
    return pd.DataFrame(table, model.data.items, copy=False)


def _sample_of(model: FittedModel) -> NDArray[np.float32] | None:
    """Vectors of some users, 1 last; None where there are none."""
    n_users = len(model.user_vectors)
    # Drawn the same each time.
    rows = np.random.default_rng(0).permutation(n_users)[:N_QUERIES]
    return queries_of(model, rows) if n_users else None


def queries_of(model: FittedModel, users: NDArray) -> NDArray[np.float32]:
    """Vectors of users at these positions, -1 for one who is not known, 1 last."""
    return np.hstack([model.users_at(users), np.ones((len(users), 1), np.float32)])


def check_index(index: object) -> None:
    """Refuse what is no index."""
    if index is None or index == "auto" or isinstance(index, ApproximateIndex):
        return
    raise ValueError(f"index must be 'auto', None or an ApproximateIndex: {index!r}")


def check_holds(index: ApproximateIndex, model: FittedModel) -> None:
    """Refuse an index of other items, or of other vectors of these."""
    check_is_fitted(index)
    if index.holds(model.data.items, model.item_hashes()):
        return
    items = "serving_vectors().items"
    if not index.item_index_.equals(model.data.items):
        raise ValueError(
            f"index holds other items than this recommender: fit it on {items}, or "
            f"index.update({items})"
        )
    raise ValueError(
        "index holds other vectors of these items, of another fit or from before "
        f"feedback was taken in: fit it on {items}, or index.update({items})"
    )


def search(
    model: FittedModel,
    index: ApproximateIndex,
    rows: NDArray,
    k: int,
    exclude_seen: bool,
) -> Lists:
    """Rank for users at these positions by an index, instead of scoring all items."""
    lists = []
    for some in model.in_blocks(rows):
        seen = model.data.seen.take(some).to_csr() if exclude_seen else None
        queries, added = queries_of(model, some), model.remembered(some)
        if added is None:
            lists.append(index.search(queries, k, seen=seen))
        else:
            lists.append(_search_beside(model, index, queries, k, seen, added))
    best, scores = (np.concatenate(part) for part in zip(*lists, strict=True))
    scores += model.offsets_at(rows)[:, None].astype(np.float32)
    return Lists(best, model.predicted(scores))


def _search_beside(
    model: FittedModel,
    index: ApproximateIndex,
    queries: NDArray[np.float32],
    k: int,
    seen: csr_array | None,
    added: csr_array,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Score what the memory speaks of exactly, and search the index for the rest."""
    touched = added.copy()
    touched.data = np.ones(len(added.data), np.float32)
    hidden = touched if seen is None else csr_array(touched + seen)
    best, scores = index.search(queries, k, seen=hidden)
    if seen is not None:
        added = without_entries(added, seen)
    k = scores.shape[1]
    for row in range(len(queries)):
        own = slice(*added.indptr[row : row + 2])
        items = added.indices[own]
        users = np.broadcast_to(queries[row, :-1], (len(items), queries.shape[1] - 1))
        near = score_pairs(users, model.item_vectors[items])
        near += model.item_biases[items, 0]
        near += added.data[own]
        columns = np.concatenate([best[row], items])
        values = np.concatenate([scores[row], near])
        order = np.lexsort((columns, -values))[:k]
        best[row], scores[row] = columns[order], values[order]
    return best, scores


def with_fresh(
    model: FittedModel,
    lists: Lists,
    k: int,
    fresh: Fresh,
    candidates: NDArray[np.bool_] | None,
    rank: Callable[[int, NDArray[np.bool_]], Lists],
) -> Lists:
    """Keep places of lists for new items, as `mix_fresh` does.

    `lists` are the best items, of which `k` were asked for; `fresh` says which places
    are kept, and what is new. `rank` ranks, by the same scores, so many of the items of
    a mask. `candidates` are items to choose from; None: all.
    """
    places = fresh_places(fresh.places, k)
    if len(places) == 0:
        return lists
    is_new = model.popularity() <= fresh.met
    if candidates is not None:
        is_new &= candidates
    if not is_new.any():
        return lists
    return mix_fresh(lists, rank(len(places), is_new), places)
