"""Lists by an approximate index of the items, instead of scoring all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import USER
from skmmrec.recommender._model import FittedModel
from skmmrec.retrieval import ApproximateIndex, ranked_frame


def search(
    model: FittedModel,
    index: ApproximateIndex,
    ids: NDArray,
    k: int,
    exclude_seen: bool,
) -> pd.DataFrame:
    """Rank by an index of the items instead of scoring all of them."""
    data = model.data
    if not index.item_index_.equals(data.items):
        raise ValueError(
            "index holds other items than this recommender: fit it on "
            "serving_vectors().items"
        )
    rows = data.users.get_indexer(ids)
    ones = np.ones((len(rows), 1), np.float32)
    queries = np.hstack([model.users_at(rows), ones])
    seen = data.seen.take(rows).to_csr() if exclude_seen else None
    best, scores = index.search(queries, k, seen=seen)
    there = np.isfinite(scores)
    scores += model.offsets_at(rows)[:, None].astype(np.float32)
    scores = np.where(there, model.tasks[0].link(scores), -np.inf)
    return ranked_frame(USER, ids, data.items, best, scores)
