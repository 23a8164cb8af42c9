"""What a model card tells, from a fitted recommender."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.metrics import RankingEvaluation
from skmmrec.recommender._card import CardSection, ModelCard
from skmmrec.recommender._facts import Facts, versions
from skmmrec.recommender._html import choice_rows, format_share, validation_name

Metrics: TypeAlias = (
    Mapping[str, float] | pd.Series | pd.DataFrame | RankingEvaluation | None
)

# Pairs below which a fit makes no trial of its own, since it would decide nothing.
_TINY = 2000
# Fewer likes than this tell little of a user's taste.
_SHORT = 5
# Languages that are listed; a model may read a hundred.
_LISTED = 12


def make_card(recommender: Any, facts: Facts | None, metrics: Metrics) -> ModelCard:
    """Describe a fitted recommender.

    `facts` are as `facts_of` gives them, and `metrics` are figures that the caller
    measured.
    """
    model = getattr(recommender, "model_", None)
    figures = [*_measured(metrics), *_validation(recommender)]
    use = list(_intended_use(recommender, model))
    sections = [
        CardSection("Intended use", [], use),
        CardSection("Data", list(_data(recommender, model, facts)), []),
        CardSection("Modalities", list(_modalities(model, facts)), []),
        CardSection("Choices", list(_choices(recommender, model, facts)), []),
        CardSection("Figures", figures, [] if figures else [_UNMEASURED]),
        CardSection("Limits", [], list(_limits(recommender, model, facts))),
        CardSection("Versions", list(_versions(facts)), []),
    ]
    told = [s for s in sections if s.rows or s.notes]
    return ModelCard(type(recommender).__name__, told)


_UNMEASURED = (
    "None were measured. Figures of held-out interactions are added by "
    "card(metrics=...) and save(..., metrics=...)."
)


def facts_of(recommender: Any) -> Facts | None:
    """Return what is known of the fit, and of the encoders as far as they are there."""
    facts: Facts | None = getattr(getattr(recommender, "model_", None), "facts", None)
    if facts is None:
        return None
    return facts.with_origins(getattr(recommender, "catalog", None))


def _intended_use(recommender: Any, model: Any) -> Iterator[str]:
    n_items, n_users = len(recommender.item_index_), len(recommender.user_index_)
    yield (
        f"Recommends to {_count(n_users, 'user')} among {_count(n_items, 'item')}; "
        "a user whom it does not know gets what many others like."
    )
    if model is None:
        yield "It has no content of items, so it cannot rank one without interactions."
        return
    names = model.content.modalities
    if names:
        yield f"New items are ranked by their content: {', '.join(names)}."
    objective = model.tasks[0].objective
    meanings = {
        "mse": "Predictions are answers on the scale of y.",
        "bce": "Predictions are probabilities as far as the rows of the fit are like "
        "those that are asked for.",
    }
    yield meanings.get(
        objective, "Scores order items; they are neither probabilities nor ratings."
    )


def _data(
    recommender: Any, model: Any, facts: Facts | None
) -> Iterator[tuple[str, str]]:
    n_items, n_users = len(recommender.item_index_), len(recommender.user_index_)
    if facts is not None:
        yield "Rows of interactions", f"{facts.n_rows:,}"
        if facts.period is not None:
            yield "Period", " to ".join(map(_time, facts.period))
    seen, likes = recommender.seen_, _likes(recommender)
    n_pairs = len(seen.items)
    yield "Users", f"{n_users:,}"
    yield "Items", f"{n_items:,}"
    density = n_pairs / max(1, n_users * n_items)
    yield "Pairs met", f"{n_pairs:,}, {density:.2%} of all" if n_pairs else "0"
    users = None if model is None else model.user_content
    if users is not None:
        yield "Content of users", ", ".join(users.modalities)
    if n_users:
        yield "Likes of a user", f"median {np.median(likes):g}, most {likes.max():,}"
    unmet = int((seen.popularity == 0).sum())
    yield (
        "Items without interactions",
        f"{unmet:,} ({format_share(unmet / max(1, n_items))})",
    )


def _likes(recommender: Any) -> NDArray[np.int64]:
    """Count the likes of each user."""
    history = recommender.history_
    return history.where(history.liked).lengths


def _modalities(model: Any, facts: Facts | None) -> Iterator[tuple[str, str]]:
    if model is None:
        return
    raw, kept = model.space.raw_widths, model.content.widths
    missing = dict(
        zip(kept, 1 - model.content.mask.mean(axis=0), strict=True)
        if len(model.content)
        else ()
    )
    origins = {} if facts is None else facts.origins
    for name in [*raw, *(n for n in origins if n not in raw)]:
        yield name, "; ".join(_modality(name, raw, kept, missing, origins.get(name)))


def _modality(
    name: str,
    raw: Mapping[str, int],
    kept: Mapping[str, int],
    missing: Mapping[str, float],
    origin: Mapping[str, Any] | None,
) -> Iterator[str]:
    if name in raw:
        is_reduced = name in kept and kept[name] < raw[name]
        reduced = f", reduced to {kept[name]}" if is_reduced else ""
        yield f"{_count(raw[name], 'number')}{reduced}"
    if name in missing:
        yield f"{format_share(missing[name])} of the items lack it"
    elif name in raw:
        yield "muted: it said nothing of who likes what"
    if origin is None or not origin["steps"]:
        yield "how it was encoded is not known here"
        return
    columns = f" of {', '.join(origin['columns'])}" if origin["columns"] else ""
    yield f"by {', '.join(origin['steps'])}{columns}"
    for model in origin["models"]:
        yield from _model_of(model)


def _model_of(model: Mapping[str, Any]) -> Iterator[str]:
    yield f"model {model['model'] or 'not stated'}"
    if not model["is_trained"]:
        yield "untrained"
        return
    yield f"licence {model['licence'] or 'not stated'}"
    if model["languages"]:
        yield f"languages {_some(model['languages'])}"


def _choices(
    recommender: Any, model: Any, facts: Facts | None
) -> Iterator[tuple[str, str]]:
    if model is not None:
        yield from _choices_of_model(recommender, model)
    else:
        for name, value in recommender.get_params(deep=False).items():
            yield name, repr(value)
    yield from choice_rows(recommender)
    if facts is not None:
        yield "Seed", "none was given" if facts.seed is None else str(facts.seed)
        yield "Fitted (UTC)", facts.fitted


def _choices_of_model(recommender: Any, model: Any) -> Iterator[tuple[str, str]]:
    design, tower = model.design, model.design.tower
    fuser = model.fuser
    if hasattr(recommender, "fusion"):
        fusion = design.fusion if fuser is None else type(fuser).__name__
        yield "Fusion", fusion if isinstance(fusion, str) else fusion.__name__
    yield "Objectives", ", ".join(task.objective for task in model.tasks)
    if tower is not None:
        yield "User tower", type(tower).__name__
    yield "Width of the vectors", f"{model.item_vectors.shape[1]}"
    yield "Networks", f"{len(model.networks)}"
    if model.loss_curve:
        yield "Epochs", f"{len(model.loss_curve)}"
        yield "id_l2", f"{model.id_l2:.4g}"
    half = "none: all likes count alike" if model.half_life is None else None
    yield "Half-life", half or f"{model.half_life:g} later items"
    width = 0 if model.memory is None else model.memory.neighbors.shape[1]
    yield "Memory of items", f"lists of up to {width}" if width else "none"
    yield "Muted modalities", ", ".join(model.space.muted) or "none"
    if model.graph is not None:
        yield (
            "Propagation",
            f"{model.propagation:g} from {model.n_neighbors} neighbours",
        )


def _measured(metrics: Metrics) -> Iterator[tuple[str, str]]:
    """Read what the caller measured."""
    if isinstance(metrics, RankingEvaluation):
        n_users = metrics.n_users
        metrics = metrics.intervals(random_state=0)
        yield "Users judged", f"{n_users:,}"
    if isinstance(metrics, pd.DataFrame):
        missing = [name for name in ("mean", "low", "high") if name not in metrics]
        if missing:
            raise ValueError(
                f"metrics has no column {missing[0]!r}, but {list(metrics.columns)}: "
                "give what intervals() of evaluate_ranking returns"
            )
        for row in metrics.itertuples():
            is_known = np.isfinite([row.low, row.high]).all()  # of one user it is not
            bounds = f" ({row.low:.4g} to {row.high:.4g})" if is_known else ""
            yield str(row.Index), f"{row.mean:.4g}{bounds}"
        return
    if metrics is not None and not isinstance(metrics, Mapping | pd.Series):
        raise TypeError(
            "metrics must be a mapping of name to number, or what evaluate_ranking "
            f"returns, got {type(metrics).__name__}"
        )
    for name, value in ({} if metrics is None else metrics).items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"metrics[{name!r}] must be a number, got {value!r}")
        yield str(name), f"{float(value):.4g}"


def _validation(recommender: Any) -> Iterator[tuple[str, str]]:
    curve = getattr(recommender, "validation_curve_", None)
    if curve:
        name, best = validation_name(recommender), max(curve)
        epoch = curve.index(best) + 1
        yield (
            f"{name}, on what early stopping held out",
            f"{abs(best):.4g} after epoch {epoch}; the epoch was chosen by it",
        )


def _limits(recommender: Any, model: Any, facts: Facts | None) -> Iterator[str]:
    yield (
        "It repeats what users were shown and chose: what was never shown was not "
        "liked either."
    )
    yield from _limits_of_data(recommender)
    if model is None:
        return
    if len(model.content) and model.content.modalities:
        mask = model.content.mask
        nothing = 1 - mask.any(axis=1).mean()
        if nothing:
            yield f"{format_share(nothing)} of the items have no content at all."
        for name, there in zip(
            model.content.modalities, mask.mean(axis=0), strict=True
        ):
            if there < 0.5:
                yield f"Most items lack {name}, so little was learned of it."
    yield from _limits_of_encoders({} if facts is None else facts.origins)


def _limits_of_data(recommender: Any) -> Iterator[str]:
    n_pairs = len(recommender.seen_.items)
    if n_pairs < _TINY:
        yield (
            f"{_count(n_pairs, 'pair')} of users and items are few: another seed may "
            "rank quite differently, and figures have wide intervals."
        )
    likes = _likes(recommender)
    few = float((likes < _SHORT).mean()) if len(likes) else 0.0
    if few >= 0.1:
        yield f"{format_share(few)} of the users have fewer than {_SHORT} likes."


def _limits_of_encoders(origins: Mapping[str, Any]) -> Iterator[str]:
    for name, origin in origins.items():
        for model in origin["models"]:
            encoder, languages = model["encoder"], model["languages"]
            if not model["is_trained"]:
                yield (
                    f"{name} is encoded by an untrained network: a fixed random filter "
                    "bank, which tells contents apart but knows nothing of them."
                )
            elif encoder == "TextEncoder" and languages:
                yield (
                    f"{name}: the model states that it reads {_some(languages)}; "
                    "vectors of other languages say little."
                )
            elif encoder == "TextEncoder":
                yield f"{name}: the model does not state which languages it reads."


def _versions(facts: Facts | None) -> Iterator[tuple[str, str]]:
    yield from (versions() if facts is None else facts.versions).items()


def _some(names: Sequence[str]) -> str:
    """List names, or the first and how many more there are."""
    more = len(names) - _LISTED
    listed = ", ".join(names[:_LISTED] if more > 0 else names)
    return f"{listed} and {more} more" if more > 0 else listed


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def _time(time: str | float) -> str:
    return time if isinstance(time, str) else f"{time:g}"
