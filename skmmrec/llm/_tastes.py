"""What a history tells of a user: single words or, if it is to be shown, texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from skmmrec._ids import ITEM, USER, check_ids


def liked_words(history: pd.DataFrame, texts: pd.Series, n_words: int) -> pd.Series:
    """Return the words that mark what each user liked.

    A word weighs more the more of the liked items have it and the fewer others do.
    Order and phrases are lost: no item can be read off.

    Parameters
    ----------
    history : DataFrame
        Columns user_id and item_id: what was liked.
    texts : Series of str
        What each item says, indexed by item id.
    n_words : int
        Words per user, at most.

    Returns
    -------
    Series of str
        Words joined by commas, by user id; users without any are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm._tastes import liked_words
    >>> texts = pd.Series({1: "space war", 2: "war at sea", 3: "a comedy"})
    >>> history = pd.DataFrame({"user_id": "u", "item_id": [1, 2]})
    >>> liked_words(history, texts, 2).to_dict()
    {'u': 'war, sea'}
    """
    users, ids = pd.factorize(check_ids(history[USER], USER))
    items = texts.index.get_indexer(check_ids(history[ITEM], ITEM))
    words, weights = _weigh(texts)
    if not len(words):
        return pd.Series(dtype=object)
    known = items >= 0
    likes = _counts(users[known], items[known], (len(ids), len(texts)))
    taste = csr_array(likes @ weights)
    found = {}
    for user, start, end in zip(ids, taste.indptr, taste.indptr[1:], strict=False):
        codes, heaviness = taste.indices[start:end], taste.data[start:end]
        best = np.lexsort((codes, -heaviness))[:n_words]
        if len(best):
            found[user] = ", ".join(words[codes[best]])
    return pd.Series(found, dtype=object)


def liked_texts(
    history: pd.DataFrame, texts: pd.Series, n_last: int
) -> dict[Any, list[str]]:
    """Return what the last things say that each user liked, a line for each."""
    known = history[history[ITEM].isin(texts.index[texts != ""])]
    return {
        user: [f"liked: {texts[item]}" for item in rows[ITEM].tail(n_last)]
        for user, rows in known.groupby(USER)
    }


def _weigh(texts: pd.Series) -> tuple[np.ndarray, Any]:
    """Return words, and their weight in each text as a sparse matrix."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        stop_words="english", token_pattern=r"(?u)\b[^\W\d_]{3,}\b"
    )
    try:
        weights = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a word
        return np.array([]), None
    return vectorizer.get_feature_names_out(), weights


def _counts(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
