"""Tune a recommender by Optuna, for those who have outgrown grids.

Each trial is judged on the later likes of every user, fold by fold, and given up as
soon as it looks worse than the others. The catalogue is encoded once, before the first
trial. What was chosen is then compared with the defaults on likes that no trial saw.

    pip install optuna
    python examples/tune_with_optuna.py [--trials 10] [--users 100] [--items 100]
"""

from __future__ import annotations

import argparse
from typing import Any

import optuna
import pandas as pd
from sklearn.base import clone
from sklearn.compose import make_column_transformer

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.metrics import compare, evaluate_ranking, get_scorer
from skmmrec.model_selection import LeaveLastOut
from skmmrec.recommender import MeanTower, Regularization, Training

IDS = ["user_id", "item_id"]
SCORER = get_scorer("ndcg@10")
RANGES = {
    "training__learning_rate": (2e-3, 5e-2),
    "regularization__dropout": (0.0, 0.6),
    "user_tower__history_exponent": (0.5, 1.0),
}
LOGARITHMIC = {"training__learning_rate"}


def suggest(trial: optuna.Trial) -> dict[str, Any]:
    """Draw one candidate."""
    return {
        "fusion": trial.suggest_categorical("fusion", ["concat", "gated", "attention"]),
        "n_factors": trial.suggest_int("n_factors", 8, 64, log=True),
        **{
            name: trial.suggest_float(name, low, high, log=name in LOGARITHMIC)
            for name, (low, high) in RANGES.items()
        },
    }


class Objective:
    """Mean score over folds that follow each other in time."""

    def __init__(
        self, recommender: MultimodalFusionRecommender, X: pd.DataFrame
    ) -> None:
        self.recommender = recommender
        self.X = X
        self.folds = list(LeaveLastOut(n_last=2, n_splits=2).split(X))

    def __call__(self, trial: optuna.Trial) -> float:
        """Judge one candidate."""
        candidate = clone(self.recommender).set_params(**suggest(trial))
        scores: list[float] = []
        for fold, (train, test) in enumerate(self.folds):
            candidate.fit(self.X.iloc[train])
            scores.append(SCORER(candidate, self.X.iloc[test]))
            trial.report(sum(scores) / len(scores), fold)
            if trial.should_prune():
                raise optuna.TrialPruned
        return sum(scores) / len(scores)


def tune(
    recommender: MultimodalFusionRecommender, X: pd.DataFrame, n_trials: int
) -> optuna.Study:
    """Search; the defaults are the first candidate, so that nothing can get worse."""
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    params = recommender.get_params()
    study.enqueue_trial(
        {name: params[name] for name in ("fusion", "n_factors", *RANGES)}
    )
    study.optimize(Objective(recommender, X), n_trials=n_trials)
    return study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--items", type=int, default=100)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    data = make_multimodal_interactions(
        args.users, args.items, modalities=["text"], random_state=0
    )
    X = data.interactions[[*IDS, "timestamp"]]
    ((train, test),) = LeaveLastOut(n_last=3).split(X)
    train, test = X.iloc[train], X.iloc[test]

    encoder = make_column_transformer(
        (TextEncoder("package:all-MiniLM-L6-v2"), "description")
    )
    catalog = ItemCatalog(data.item_table, encoder)
    # Settings that are spelled out can be looked up by name, as `tune` does.
    defaults = MultimodalFusionRecommender(
        catalog,
        user_tower=MeanTower(),
        training=Training(max_epochs=5),
        regularization=Regularization(),
        random_state=0,
    )

    study = tune(defaults, train, args.trials)
    pruned = sum(t.state == optuna.trial.TrialState.PRUNED for t in study.trials)
    print(f"{len(study.trials)} trials, {pruned} of them given up early")
    print(f"best NDCG@10 on the folds: {study.best_value:.4f}, by")
    for name, value in study.best_params.items():
        print(f"  {name:<30}{value if isinstance(value, str) else f'{value:.4g}'}")

    users = test["user_id"].unique()
    before, after = (
        evaluate_ranking(model.fit(train).recommend(users, k=10), test, ["ndcg@10"])
        for model in (defaults, clone(defaults).set_params(**study.best_params))
    )
    row = compare(before, after, random_state=0).loc["ndcg@10"]
    print(f"\nNDCG@10 on {len(test)} likes that no trial has seen:")
    print(f"  defaults {row['a']:.4f}, tuned {row['b']:.4f}")
    print(f"  difference {row['low']:+.4f} to {row['high']:+.4f} (95 %)")


if __name__ == "__main__":
    main()
