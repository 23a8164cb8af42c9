"""``skmmrec evaluate``: how good a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skmmrec.cli._command import DONE, WRONG, as_json, command, note, option, show
from skmmrec.cli._fit import fitted, read_inputs
from skmmrec.cli._options import PATH, Setting, SettingType, fit_options

if TYPE_CHECKING:
    import pandas as pd

    from skmmrec.cli._interactions import Rows

# Recommenders to compare with, by name.
BASELINES = {
    "popularity": "PopularityRecommender",
    "item-knn": "ItemKNNRecommender",
    "user-knn": "UserKNNRecommender",
    "ease": "EASERecommender",
    "als": "ImplicitALSRecommender",
    "random-walk": "RandomWalkRecommender",
}


@command(
    epilog="""
Examples:
  skmmrec evaluate model test.csv --metric ndcg@10 --metric recall@20
  skmmrec evaluate likes.csv --split latest --items vectors --random-state 0
  skmmrec evaluate likes.csv --items vectors --baseline ease --min ndcg@10=0.2
"""
)
@click.argument("source", metavar="MODEL|INTERACTIONS", type=PATH)
@click.argument("test", required=False, type=PATH)
@option(
    "--metric",
    "metrics",
    multiple=True,
    default=["ndcg@10", "recall@10"],
    help="auc, f1, graded_ndcg, hit_rate, map, mrr, ndcg, precision or recall, at a "
    "length of lists. May be repeated.",
)
@option(
    "--baseline",
    "baselines",
    type=click.Choice(list(BASELINES)),
    multiple=True,
    default=["popularity"],
    help="What to compare with, fitted on the same rows. May be repeated.",
)
@option(
    "--split",
    type=click.Choice(["latest", "random"]),
    default="latest",
    help="Without TEST: hold out each user's last interaction, or a random fifth of "
    "each user's interactions.",
)
@option(
    "--min",
    "least",
    type=SettingType(),
    multiple=True,
    help="Least value of a metric; below it, the exit code is 1. May be repeated.",
)
@option(
    "--items",
    type=PATH,
    help="Without TEST: the items, as in 'skmmrec fit'.",
)
@fit_options
@as_json
def evaluate(source: Path, test: Path | None, **given: Any) -> None:
    """Measure how well held-out likes are recommended, beside simpler recommenders.

    With two arguments, MODEL is a saved model, and TEST has interactions that it has
    not seen. With one, INTERACTIONS are split, a model is fitted on one part as
    'skmmrec fit' would with the same options, and judged by the other; nothing is
    saved.

    All items are ranked but those of the user's history. The figures are means over
    users with a like that is held out.
    """
    k = _longest(given["metrics"])
    least = _thresholds(given["least"], given["metrics"])
    if test is None:
        model, train, held = _of_split(source, given)
    else:
        _refuse_inputs(given)
        model, train, held = _of_model(source, test, given)
    table = _judged(model, train, held, k, given)
    _print(table, given["as_json"])
    wrong = [n for n, value in least.items() if not table.loc["model", n] >= value]
    for name in wrong:
        note(f"{name} is {table.loc['model', name]:.4f}, below {least[name]}.")
    click.get_current_context().exit(WRONG if wrong else DONE)


def _longest(metrics: Sequence[str]) -> int:
    from skmmrec.metrics import parse_metric

    try:
        return max(parse_metric(name)[1] for name in metrics)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--metric") from error


def _thresholds(least: Sequence[Setting], metrics: Sequence[str]) -> dict[str, float]:
    for name, value in ((s.name, s.value) for s in least):
        if name not in metrics:
            raise click.UsageError(f"--min {name}: the metrics are {list(metrics)}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise click.UsageError(f"--min {name} must be a number, got {value!r}")
    return {setting.name: float(setting.value) for setting in least}


def _refuse_inputs(given: Mapping[str, Any]) -> None:
    if given["weights"] is not None:
        raise click.UsageError(
            "--weights is for the interactions of one file, of which a model learns; a "
            "saved model has learned"
        )
    if given["items"] is not None:
        raise click.UsageError(
            "--items is for the interactions of one file, which are split; a saved "
            "model brings its items along"
        )


def _of_split(path: Path, given: Mapping[str, Any]) -> tuple[Any, Rows, Rows]:
    from skmmrec.interactions import TIME
    from skmmrec.model_selection import LeaveLastOut, RandomHoldoutPerUser

    if given["items"] is None:
        raise click.UsageError(
            "give MODEL and TEST; or INTERACTIONS and --items, to fit and judge a model"
        )
    catalog, rows = read_inputs(path, given)
    if given["split"] == "latest":
        splitter: Any = LeaveLastOut()
        if TIME not in rows.X:
            note("There are no times: the last rows of each user count as the latest.")
    else:
        splitter = RandomHoldoutPerUser(random_state=given["random_state"])
    ((train, held),) = splitter.split(rows.usual().X)
    if not len(held):
        raise ValueError(f"{path}: no user has two interactions, so none is held out")
    train_rows = rows.take(train)
    return (
        fitted(catalog, train_rows, given),
        train_rows.usual(),
        rows.take(held).usual(),
    )


def _of_model(
    path: Path, test: Path, given: Mapping[str, Any]
) -> tuple[Any, Rows, Rows]:
    from skmmrec.cli._interactions import read_rows
    from skmmrec.cli._items import check_ids_meet
    from skmmrec.datasets import TableFiles
    from skmmrec.recommender import load_model

    source = TableFiles(test, given["sep"], given["encoding"])
    model, rows = load_model(path), read_rows(source, given).usual()
    train = _learned_from(model)
    known = model.item_vectors_.index
    check_ids_meet(known, TableFiles(path), rows.X["item_id"], source)
    return model, train, rows


def _learned_from(model: Any) -> Rows:
    """Return the interactions that a model has learned from; times are not kept."""
    import numpy as np
    import pandas as pd

    from skmmrec.cli._interactions import Rows
    from skmmrec.datasets import TableFiles

    data = model.model_.data
    seen, liked = data.seen, data.history
    X = pd.DataFrame(
        {"user_id": data.users[seen.users], "item_id": data.items[seen.items]}
    )
    n_items = len(data.items)
    is_liked = np.isin(
        seen.users * n_items + seen.items, liked.users * n_items + liked.items
    )
    return Rows(TableFiles(Path()), X, pd.Series(is_liked.astype(float)))


def _judged(
    model: Any, train: Rows, held: Rows, k: int, given: Mapping[str, Any]
) -> pd.DataFrame:
    import pandas as pd
    from sklearn.utils.validation import has_fit_parameter

    from skmmrec import recommender
    from skmmrec.metrics import (
        RankingEvaluation,
        ranked_relevance,
        recommend_exactly,
        warn_of_seen,
    )

    relevant = held.X if held.y is None else held.X[held.y > 0]
    if not len(relevant):
        raise ValueError(
            f"{held.source.path}: no row is liked: look at --rating and --neutral"
        )
    warn_of_seen(model, relevant, held.X)
    users = relevant["user_id"].unique()
    models = {"model": model}
    for name in given["baselines"]:
        baseline = getattr(recommender, BASELINES[name])()
        weighs = has_fit_parameter(baseline, "sample_weight")
        options = {"sample_weight": train.weights} if weighs else {}
        models[name] = baseline.fit(train.X, train.y, **options)
    results = {
        name: RankingEvaluation(
            ranked_relevance(recommend_exactly(each, users, k), relevant),
            list(given["metrics"]),
        ).mean()
        for name, each in models.items()
    }
    table = pd.DataFrame(results).T
    table.attrs["n_users"] = len(users)
    return table


def _print(table: pd.DataFrame, as_json: bool) -> None:
    n_users = table.attrs["n_users"]
    if as_json:
        show({"n_users": n_users, "metrics": table.to_dict("index")}, as_json)
        return
    click.echo(table.to_string(float_format="{:.4f}".format))
    note(f"Means over {n_users} users.")
