"""From raw content to served recommendations, on a catalogue made on the spot.

The items have texts, drawn pictures and synthesised sounds, which are encoded. A fusion
recommender learns from interactions, and its vectors are published to a Feast store.
The recommendations below come from that store. The model, its card and its items are
saved, so that you can look at them in a browser.

    python examples/quickstart.py [--output out/quickstart] [--users 300] [--items 240]
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer

from skmmrec import (
    AudioEncoder,
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    TextEncoder,
)
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.encoders import cnn14_is_cached
from skmmrec.feature_store import OnlineRecommender, init_repo, publish
from skmmrec.inspection import (
    RecommendationGalleryDisplay,
    modality_contributions,
    modality_shares,
)
from skmmrec.model_selection import RandomHoldoutPerUser
from skmmrec.recommender import PopularityRecommender

IDS = ["user_id", "item_id"]
UNTRAINED = """
The weights for sounds (PANNs, 327 MB) are not on this machine, so an untrained network
encodes them: a fixed random filter bank, which tells sounds apart but recognises none.
The last line shows how much is lost without sound. These sounds come from a
synthesizer: expect less from real ones."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    start = time.perf_counter()
    print(f"{what:<58}", end="", flush=True)
    yield
    print(f"{time.perf_counter() - start:6.1f} s")


def make_encoder() -> ColumnTransformer:
    """One encoder per column, with weights that installed packages carry."""
    pretrained = cnn14_is_cached()
    return ColumnTransformer(
        [
            ("words", TextEncoder("package:all-MiniLM-L6-v2"), "description"),
            (
                "picture",
                ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"),
                "image",
            ),
            ("sound", AudioEncoder(pretrained=pretrained, random_state=0), "audio"),
        ]
    )


def save_items(items: pd.DataFrame, output: Path) -> Path:
    """Write the table of items, with paths of files relative to it."""
    paths = {
        column: items[column].map(
            lambda path: os.path.relpath(path, output), na_action="ignore"
        )
        for column in ("image", "audio")
    }
    items.assign(**paths).to_parquet(table := output / "items.parquet", index=False)
    return table


def new_feature_repo(output: Path) -> Path:
    """Write a feature repository in place of that of an earlier run."""
    repo = output / "feature_repo"
    shutil.rmtree(repo, ignore_errors=True)
    return init_repo(repo)


def explained(
    recommender: MultimodalFusionRecommender,
    served: pd.DataFrame,
    titles: pd.Series,
) -> pd.DataFrame:
    """Recommendations with titles and the share of each modality in the score."""
    contributions = modality_contributions(
        recommender, served["user_id"], served["item_id"]
    )
    shares = modality_shares(contributions)
    table = served.assign(title=served["item_id"].map(titles).to_numpy())
    return table.join(shares)


def readable(table: pd.DataFrame, modalities: list[str]) -> str:
    """Format shares as per cent and scores with two digits."""
    shown = table.assign(
        score=table["score"].map("{:.2f}".format),
        title=table["title"].str.slice(0, 40),
        **{name: table[name].map("{:.0%}".format) for name in modalities},
    )
    return shown.to_string(index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("out/quickstart"))
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--items", type=int, default=240)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)

    with step(f"Make {args.items} items with words, a picture and a sound"):
        data = make_multimodal_interactions(
            args.users, args.items, folder=args.output / "media", random_state=0
        )
    X = data.interactions[IDS]
    ((train, test),) = RandomHoldoutPerUser(0.2, random_state=0).split(X)

    catalog = ItemCatalog(data.item_table, make_encoder())
    with step("Encode every item once"):
        blocks = catalog.blocks
    with step(f"Fit gated fusion on {len(train)} interactions"):
        rec = MultimodalFusionRecommender(catalog, fusion="gated", random_state=0)
        rec.fit(X.iloc[train])
    with step("Publish the vectors to a Feast store"):
        publish(rec, repo := new_feature_repo(args.output))
    users = rec.user_index_[:3]
    with step(f"Recommend to {len(users)} users from the store alone"):
        served = OnlineRecommender(repo).recommend(users, k=6)

    titles = data.item_table.set_index("item_id")["title"]
    table = explained(rec, served, titles)
    print("\nServed recommendations, with the share of each modality in the part")
    print("of the score that comes from content:\n")
    print(readable(table, blocks.modalities))

    popularity = PopularityRecommender().fit(X.iloc[train])
    score = rec.score(X.iloc[test])
    print(f"\nNDCG@10 on {len(test)} held-out interactions:")
    print(f"  {'popularity':<28}{popularity.score(X.iloc[test]):.4f}")
    print(f"  {'multimodal fusion':<28}{score:.4f}")
    if not cnn14_is_cached():
        seen_and_read = catalog.select(["words", "picture"])
        silent = clone(rec).set_params(catalog=seen_and_read)
        silent.fit(X.iloc[train])
        print(f"  {'the same without sound':<28}{silent.score(X.iloc[test]):.4f}")
        print(UNTRAINED)

    picture = args.output / "recommendations.png"
    display = RecommendationGalleryDisplay.from_recommendations(
        served,
        data.item_table,
        user=users[0],
        history=data.interactions.iloc[train],
        shares=table[blocks.modalities],
    )
    display.figure_.savefig(picture, dpi=110)
    print(f"\nPicture of one user's history and recommendations: {picture}")

    rec.save(model := args.output / "model", metrics={"ndcg@10": score})
    items = save_items(data.item_table, args.output)
    print(f"What the model is, and what it is not good for: {model / 'card.md'}")
    print("\nNext, look at it in a browser (pip install 'skmmrec[app]'):\n")
    print(f"  skmmrec browse {shlex.join([str(model), '--items', str(items)])}")


if __name__ == "__main__":
    main()
