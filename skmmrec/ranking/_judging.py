"""How good the lists of requests are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.interactions import ITEM
from skmmrec.metrics import ndcg_at_k
from skmmrec.ranking._candidates import REQUEST, in_parts
from skmmrec.ranking._requests import Requests

# Length of the lists that are judged, as by all recommenders here.
LENGTH = 10


def ndcg_of(
    rank: Callable[[pd.DataFrame, int], pd.DataFrame],
    requests: Requests,
    items: NDArray,
    n_candidates: int,
) -> NDArray[np.float64]:
    """Judge the lists of requests by NDCG@10.

    `rank` makes lists of a table of requests and a length. Requests are those in rows
    that are all relevant, of which `items` are the items. Returns a number for each
    request.
    """
    index = pd.Index(pd.unique(items))
    # One more, at the end of each request's numbers: what is nowhere relevant.
    n = len(index) + 1
    relevant = np.unique(requests.of_row * n + index.get_indexer(items))
    hits = np.zeros((len(requests.table), LENGTH), dtype=bool)
    start = 0
    for part in in_parts(requests.table, n_candidates):
        table = rank(part, LENGTH)
        rows = table[REQUEST].to_numpy() + start
        asked = rows * n + index.get_indexer(table[ITEM]) % n
        hits[rows, table["rank"] - 1] = np.isin(asked, relevant)
        start += len(part)
    return ndcg_at_k(hits, np.bincount(relevant // n, minlength=len(hits)), LENGTH)
