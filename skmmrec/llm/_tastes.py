"""A user's taste from a history: shared words or, if it is to be shown, texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from skmmrec.interactions import ITEM, USER, check_ids
from skmmrec.llm._terms import ABOUT, Tastes

# Liked items that must share a word: the least that does not reveal a single item.
_SHARED_BY = 2


def liked_words(
    history: pd.DataFrame, texts: pd.Series, n_words: int
) -> dict[Any, str]:
    """Return the words that characterize a user's liked items, without naming items.

    `history` has the columns user_id and item_id, and `texts` are indexed by item id.
    Returns at most `n_words` for each user, joined by commas; users without any are
    left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm._tastes import liked_words
    >>> texts = pd.Series({1: "space war", 2: "war at sea", 3: "a comedy"})
    >>> history = pd.DataFrame({"user_id": "u", "item_id": [1, 2]})
    >>> liked_words(history, texts, 2)
    {'u': 'war'}
    """
    users, ids = pd.factorize(check_ids(history[USER], USER))
    items = texts.index.get_indexer(check_ids(history[ITEM], ITEM))
    pairs = np.unique(np.stack([users, items])[:, items >= 0], axis=1)
    shape = (len(ids), len(texts))
    liked = csr_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=shape)
    plain = texts.str.replace("|", " ")
    told = Tastes(plain.to_frame(ABOUT), n_words, _SHARED_BY).of(liked)
    rows = zip(ids, told, strict=True)
    return {user: ", ".join(row.values()) for user, row in rows if row}


def liked_texts(
    history: pd.DataFrame, texts: pd.Series, n_last: int
) -> dict[Any, list[str]]:
    """Return the texts of the last items that each user liked, a line for each."""
    known = history[history[ITEM].isin(texts.index[texts != ""])]
    return {
        user: [f"liked: {texts[item]}" for item in rows[ITEM].tail(n_last)]
        for user, rows in known.groupby(USER)
    }
