"""Fingerprints of what the code computes, to be held against those after a move.

``python benchmarks/goldens.py take FILE`` fits every setting of the contract tests,
saves, publishes and encodes, and writes a hash of each result; ``compare FILE`` does
the same and names what differs. Hashes are of bits, so both runs belong on one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import pickle
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file

import skmmrec.recommender
from skmmrec import (
    AudioEncoder,
    ImageEncoder,
    ItemCatalog,
    MultimodalFusionRecommender,
    TextEncoder,
)
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender import (
    AttentionTower,
    ContentRecommender,
    HistoryRecommender,
    MatrixFactorizationRecommender,
    Propagation,
    Regularization,
)

ROOT = Path(__file__).parents[1]
SMALL: dict[str, Any] = {
    "regularization__n_components": 2,
    "n_factors": 4,
    "training__max_epochs": 2,
    "random_state": 1,
}
SETTINGS: dict[str, dict[str, Any]] = {
    **{kind: {"fusion": kind} for kind in get_fusion_names()},
    "attention tower": {"user_tower": AttentionTower(history_exponent=0.5)},
    "sequence tower": {"user_tower": "sequence"},
    "short histories": {"user_tower__max_history": 3},
    "factors": {},
    "content": {},
    "bpr": {"objective": "bpr", "user_tower__user_embedding": True},
    "bce": {
        "objective": "bce",
        "regularization__alignment": 0.1,
        "regularization__modality_balance": 0.1,
    },
    "mse": {"objective": "mse", "propagation": Propagation(n_neighbors=3)},
    "two networks": {
        "n_members": 2,
        "regularization__id_dropout": 0.2,
        "regularization__history_dropout": 0.2,
    },
    "early stopping": {"early_stopping__validation_fraction": 0.2},
    "early stopping by loss": {"early_stopping__metric": "loss"},
    "no content reduction": {
        "regularization": Regularization(
            n_components=None, mute_noise=False, id_l2=3.0
        ),
    },
    "trained further": {"training__partial_fit_epochs": 1, "training__clip_norm": 1.0},
    "small batches": {
        "training__batch_size": 16,
        "training__own_negatives": False,
        "training__n_negatives": 5,
    },
}


def make(name: str, catalog: ItemCatalog | None, settings: dict[str, Any]) -> Any:
    """Make the recommender of a setting."""
    if name == "content":
        return ContentRecommender(catalog)
    if name == "factors":
        kept = {key: SMALL[key] for key in SMALL if "regularization" not in key}
        return MatrixFactorizationRecommender().set_params(**kept)
    rec = MultimodalFusionRecommender(catalog)
    small = {k: v for k, v in SMALL.items() if k.partition("__")[0] not in settings}
    return rec.set_params(**{**small, **settings})


def data() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.Series]:
    """Make items with three modalities, interactions with times, and ratings."""
    rng = np.random.default_rng(0)
    n_users, n_items, n_rows = 90, 60, 900
    columns = [f"{m}__{c}" for m in ("text", "image", "audio") for c in range(3)]
    items = pd.DataFrame(rng.normal(size=(n_items, 9)).round(3), columns=columns)
    items.loc[3, columns[:3]] = np.nan
    items.insert(0, "item_id", [f"i{n:02d}" for n in range(n_items)])
    taste = rng.normal(size=(n_users, 9))
    scores = 0.4 * taste @ np.nan_to_num(items[columns]).T
    scores += 0.5 * rng.normal(size=(1, n_items))
    users = rng.integers(n_users, size=n_rows)
    # The last five items are met by nobody.
    shares = np.exp(scores[users][:, :-5])
    rows = (shares.cumsum(1) / shares.sum(1, keepdims=True)) < rng.random((n_rows, 1))
    X = pd.DataFrame(
        {
            "user_id": users + 100,
            "item_id": items.item_id.to_numpy()[rows.sum(1).clip(max=n_items - 6)],
            "timestamp": rng.permutation(n_rows),
        }
    )
    y = pd.Series(rng.integers(1, 6, n_rows) - 2.0)
    new = pd.DataFrame(rng.normal(size=(3, 9)).round(3), columns=columns)
    new.insert(0, "item_id", ["n1", "n2", "n3"])
    return items, new, X, y


def fingerprint(*values: Any) -> str:
    """Hash arrays, tables and anything that JSON can hold."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, pd.DataFrame | pd.Series):
            digest.update(value.to_json(orient="split", double_precision=15).encode())
            value = value.to_numpy()
        if isinstance(value, np.ndarray) and value.dtype != object:
            digest.update(str((value.dtype, value.shape)).encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(json.dumps(np.asarray(value).tolist(), default=str).encode())
    return digest.hexdigest()[:16]


def state(rec: Any) -> str:
    """Hash the vectors and biases of a recommender."""
    return fingerprint(rec.item_vectors_, rec.user_vectors_, rec.item_biases_)


def recommenders() -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Every setting, with a catalogue and flat."""
    items, new, X, y = data()
    flat = X.merge(items, on="item_id", how="left")
    # A catalogue each: `add_items` appends to it, and another fit would know the items.
    for name, settings in SETTINGS.items():
        yield (
            f"catalogue, {name}",
            lambda n=name, s=settings: _life(n, ItemCatalog(items), s, X, y, new),
        )
        yield (
            f"flat, {name}",
            lambda n=name, s=settings: _life(n, None, s, flat, y, None),
        )
    people = pd.DataFrame(
        {"user_id": np.arange(100, 180), "age__0": np.linspace(0.1, 1, 80)}
    )
    users = ItemCatalog(people, key="user_id")
    more: dict[str, dict[str, Any]] = {
        "content of users": {
            "user_catalog": users,
            "regularization__history_dropout": 0.1,
        },
        "all defaults": {
            "regularization": None,
            "training": None,
            "n_factors": 64,
            "random_state": 0,
        },
    }
    for name, settings in more.items():
        yield (
            name,
            lambda n=name, s=settings: _life(n, ItemCatalog(items), s, X, y, new),
        )
    likes = {"several tasks": {"objective": ["softmax", "bce", "mse"]}}
    answers = np.column_stack([y, y > 0, y])
    answers[::7, 1] = np.nan
    for name, settings in likes.items():
        yield (
            name,
            lambda n=name, s=settings: _life(n, ItemCatalog(items), s, X, answers, new),
        )


def _life(
    name: str, catalog: Any, settings: dict[str, Any], X: pd.DataFrame, y: Any, new: Any
) -> dict[str, str]:
    """Fit, ask, save, add items, take in feedback, take out: a hash after each."""
    y = np.asarray(y)
    first, rest = slice(0, 800), slice(800, None)
    weights = np.linspace(0.5, 1.5, len(X))
    rec = make(name, catalog, settings).fit(X[first], y[first], weights[first])
    found = {
        "fit": state(rec),
        "curves": fingerprint(rec.model_.loss_curve, rec.model_.validation_curve),
        "predict": fingerprint(rec.predict(X)),
        "transform": fingerprint(rec.transform(X[first])),
        "score": fingerprint(rec.score(X[rest], (y if y.ndim == 1 else y[:, 0])[rest])),
        "recommend": fingerprint(rec.recommend([100, 101, 7], k=5)),
        "similar": fingerprint(rec.similar_items(rec.item_index_[:2], k=4)),
    }
    vectors = rec.serving_vectors()
    found["serving"] = fingerprint(
        vectors.users, vectors.items, vectors.seen, vectors.version
    )
    with tempfile.TemporaryDirectory() as folder:
        rec.save(Path(folder) / "model")
        tensors = load_file(Path(folder) / "model" / "model.safetensors")
        found["saved"] = fingerprint(
            *(part for name in sorted(tensors) for part in (name, tensors[name]))
        )
        found["loaded"] = state(type(rec).load(Path(folder) / "model"))
    if new is not None and rec.catalog is not None:
        found["added"] = state(rec.add_items(new))
    found["taken in"] = state(rec.partial_fit(X[rest], y[rest]))
    found["pickled"] = state(pickle.loads(pickle.dumps(rec)))
    found["removed"] = state(rec.remove_items(rec.item_index_[:2]))
    found["forgotten"] = state(rec.forget(rec.user_index_[:2]))
    return found


def baselines() -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Every recommender that learns from histories alone."""
    _, _, X, y = data()
    for name in skmmrec.recommender.__all__:
        kind = getattr(skmmrec.recommender, name)
        if not inspect.isclass(kind) or not issubclass(kind, HistoryRecommender):
            continue
        if inspect.isabstract(kind):
            continue

        def run(kind: Any = kind) -> dict[str, str]:
            seed = {"random_state": 0} if "random_state" in kind().get_params() else {}
            return {"recommend": fingerprint(kind(**seed).fit(X, y).recommend(k=9))}

        yield name, run


def encoders() -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Encode words, pictures and sounds."""
    items = make_multimodal_interactions(n_users=5, n_items=12, random_state=0)
    table = items.item_table
    kinds = {
        "description": TextEncoder("package:all-MiniLM-L6-v2"),
        "image": ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0"),
        "audio": AudioEncoder(pretrained=False, random_state=0),
    }
    for column, encoder in kinds.items():

        def run(column: str = column, encoder: Any = encoder) -> dict[str, str]:
            return {"vectors": fingerprint(encoder.fit_transform(table[column]))}

        yield f"encoder of {column}", run


def store() -> Iterator[tuple[str, Callable[[], dict[str, str]]]]:
    """Publish to the embedded store, and hash all but the times."""

    def run() -> dict[str, str]:
        from skmmrec.feature_store import OnlineRecommender, publish

        items, _, X, y = data()
        rec = make("store", ItemCatalog(items), {}).fit(X, y)
        with tempfile.TemporaryDirectory() as folder:
            repo = Path(folder) / "repo"
            ignored = shutil.ignore_patterns("data", "__pycache__")
            shutil.copytree(ROOT / "feature_repo", repo, ignore=ignored)
            publish(rec, repo)
            found = _dump(repo / "data" / "online.db")
            online = OnlineRecommender(repo)
            users = X.user_id.unique()[:9].tolist()
            found["online"] = fingerprint(online.recommend(users, k=5))
        return found

    yield "embedded store", run


def _dump(path: Path) -> dict[str, str]:
    """Hash each table without the columns that hold times or the publication."""
    found = {}
    with sqlite3.connect(path) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in sorted(names.fetchall()):
            table = pd.read_sql(f'SELECT * FROM "{name}"', database)
            kept = [c for c in table.columns if not c.endswith(("_ts", "_us", "time"))]
            rows = table[kept].map(lambda v: v.hex() if isinstance(v, bytes) else v)
            found[name] = f"{len(rows)} rows, {sorted(table.columns)}"
            if "embedding" in name or "vector" in name:
                found[name] += fingerprint(rows.sort_values(kept).to_numpy().tolist())
    return found


def take() -> dict[str, dict[str, str]]:
    """Compute all fingerprints; what raises is part of them."""
    found = {}
    # More threads than one would add numbers up in another order.
    torch.set_num_threads(1)
    for part in (recommenders, baselines, encoders, store):
        for name, run in part():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found[name] = run()
            except Exception as error:
                found[name] = {"raised": f"{type(error).__name__}: {error}"}
            print(name, found[name].get("raised", ""), file=sys.stderr)
    return found


def differences(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]
) -> list[str]:
    """Name what is not as it was."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, {}), after.get(name, {})
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                lines.append(f"{name}: {key}: {old.get(key)} -> {new.get(key)}")
    return lines


def main() -> None:
    """Take or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["take", "compare"])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    found = take()
    raised = [name for name, values in found.items() if "raised" in values]
    if raised:
        print(f"{len(raised)} raised, and are held against that alone", file=sys.stderr)
    if arguments.action == "take":
        arguments.file.write_text(json.dumps(found, indent=1))
        return
    lines = differences(json.loads(arguments.file.read_text()), found)
    print("\n".join(lines) or f"{len(found)} results are as they were")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
