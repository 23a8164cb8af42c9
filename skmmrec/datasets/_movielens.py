"""MovieLens ratings with posters and overviews."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from sklearn.utils import Bunch

from skmmrec.datasets._home import find_files

_DESCR = """\
MovieLens (ml-latest-small) with posters and overviews
------------------------------------------------------
{n_interactions} ratings (0.5 to 5, UTC timestamps) of {n_users} users on {n_items}
films; {n_overviews} films have an overview, {n_posters} a poster (JPEG, about 200 x
300, a few of them greyscale). The others are missing in the source.

Source: F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context",
ACM Transactions on Interactive Intelligent Systems 5(4), 2015. Overviews and posters
were gathered by third parties.

Licence: MovieLens data for research, redistribution under the same terms
(LICENSE-movielens.txt). Posters and overviews belong to third parties and must never
be redistributed.
"""


def load_movielens_posters(data_home: str | Path | None = None) -> Bunch:
    """Load MovieLens ratings with the films' texts and posters.

    Parameters
    ----------
    data_home : str or Path, default=None
        Folder that contains ``movielens-small-posters``. None for the folder that the
        environment variable ``SKMMREC_DATA_HOME`` names.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        interactions : DataFrame
            user_id (int64), item_id (int64), rating (float32), timestamp (UTC).
        item_table : DataFrame
            item_id, title, genres (joined by ``|``), overview (str or None), poster
            (path as str, or None).
        DESCR : str
            Description, source and licence.

    Raises
    ------
    ValueError
        If neither `data_home` nor ``SKMMREC_DATA_HOME`` is given.
    FileNotFoundError
        If a file is missing.
    """
    ratings, films = find_files(
        data_home, "movielens-small-posters", "ratings.parquet", "items.parquet"
    )
    interactions, items = pd.read_parquet(ratings), pd.read_parquet(films)
    has_poster = items.poster.notna()
    paths = [
        str(films.parent / name) if known else None
        for name, known in zip(items.poster, has_poster, strict=True)
    ]
    items = items.assign(
        overview=items.overview.where(items.overview.notna(), None),
        poster=pd.Series(paths, index=items.index, dtype=object),
    )
    return Bunch(
        interactions=interactions,
        item_table=items,
        DESCR=_DESCR.format(
            n_interactions=len(interactions),
            n_users=interactions.user_id.nunique(),
            n_items=len(items),
            n_overviews=items.overview.notna().sum(),
            n_posters=has_poster.sum(),
        ),
    )
