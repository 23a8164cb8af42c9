"""A fitted recommender at a glance, for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = (
    "border-collapse:collapse;margin:0.6em 0;font-family:sans-serif;font-size:0.9em"
)
CELL = "padding:0.15em 1em 0.15em 0;text-align:left;vertical-align:top"


def describe_html(recommender: Any, scores: Mapping[str, float] | None = None) -> str:
    """Describe a recommender as an HTML table.

    Parameters
    ----------
    recommender : estimator
        A recommender. What it does not have is left out of the table.
    scores : mapping of str to float, default=None
        Further figures, such as ``evaluate_ranking(...).mean()``.

    Returns
    -------
    str
        A table of the catalogue, the modalities with the share of items that lack each,
        the fusion, the training, the figures and what the fit chose by itself; "" if it
        is not fitted.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.inspection import describe_html
    >>> from skmmrec.recommender import PopularityRecommender
    >>> X = pd.DataFrame({"user_id": [1, 2, 2], "item_id": ["a", "a", "b"]})
    >>> text = describe_html(PopularityRecommender().fit(X), {"ndcg@10": 0.25})
    >>> text.count("<tr>"), "2 items, 2 users, 3 likes" in text, "0.25" in text
    (2, True, True)
    """
    if not hasattr(recommender, "item_index_"):
        return ""
    rows = [*_catalog(recommender), *_model(recommender), *_figures(recommender)]
    rows += choice_rows(recommender)
    rows += [
        (name, _number(value))
        for name, value in dict({} if scores is None else scores).items()
    ]
    cells = "".join(
        f'<tr><th style="{CELL}" scope="row">{escape(str(name))}</th>'
        f'<td style="{CELL}">{escape(str(value))}</td></tr>'
        for name, value in rows
    )
    title = escape(type(recommender).__name__)
    return (
        f'<table style="{_STYLE}"><caption style="{CELL}">{title}, fitted</caption>'
        f"<tbody>{cells}</tbody></table>"
    )


def _catalog(recommender: Any) -> Iterator[tuple[str, str]]:
    n_items, n_users = len(recommender.item_index_), len(recommender.user_index_)
    n_likes = recommender.history_.liked.sum()
    yield "Catalogue", f"{n_items:,} items, {n_users:,} users, {n_likes:,} likes"
    model = getattr(recommender, "model_", None)
    if model is None or not model.content.modalities:
        return
    content = model.content
    missing = 1 - content.mask.mean(axis=0)
    parts = [
        f"{name} ({width} wide, {format_share(share)} missing)"
        for (name, width), share in zip(content.widths.items(), missing, strict=True)
    ]
    yield "Modalities", "; ".join(parts)


def format_share(share: float) -> str:
    """Format a share in per cent, never rounding it to "0%" or "100%"."""
    if 0 < share < 0.005:
        return "under 1%"
    return f"{share:.0%}" if share <= 0.995 or share == 1 else "over 99%"


def _model(recommender: Any) -> Iterator[tuple[str, str]]:
    if hasattr(recommender, "fusion"):
        fusion = recommender.fusion
        named = fusion if isinstance(fusion, type) else type(fusion)
        name = fusion if isinstance(fusion, str) else named.__name__
        width = recommender.item_vectors_.shape[1]
        yield "Fusion", f"{name}, vectors of {width}"
    if hasattr(recommender, "objective"):
        yield "Objective", str(recommender.objective)


def _figures(recommender: Any) -> Iterator[tuple[str, str]]:
    losses = getattr(recommender, "loss_curve_", None)
    if losses:
        first, last = _number(losses[0]), _number(losses[-1])
        yield "Training", f"{len(losses)} epochs, loss {first} to {last}"
    validation = getattr(recommender, "validation_curve_", None)
    if validation:
        best = max(range(len(validation)), key=validation.__getitem__)
        value = _number(abs(validation[best]))
        metric = validation_name(recommender)
        yield "Validation", f"{metric} {value} after epoch {best + 1}"


def validation_name(recommender: Any) -> str:
    """Name what the validation curve shows; losses are kept below 0."""
    stopping = getattr(recommender, "early_stopping", None)
    if stopping is not None and stopping.metric != "auto":
        return str(stopping.metric)
    return "loss" if max(recommender.validation_curve_) < 0 else "ndcg@10"


def choice_rows(recommender: Any) -> list[tuple[str, str]]:
    """Return name and line of each choice of the fit; none without a model."""
    choices = getattr(getattr(recommender, "model_", None), "choices", {})
    return [(f"Chosen: {name}", str(choice)) for name, choice in choices.items()]


def _number(value: float) -> str:
    return f"{value:.4g}"
