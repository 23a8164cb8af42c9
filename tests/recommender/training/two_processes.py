"""One of two processes that fit in several ways, and write down what each learned.

python two_processes.py folder quickly|slowly rank
"""

import pickle
import sys
import warnings
from pathlib import Path

import pandas as pd
from torch import distributed

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import EarlyStopping, MeanTower, Training
from skmmrec.recommender.training import _loop

EPOCHS = 4
FEW = 240
"""Rows of most fits; with more than 2,000, a trial comes before the training."""


def recommender(items, **params):
    return MultimodalFusionRecommender(
        ItemCatalog(items),
        user_tower=MeanTower(user_embedding=True),
        training=Training(max_epochs=EPOCHS, batch_size=17),
        n_factors=8,
        random_state=0,
    ).set_params(**params)


WAYS = {
    "replicated": {"training__tables": "replicated"},
    "auto": {},
    "sharded": {"training__tables": "sharded"},
    "clipped": {"training__tables": "sharded", "training__clip_norm": 0.05},
    "by likes": {"training__tables": "sharded", "early_stopping": EarlyStopping()},
    "by loss": {
        "training__tables": "sharded",
        "early_stopping": EarlyStopping(metric="loss"),
    },
    "trained further": {
        "training__tables": "sharded",
        "training__partial_fit_epochs": 2,
    },
    "without a seed": {"random_state": None},
}


class Interrupted(Exception):
    """Stands for a kill after an epoch."""


def learned(rec):
    model, network = rec.model_, rec.model_.networks[0]
    return {
        "tables": {name: p.detach().numpy() for name, p in network.named_parameters()},
        "vectors": (model.item_vectors, model.user_vectors, model.item_biases),
        "losses": model.loss_curve,
        "scores": model.validation_curve,
        "id_l2": model.id_l2,
        "recommended": rec.recommend(k=5),
        "held": dict(HELD),
    }


HELD = {}
"""Numbers of tables, and of the moments of their rows, in the last epoch trained."""


def note_what_is_held(trainer):
    network = trainer.loss.network
    tables = [*network.item_tables, *network.user_tables]
    moments = [t.state_dict()["moments"] for t in trainer.optimizer.lazy.values()]
    HELD["tables"] = sum(table.numel() for table in tables)
    HELD["moments"] = sum(m.numel() for some in moments for pair in some for m in pair)


def fitted(items, X, name):
    """Fit one of the ways, and train further where that is it."""
    rec = recommender(items, **WAYS[name]).fit(X)
    if name == "trained further":
        rec.partial_fit(X.head(30))
    return learned(rec)


def row_by_row(items, X):
    """Replicated tables are updated row by row, as if they were large."""
    choose = _loop.choose_lazy
    _loop.choose_lazy = lambda *_: frozenset({"items", "users"})
    rec = recommender(items, training__tables="replicated").fit(X)
    _loop.choose_lazy = choose
    return learned(rec)


def interrupted(fit, after):
    """Fit, but stop where the epochs before are saved."""
    whole = _loop.Trainer._epoch

    def epoch(self, module):
        if len(self.history) == after:
            raise Interrupted
        return whole(self, module)

    _loop.Trainer._epoch = epoch
    try:
        fit()
    except Interrupted:
        return
    finally:
        _loop.Trainer._epoch = whole
    raise AssertionError("nothing was interrupted")


def resumed(items, X, folder, tables):
    """Fit, be interrupted, fit again."""
    params = {"training__tables": tables, "training__checkpoint_dir": folder}
    interrupted(lambda: recommender(items, **params).fit(X), after=2)
    distributed.barrier()
    kept = sorted(path.name for path in folder.iterdir())
    distributed.barrier()
    rec = recommender(items, **params).fit(X)
    distributed.barrier()
    return learned(rec), kept, sorted(path.name for path in folder.iterdir())


def lost(items, X, folder, rank):
    """Fit, be interrupted, and go on where one process has lost its file."""
    params = {"training__tables": "sharded", "training__checkpoint_dir": folder}
    interrupted(lambda: recommender(items, **params).fit(X), after=2)
    if rank:
        next(folder.glob("*-1-of-2.pt")).unlink()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        rec = recommender(items, **params).fit(X)
    return learned(rec), [str(warning.message) for warning in told]


def refused(items, X, rank):
    """What each process is told where they are given different rows."""
    try:
        recommender(items).fit(X.head(len(X) - 1) if rank else X)
    except ValueError as error:
        return str(error)


def quickly(items, everything, folder, rank):
    """Results of a few fits."""
    X = everything.head(FEW)
    results = {name: fitted(items, X, name) for name in ("replicated", "sharded")}
    results["row by row"] = row_by_row(items, X)
    results["refused"] = refused(items, X, rank)
    return results


def slowly(items, everything, folder, rank):
    """Results of all others."""
    X = everything.head(FEW)
    results = {name: fitted(items, X, name) for name in WAYS}
    params = {"n_members": 2, "training__batch_size": 153}
    rec = recommender(items, training__tables="sharded", **params).fit(everything)
    results["two networks"] = learned(rec)
    for tables in ("replicated", "sharded"):
        results["resumed", tables] = resumed(items, X, folder / tables, tables)
    results["lost"] = lost(items, X, folder / "lost", rank)
    return results


def main(folder, speed, rank):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    save = _loop.Trainer._save
    _loop.Trainer._save = lambda self: (note_what_is_held(self), save(self))
    tables = [pd.read_pickle(folder / f"{name}.pkl") for name in ("items", "X")]
    work = {"quickly": quickly, "slowly": slowly}[speed]
    results = work(*tables, folder, rank)
    (folder / f"results{rank}").write_bytes(pickle.dumps(results))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
