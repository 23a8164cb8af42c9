"""Feast's own commands on this repository, with made-up vectors; run it here."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feast import FeatureStore

from skmmrec.feature_store import OnlineRecommender, publish
from skmmrec.recommender import ServingVectors

REPO = Path(__file__).parent


class RandomRecommender:
    """Stands for a fitted recommender: 100 users, 500 items, random vectors."""

    def serving_vectors(self) -> ServingVectors:
        """Return what `publish` needs."""
        rng = np.random.default_rng(0)
        return ServingVectors(
            users=pd.DataFrame(rng.normal(size=(100, 65)).astype(np.float32)),
            items=pd.DataFrame(rng.normal(size=(500, 65)).astype(np.float32)),
            seen=pd.Series([[0, 1]] * 100),
            version="random",
        )


def run_demo() -> None:
    """Apply, publish, materialize, read, search, recommend."""
    feast = [str(Path(sys.executable).with_name("feast")), "-c", str(REPO)]
    print("--- feast apply ---")
    subprocess.run([*feast, "apply"], check=True)

    print("--- publish ---")
    print(publish(RandomRecommender(), REPO))

    print("--- feast materialize-incremental ---")
    now = datetime.now(UTC).replace(tzinfo=None).isoformat()
    subprocess.run([*feast, "materialize-incremental", now], check=True)

    store = FeatureStore(repo_path=str(REPO))
    print("--- online features ---")
    features = store.get_online_features(
        features=store.get_feature_service("recommendation"),
        entity_rows=[{"user_id": 3, "item_id": 7}],
    )
    print(features.to_df().T)

    print("--- features as they were, for training ---")
    rows = pd.DataFrame({"user_id": [3], "item_id": [7], "event_timestamp": [now]})
    rows["event_timestamp"] = pd.to_datetime(rows["event_timestamp"], utc=True)
    service = store.get_feature_service("embeddings")
    print(store.get_historical_features(entity_df=rows, features=service).to_df().T)

    print("--- recommendations ---")
    print(OnlineRecommender(store).recommend([3, 4], k=5))


if __name__ == "__main__":
    run_demo()
