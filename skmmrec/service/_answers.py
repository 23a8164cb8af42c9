"""Answers to requests, in the terms of `OnlineRecommender`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from feast.filter_models import ComparisonFilter, CompoundFilter
from pydantic import ValidationError

from skmmrec.feature_store import OnlineRecommender, open_store

from ._encoding import Encoders
from ._messages import (
    ExplainRequest,
    FeedbackQuery,
    FeedbackRequest,
    RecommendRequest,
    SimilarRequest,
    Where,
)
from ._problems import ProblemError, told_to_callers
from ._settings import ServiceSettings

if TYPE_CHECKING:
    from ._explaining import ModelFolder, SavedModel

_LOG = logging.getLogger("skmmrec.service")
T = TypeVar("T")
# Parts of a filter of Feast, as many as the store takes. Before they are counted there,
# Feast reads them, and makes an error of each.
_MOST_PARTS = 1000


class Answers:
    """What a repository answers, each method in the thread that calls it.

    Parameters
    ----------
    repo : FeatureStore, str or path
    settings : ServiceSettings
    encoders : Encoders
    """

    def __init__(
        self, repo: Any, settings: ServiceSettings, encoders: Encoders
    ) -> None:
        self._settings, self.encoders = settings, encoders
        index: Any = "auto" if settings.search == "auto" else None
        self._saved: ModelFolder | None = None
        makes_users: Any = None
        if settings.model is not None:
            from ._explaining import ModelFolder  # loads what few need

            self._saved = ModelFolder(settings.model)
            makes_users = settings.model if self._saved.model.makes_users else None
        self.online = OnlineRecommender(
            open_store(repo), unknown=settings.unknown, index=index, model=makes_users
        )

    def version(self) -> str | None:
        """Return the version that answers; it loads a new publication, if there is."""
        return self.online.model_version

    def ready(self) -> str:
        """Read what is served into memory; a LookupError where nothing is."""
        version: str = self.online.recommend([], k=1).attrs["model_version"]
        return version

    def recommend(self, asked: RecommendRequest) -> dict[str, Any]:
        """Answer `/recommend`."""
        self._check_k(asked.k)
        if (asked.users is None) == (asked.history is None):
            raise ProblemError("invalid-value", "give users or a history, and not both")
        options: dict[str, Any] = {
            "k": asked.k,
            "items": asked.items,
            "category": asked.category,
            "where": _filter(asked.where),
            "exclude_seen": asked.exclude_seen,
            "fresh": asked.fresh,
            "fresh_met": asked.fresh_met,
        }
        if asked.history is None:
            users: Any = self._some(asked.users, "users")
            self._check_rows(users, asked.k)
            with told_to_callers():
                found = self.online.recommend(users, **options)
        else:
            history: Any = self._some(asked.history, "history")
            with told_to_callers():
                found = self.online.recommend_from_history(history, **options)
        return {**found.attrs, "recommendations": _records(found)}

    def similar(
        self, asked: SimilarRequest, files: Mapping[str, bytes]
    ) -> dict[str, Any]:
        """Answer `/similar`."""
        self._check_k(asked.k)
        for each in (asked.query, *(asked.vectors or {}).values()):
            self._check_rows(each, asked.k)
        content: Any = self.encoders.vectors(asked.content or {}, files)
        for name, rows in (asked.vectors or {}).items():
            if name in content:
                raise ProblemError("invalid-value", f"{name!r} is given twice")
            content[name] = _matrix(self._some(rows, f"vectors.{name}"), name)
        query: Any = None if asked.query is None else self._some(asked.query, "query")
        where = _filter(asked.where)
        with told_to_callers():
            found = self.online.similar_items(
                query,
                k=asked.k,
                content=content or None,
                weights=asked.weights,
                items=asked.items,
                category=asked.category,
                where=where,
            )
        return {**found.attrs, "similar": _records(found)}

    def record(self, asked: FeedbackRequest) -> dict[str, Any]:
        """Answer `/feedback`: record an event."""
        with told_to_callers():
            moved = self.online.record(asked.user, asked.item, asked.y)  # type: ignore[arg-type]
        return {"model_version": self.version(), "moved": moved}

    def feedback(self, asked: FeedbackQuery) -> dict[str, Any]:
        """Answer `/feedback`: the first events that wait, and where others begin."""
        most = min(asked.limit or self._settings.max_rows, self._settings.max_rows)
        events = self.online.feedback(after=asked.after, limit=most + 1)
        page = events.iloc[:most]
        last = int(page.index[-1]) if len(page) < len(events) else None
        page = page.reset_index()
        page["timestamp"] = [time.isoformat() for time in page["timestamp"]]
        return {
            "model_version": self.version(),
            "events": _records(page),
            "next": last,
        }

    def explain(self, asked: ExplainRequest) -> dict[str, Any]:
        """Answer `/explain`."""
        self._some(asked.users, "users")
        self._some(asked.items, "items")
        model = self._served_model()
        source = "store"
        users, items, most = asked.users, asked.items, self._settings.max_rows
        with told_to_callers():
            try:
                why = self.online.history_contributions(users, items, max_rows=most)
            except ValueError:
                if model is None:
                    raise
                source, why = "model", model.history(users, items, most)
        version = why.attrs.get("model_version", model and model.version)
        explanations = _explanations(why)
        if model is not None and model.version == version:
            model.add_reasons(explanations)
        return {
            "model_version": version,
            "source": source,
            "explanations": explanations,
        }

    def _served_model(self) -> SavedModel | None:
        """Return the saved model if it is the one that is served."""
        if self._saved is None:
            return None
        version = self.version()
        model = self._saved.of(version)
        if model is None:
            fields = {"saved": self._saved.model.version, "served": version}
            _LOG.warning("the saved model is not served", extra={"fields": fields})
        return model

    def _check_k(self, k: int) -> None:
        most = self._settings.max_k
        if k > most:
            raise ProblemError("invalid-value", f"k may be {most} at most, got {k}")

    def _check_rows(self, asked: Any, k: int) -> None:
        n, most = _count(asked) * k, self._settings.max_rows
        if n > most:
            raise ProblemError(
                "invalid-value", f"an answer may have {most} rows, this has up to {n}"
            )

    def _some(self, values: T, name: str) -> T:
        """Refuse more than may be asked about at once."""
        n, most = _count(values), self._settings.max_ids
        if n > most:
            raise ProblemError("invalid-value", f"{name} may be {most}, got {n}")
        return values


def _filter(where: Where) -> Any:
    """Return a condition as the store takes it: a text, or a filter of Feast."""
    if not isinstance(where, dict):
        return where
    if _n_parts(where) > _MOST_PARTS:
        raise ProblemError("invalid-value", f"where may have {_MOST_PARTS} parts")
    kind = CompoundFilter if "filters" in where else ComparisonFilter
    try:
        return kind(**where)
    except ValidationError as error:
        why = error.errors(include_input=False, include_url=False)[0]["msg"]
        raise ProblemError("invalid-value", f"where is no filter: {why}") from error


def _n_parts(where: dict[str, Any]) -> int:
    """Count the parts of a filter, without Python's stack."""
    n, waiting = 0, [where]
    while waiting:
        listed = waiting.pop().get("filters")
        if isinstance(listed, list):
            n += len(listed)
            waiting += [part for part in listed if isinstance(part, dict)]
    return n


def _count(values: Any) -> int:
    return len(values) if isinstance(values, list) else 1


def _matrix(rows: Sequence[Sequence[float | None]], name: str) -> np.ndarray:
    if len({len(row) for row in rows}) > 1:
        raise ProblemError("invalid-value", f"vectors.{name} has rows of two lengths")
    with np.errstate(over="ignore"):  # what is infinite is refused by name
        return np.array(rows, dtype=np.float32)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as Python's own values; float32 keep all their digits."""
    columns = [table[name].tolist() for name in table]
    names = [str(name) for name in table]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _explanations(why: pd.DataFrame) -> list[dict[str, Any]]:
    """Group rows by pair: each ends in the row that has met nothing."""
    explanations: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []
    for row in _records(why):
        if row["met"] is not None:
            added = {"item_id": row["met"], "contribution": row["contribution"]}
            history.append(added)
            continue
        explanations.append(
            {
                "user_id": row["user_id"],
                "item_id": row["item_id"],
                "history": history,
                "rest": row["contribution"],
                "reason": None,
                "modalities": None,
            }
        )
        history = []
    return explanations
