"""Real films by words and posters: cold films by content, warm films by taste.

Needs the data set of `skmmrec.datasets.load_movielens_posters`, in the folder that
``--data-home`` or the environment variable ``SKMMREC_DATA_HOME`` names.

    python examples/movielens_posters.py [--output out/movielens] [--seed 0]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer

from skmmrec import (
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    TextEncoder,
)
from skmmrec.datasets import load_movielens_posters
from skmmrec.inspection import (
    RecommendationGalleryDisplay,
    modality_contributions,
    modality_shares,
)
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import ItemKNNRecommender, PopularityRecommender

IDS = ["user_id", "item_id"]


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    start = time.perf_counter()
    print(f"{what:<58}", end="", flush=True)
    yield
    print(f"{time.perf_counter() - start:6.1f} s")


def describe(items: pd.DataFrame) -> pd.DataFrame:
    """Join title, genres and overview into one text, where there is an overview."""
    genres = items["genres"].str.replace("|", ", ")
    words = items["title"] + ". " + genres + ". " + items["overview"].fillna("")
    return items.assign(words=words)


def encode(items: pd.DataFrame) -> ItemCatalog:
    """Encode all films once; the result is a catalogue of ready vectors."""
    encoder = ColumnTransformer(
        [
            ("words", TextEncoder("package:all-MiniLM-L6-v2"), "words"),
            (
                "poster",
                ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"),
                "poster",
            ),
        ]
    )
    return ItemCatalog(items, encoder)


def ndcg(ranked: pd.DataFrame, test: pd.DataFrame) -> float:
    """NDCG@10 of ranked lists."""
    return float(evaluate_ranking(ranked, test, ["ndcg@10"]).mean()["ndcg@10"])


def random_lists(test: pd.DataFrame, cold: np.ndarray, seed: int) -> pd.DataFrame:
    """Ten held-out films in a random order for each user."""
    rng = np.random.default_rng(seed)
    users = np.unique(test["user_id"])
    lists = [rng.choice(cold, 10, replace=False) for _ in users]
    return pd.DataFrame({"user_id": users.repeat(10), "item_id": np.ravel(lists)})


def cold_table(catalog: ItemCatalog, X: pd.DataFrame, seed: int) -> dict[str, float]:
    """NDCG@10 on a fifth of the films, all of whose ratings are held out."""
    films = catalog.ids[catalog.blocks.mask.any(axis=1)].to_numpy()
    cold = np.random.default_rng(seed).choice(films, len(films) // 5, replace=False)
    is_cold = X["item_id"].isin(cold)
    train, test = X[~is_cold], X[is_cold]
    rows = {"random order": ndcg(random_lists(test, cold, seed), test)}
    names = catalog.blocks.modalities
    for kept in [*([name] for name in names), names]:
        some = catalog.select(kept, on_empty="ignore")
        rec = MultimodalFusionRecommender(some, random_state=seed)
        ranked = rec.fit(train).recommend(test["user_id"].unique(), 10, items=cold)
        rows[" + ".join(kept)] = ndcg(ranked, test)
    return rows


def print_table(title: str, rows: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:<24}{value:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-home", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=Path("out/movielens"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    data = load_movielens_posters(args.data_home)
    X = data.interactions[IDS]
    catalog = encode(describe(data.item_table))
    with step(f"Encode {len(catalog)} films"):
        missing = 1 - catalog.blocks.mask.mean(axis=0)
    for name, share in zip(catalog.blocks.modalities, missing, strict=True):
        print(f"  without {name}: {share:.0%}")

    with step("Hold out a fifth of the films, rank them by content"):
        cold = cold_table(catalog, X, args.seed)
    print_table("Films without any interaction, ranked among themselves, NDCG@10", cold)

    ((train, test),) = RandomHoldoutPerUser(0.2, random_state=args.seed).split(X)
    models = {
        "popularity": PopularityRecommender(),
        "item-kNN": ItemKNNRecommender(),
        "multimodal fusion": MultimodalFusionRecommender(
            catalog, random_state=args.seed
        ),
    }
    with step("Hold out a fifth of the ratings, rank all films"):
        warm = {
            name: model.fit(X.iloc[train]).score(X.iloc[test])
            for name, model in models.items()
        }
    print_table("All films that the user has not met, NDCG@10", warm)

    rec = models["multimodal fusion"]
    user = rec.user_index_[0]
    recommended = rec.recommend([user], k=6)
    shares = modality_shares(
        modality_contributions(rec, recommended["user_id"], recommended["item_id"])
    )
    titles = data.item_table.set_index("item_id")["title"]
    shown = recommended.assign(title=recommended["item_id"].map(titles).to_numpy())
    print(f"\nRecommended to user {user}, and what their content says for them:\n")
    print(shown.join(shares.map("{:.0%}".format)).to_string(index=False))

    picture = args.output / "recommendations.png"
    display = RecommendationGalleryDisplay.from_recommendations(
        recommended,
        data.item_table,
        history=data.interactions.iloc[train],
        shares=shares,
        picture="poster",
    )
    display.figure_.savefig(picture, dpi=110)
    print(f"\nPicture of the user's history and recommendations: {picture}")


if __name__ == "__main__":
    main()
