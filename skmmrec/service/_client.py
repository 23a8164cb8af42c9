"""A client with the interface of `OnlineRecommender`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from skmmrec.feature_store import content_query
from skmmrec.interactions import ITEM, USER, check_count, plain

from ._client_messages import (
    body_of,
    condition_of,
    content_of,
    event_table,
    ids_of,
    ranked,
    request_of,
    rows_of,
    values_of,
)

if TYPE_CHECKING:
    from skmmrec.feature_store import (
        Content,
        Contents,
        Filter,
        Ids,
        SingleId,
        WantedCategories,
    )

# Answers after which the same question may be asked again.
_WORTH_ANOTHER = (429, 502, 503, 504)
# Seconds before the second of these tries; each further one waits twice as long.
_PAUSE = 0.1
# Seconds that a Retry-After may ask for: as long as an answer may take by default. What
# stands between here and the service may ask for hours.
_LONGEST_PAUSE = 15.0
# Connections that end within an answer are no `requests.ConnectionError`.
_BROKEN_OFF = (
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class _Bearer(AuthBase):
    """Send a token; as a header alone, `requests` would put that of .netrc over it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Retry(Retry):
    """Wait as long as the service says, but not for whatever is said."""

    def get_retry_after(self, response: Any) -> float | None:
        seconds = super().get_retry_after(response)
        return None if seconds is None else min(seconds, _LONGEST_PAUSE)


class ServiceClient:
    """Ask a service as one asks an `OnlineRecommender`.

    Methods, tables and errors are those of
    `skmmrec.feature_store.OnlineRecommender`: code that recommends need not know which
    of them it has. Neither Feast nor torch is loaded.

    Parameters
    ----------
    url : str
        Where the service is, such as "http://127.0.0.1:8000".
    token : str, optional
        Bearer token.
    timeout : float, default=15.0
        Seconds to wait for an answer; more than the service's own deadline.
    retries : int, default=2
        How often to ask again where the service is busy or cannot be reached, after as
        long as it says, but 15 s at most. An event is only recorded again where the
        first try did not reach the service.

    Raises
    ------
    ValueError
        For a `url` that is none of http or https.

    Notes
    -----
    Besides the errors of `OnlineRecommender`, all methods raise

    - PermissionError, for a token that is missing, wrong or not good for it;
    - TimeoutError and ConnectionError, where no answer comes;
    - `ServiceError`, for all else. Its ``request_id`` finds the request in the logs.

    What `add_items`, `recall` and `record_pushed` do is for who has the store.

    Examples
    --------
    >>> from skmmrec.service import ServiceClient
    >>> client = ServiceClient("http://127.0.0.1:8000", token="...")
    >>> client.recommend(["ann"], k=5, where="price < 30")  # doctest: +SKIP
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 15.0,
        retries: int = 2,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, got {url!r}")
        self.url, self.timeout = url.rstrip("/"), timeout
        auth = None if token is None else _Bearer(token)
        # Any request may be tried again if it did not reach the service.
        self._once = _session(auth, Retry(0, connect=retries, backoff_factor=_PAUSE))
        self._again = _session(
            auth,
            _Retry(
                retries,
                allowed_methods=None,
                status_forcelist=_WORTH_ANOTHER,
                backoff_factor=_PAUSE,
                raise_on_status=False,
            ),
        )

    def __repr__(self) -> str:
        return f"ServiceClient({self.url!r})"

    def close(self) -> None:
        """Close all connections."""
        self._once.close()
        self._again.close()

    def __enter__(self) -> ServiceClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model_version(self) -> str | None:
        """Version of the model that requests are answered by; None: there is none."""
        try:
            version: str = self._ask("GET", "/readyz")["model_version"]
        except LookupError:
            return None
        return version

    def recommend(
        self,
        users: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
        exclude_seen: bool = True,
        fresh: float = 0,
        fresh_met: int = 0,
    ) -> pd.DataFrame:
        """Recommend items to users.

        Parameters and errors are those of `OnlineRecommender.recommend`. What users
        without a vector get is for the service to say.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, rank (from 1) and score (float32).
        """
        asked = request_of(
            users=ids_of(users, USER),
            k=k,
            items=ids_of(items, ITEM),
            category=values_of(category),
            where=condition_of(where),
            exclude_seen=exclude_seen,
            fresh=plain(fresh) or None,
            fresh_met=plain(fresh_met) or None,
        )
        return ranked(self._ask("POST", "/recommend", asked), "recommendations", USER)

    def recommend_from_history(
        self,
        history: Ids,
        k: int = 10,
        *,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
        exclude_seen: bool = True,
        fresh: float = 0,
        fresh_met: int = 0,
    ) -> pd.DataFrame:
        """Recommend items to somebody unknown, by what they saw.

        Parameters and errors are those of `OnlineRecommender.recommend_from_history`.

        Returns
        -------
        DataFrame
            Columns item_id, rank (from 1) and score (float32).
        """
        asked = request_of(
            history=ids_of(history, ITEM),
            k=k,
            items=ids_of(items, ITEM),
            category=values_of(category),
            where=condition_of(where),
            exclude_seen=exclude_seen,
            fresh=plain(fresh) or None,
            fresh_met=plain(fresh_met) or None,
        )
        return ranked(self._ask("POST", "/recommend", asked), "recommendations")

    def similar_items(
        self,
        query: Ids | None = None,
        /,
        k: int = 10,
        *,
        content: Content | Contents | None = None,
        weights: Mapping[str, float] | None = None,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
    ) -> pd.DataFrame:
        """Find the items that are most like others, or like vectors of content.

        Parameters and errors are those of `OnlineRecommender.similar_items`.

        Returns
        -------
        DataFrame
            Columns query, item_id, rank (from 1) and score (float32), best first.

        See Also
        --------
        similar_to : By words and files.
        """
        rows = None if content is None else content_query(content)
        vectors = {} if rows is None else rows.content
        asked = request_of(
            query=ids_of(query, ITEM),
            vectors={name: rows_of(each) for name, each in vectors.items()} or None,
            weights=None if weights is None else dict(weights),
            k=k,
            items=ids_of(items, ITEM),
            category=values_of(category),
            where=condition_of(where),
        )
        found = ranked(self._ask("POST", "/similar", asked), "similar", "query")
        if rows is not None:
            found["query"] = [rows.keys[row] for row in found["query"]]
        return found

    def similar_to(
        self,
        content: Mapping[str, str | bytes | PathLike[str]],
        k: int = 10,
        *,
        weights: Mapping[str, float] | None = None,
        items: Ids | None = None,
        category: WantedCategories | None = None,
        where: Filter | None = None,
    ) -> pd.DataFrame:
        """Find the items that are most like words and files.

        Parameters
        ----------
        content : mapping of str to str, bytes or path
            By the name of the vectors to compare with: words as str, files as their
            bytes or a `pathlib.Path`. The service must have encoders for them.
        k, weights, items, category, where
            As in `similar_items`.

        Returns
        -------
        DataFrame
            Columns query (0), item_id, rank (from 1) and score (float32), best first.

        Raises
        ------
        ValueError
            For content that cannot be read, or as in `similar_items`.
        ServiceError
            Where the service has no encoder for it.
        """
        words = {name: each for name, each in content.items() if isinstance(each, str)}
        files = {
            name: each if isinstance(each, bytes) else Path(each).read_bytes()
            for name, each in content.items()
            if not isinstance(each, str)
        }
        asked = request_of(
            content=words or None,
            weights=None if weights is None else dict(weights),
            k=k,
            items=ids_of(items, ITEM),
            category=values_of(category),
            where=condition_of(where),
        )
        answer = self._ask("POST", "/similar", asked, files=files)
        return ranked(answer, "similar", "query")

    def record(self, user: SingleId, item: SingleId, y: float = 1.0) -> bool:
        """Record an event, and update the user's list at once.

        Parameters and errors are those of `OnlineRecommender.record`.

        Returns
        -------
        bool
            Whether the vector was moved.

        Raises
        ------
        TimeoutError, ConnectionError
            Where no answer came, or not all of it: the event may have been recorded.
        """
        value = float(y)
        if not math.isfinite(value):
            raise ValueError(f"y must be finite, got {y!r}")
        [user_id], [item_id] = ids_of([user], USER), ids_of([item], ITEM)
        asked = {"user": user_id, "item": item_id, "y": value}
        return bool(self._ask("POST", "/feedback", asked, is_event=True)["moved"])

    def feedback(self, *, after: int = 0, limit: int | None = None) -> pd.DataFrame:
        """Return the recorded events that the served model has not taken in.

        The service gives them page by page; all pages are asked for, one after the
        other. Parameters and errors are those of `OnlineRecommender.feedback`.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, y and timestamp; the index, `event`, numbers all
            events of the repository.
        """
        check_count(after, "after", at_least=0)
        if limit is not None:
            check_count(limit, "limit")
        return event_table(self._events(int(after), limit))

    def _events(self, after: int, limit: int | None) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            left = None if limit is None else int(limit) - len(found)
            page = {"after": after, "limit": left}
            answer = self._ask("GET", "/feedback", params=page)
            found += answer["events"]
            after = answer.get("next")  # older services give all at once
            if after is None or len(found) == limit:
                return found

    def retrain_due(self, min_events: int = 1000) -> bool:  # as in OnlineRecommender
        """Tell whether enough feedback waits to be taken into the model."""
        return min_events <= 0 or len(self.feedback(limit=min_events)) >= min_events

    def history_contributions(self, users: Ids, items: Ids) -> pd.DataFrame:
        """Split the scores of pairs over the items of the users' histories.

        Parameters and errors are those of `OnlineRecommender.history_contributions`.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, met and contribution (float64).
        """
        answer = self._explanations(users, items)
        rows = [
            (each[USER], each[ITEM], met, contribution)
            for each in answer["explanations"]
            for met, contribution in [
                *((one[ITEM], one["contribution"]) for one in each["history"]),
                (None, each["rest"]),
            ]
        ]
        table = pd.DataFrame(rows, columns=[USER, ITEM, "met", "contribution"])
        table = table.astype({"met": object, "contribution": np.float64})
        table["met"] = table["met"].where(table["met"].notna(), None)
        table.attrs["model_version"] = answer["model_version"]
        return table

    def explain(self, users: Ids, items: Ids) -> pd.DataFrame:
        """Say in one sentence, and by modality, why items have their scores.

        Parameters
        ----------
        users, items : array-like of shape (n,), or one id
            The pairs. One id goes with all of the others.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, reason, and one for what each modality and the
            interactions add to the score. `reason` is None, and there is no other
            column, where the service has no saved model of the version it serves.
        """
        answer = self._explanations(users, items)
        rows = [
            {name: each[name] for name in (USER, ITEM, "reason")}
            | (each["modalities"] or {})
            for each in answer["explanations"]
        ]
        table = pd.DataFrame(rows, columns=None if rows else [USER, ITEM, "reason"])
        table.attrs["model_version"] = answer["model_version"]
        return table

    def _explanations(self, users: Ids, items: Ids) -> Any:
        asked = {"users": ids_of(users, USER), "items": ids_of(items, ITEM)}
        return self._ask("POST", "/explain", asked)

    def _ask(
        self,
        method: str,
        path: str,
        asked: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, bytes] | None = None,
        params: Mapping[str, int | None] | None = None,
        is_event: bool = False,
    ) -> Any:
        session = self._once if is_event else self._again
        try:
            answer = session.request(
                method,
                f"{self.url}{path}",
                params=params,
                timeout=self.timeout,
                allow_redirects=False,
                **body_of(asked, files),
            )
        except requests.Timeout as error:
            raise TimeoutError(f"no answer from {self.url}{path}: {error}") from error
        except requests.ConnectionError as error:
            raise ConnectionError(f"{self.url} cannot be reached: {error}") from error
        except _BROKEN_OFF as error:
            raise ConnectionError(
                f"the answer from {self.url}{path} broke off: {error}"
            ) from error
        return content_of(answer)


def _session(auth: AuthBase | None, retry: Retry) -> requests.Session:
    session = requests.Session()
    session.auth = auth
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
