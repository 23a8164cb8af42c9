"""Whether the encoder that is best by content alone stays best in a whole fit.

    SKMMREC_DATA_HOME=... OMP_NUM_THREADS=1 python benchmarks/which_encoder.py

Films of MovieLens, ratings of 3.5 and up are likes. `compare_encoders` judges each
encoder by content alone, and again by fits of `MultimodalFusionRecommender` on the same
splits; then what overviews and posters add to titles. One seed; each item is encoded
once per encoder, whatever judges it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer

from skmmrec import ImageEncoder, ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import load_movielens_posters
from skmmrec.model_selection import ColdItemSplit, compare_encoders

LIKED = 3.5
TITLES = "MiniLM, titles (with years)"


def encoded(items: pd.DataFrame, transformer: Any, column: str) -> ItemCatalog:
    """Catalogue of one modality, so that both judges take the same vectors."""
    encode = ColumnTransformer([(column, transformer, column)])
    return ItemCatalog(items, encode, on_empty="ignore")


def judged(
    items: pd.DataFrame,
    likes: pd.DataFrame,
    encoders: Mapping[str, ItemCatalog],
    **choice: Any,
) -> pd.DataFrame:
    """Figures by content alone, and once fitted; one fifth of the items is new."""
    choice["cold"] = ColdItemSplit(random_state=0)
    fitted = MultimodalFusionRecommender(random_state=0, verbose=False)
    tables = {
        "content": compare_encoders(items, likes, encoders, **choice).table,
        "fitted": compare_encoders(
            items, likes, encoders, recommender=fitted, **choice
        ).table,
    }
    columns = {
        (way, judge): table[way]
        for way in ("warm", "cold")
        for judge, table in tables.items()
    }
    return pd.DataFrame(columns)


def main() -> None:
    films = load_movielens_posters()
    ratings = films.interactions
    likes = ratings.loc[ratings["rating"] >= LIKED, ["user_id", "item_id"]]
    items = films.item_table.assign(
        both=films.item_table["title"] + ". " + films.item_table["overview"].fillna("")
    )
    minilm = TextEncoder("package:all-MiniLM-L6-v2")
    titles = encoded(items, minilm, "title")
    overviews = encoded(items, minilm, "overview")
    words = TfidfVectorizer(max_features=1000, stop_words="english")
    genres = TfidfVectorizer(token_pattern=r"[^|]+")
    encoders = {
        TITLES: titles,
        "MiniLM, overviews": overviews,
        "TF-IDF, titles and overviews": encoded(items, words, "both"),
        "genres": encoded(items, genres, "genres"),
    }
    print(judged(items, likes, encoders).round(3).to_string(), flush=True)
    posters = ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0")
    added = {"overviews": overviews, "posters": encoded(items, posters, "poster")}
    print("\nBeside titles:")
    print(judged(items, likes, added, beside=titles).round(3).to_string())


if __name__ == "__main__":
    main()
