"""What is written to the model that is served: events, and new items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import pandas as pd
from numpy.typing import ArrayLike

from skmmrec.feature_store.backends.base import (
    CATEGORY,
    LAST_EVENT,
    VECTOR,
    Column,
    Snapshot,
)
from skmmrec.interactions import check_count

from ._categories import category_texts
from ._item_features import added_columns
from ._reader import checked_ids
from ._served import ServedModel, item_matrix
from ._similar import Similarity
from ._types import CategoriesByItem, Contents, Ids, SingleId


class OnlineWriter:
    """The part of `OnlineRecommender` that writes."""

    _served: ServedModel

    def add_items(
        self,
        ids: Ids,
        vectors: ArrayLike,
        biases: ArrayLike = 0.0,
        categories: CategoriesByItem | None = None,
        *,
        features: pd.DataFrame | None = None,
        content: Contents | None = None,
    ) -> None:
        """Add items to the served model, by their content vectors.

        Parameters
        ----------
        ids : array-like of shape (n,)
            An item that is there already gets the new vector.
        vectors : array-like of shape (n, dim - 1)
            What ``recommender.item_vectors_`` has for the items after the recommender's
            own `add_items`.
        biases : float or array-like of shape (n,), default=0.0
            The items' head start: what ``recommender.item_biases_`` has for them. With
            0, new items may stand far above or below where the recommender puts them.
        categories : mapping or Series, optional
            Category by item id, where the model was published with categories. Without
            one, a new item is found in no category.
        features : DataFrame, optional
            Further features by item id, of those that the model was published with.
        content : mapping of str to DataFrame or array-like, or blocks, optional
            Further vectors, of those that the model was published with, by item id or
            in the order of `ids`.

        Raises
        ------
        TypeError
            For ids of another type than the stored ones, or `categories`, `features` or
            `content` of another type.
        ValueError
            For an id that is missing, not whole, infinite or comes twice, vectors or
            biases of another shape or not finite, a category, feature or vector of an
            item that is not added, or that the model was published without.

        Notes
        -----
        Added items are gone with the next `publish` or `rollback`, unless the
        recommender that is then served has them. The memory of items says nothing of
        those that it does not know; what an item says stays when its vector is
        replaced.
        """
        served = self._served
        table = served.pinned(served.items, current=True)
        view, values = served.item_view, checked_ids(served.item_view, ids)
        repeated = pd.Index(values)[pd.Index(values).duplicated()].tolist()
        if repeated:
            raise ValueError(f"ids has item {repeated[0]!r:.100} more than once")
        matrix = item_matrix(values, vectors, biases, table.dim - 1)
        columns = added_columns(view, features, content, values)
        if categories is not None:
            texts = category_texts(categories, values)
            columns = (*columns, Column(CATEGORY, "string", texts))
        refuse = partial(self._refuse_absent, columns)
        served.pinned(refuse, current=True)
        with served.backend.exclusive():
            snapshot = served.adopt(served.served())
            served.write_items(values, matrix, snapshot, columns)

    def _refuse_absent(self, columns: Sequence[Column], snapshot: Snapshot) -> None:
        """Refuse features and vectors that nothing was published with."""
        served, table = self._served, self._served.items(snapshot)
        conditions = served.conditions(table, snapshot)
        similarity = Similarity(served.backend, served.item_view, table, snapshot)
        for column in columns:
            if column.kind == VECTOR:
                similarity.further(column.name)
            else:
                conditions.of(column.name)

    def record(self, user: SingleId, item: SingleId, y: float = 1.0) -> bool:
        """Record an event, and update the user's list at once, without training.

        Parameters
        ----------
        user, item : id
            The user may be new.
        y : float, default=1.0
            Only a positive event moves the vector, and what the memory of items adds;
            the item counts as seen in any case.

        Returns
        -------
        bool
            Whether the user was moved: not by an item that the user has seen. In a
            model whose users are not sums of their items' vectors, and without
            `OnlineRecommender`'s ``model``, nothing is moved but what a memory of items
            adds, of users that are known.

        Raises
        ------
        KeyError
            For an item without a vector.
        ValueError
            For a `y` that is not finite, or an id that is missing, not whole or
            infinite; nothing is recorded then.

        Notes
        -----
        The vector lasts until the next `publish` or `rollback`, which serves the users
        that the recommender has: a user known from `record` alone is then unknown,
        unless the recommender was given the events. The event stays; see `feedback`.

        Of the items, the row of this one alone is read. An `OnlineRecommender` that was
        asked for a list before first brings all items up to date, if another
        publication is served by now.
        """
        value = float(y)
        if not math.isfinite(value):
            raise ValueError(f"y must be finite, got {y!r}")
        return bool(self._served.record(user, item, value))

    def record_pushed(self) -> int:
        """Record the events that were pushed to ``feedback_events_push``.

        Returns
        -------
        int
            How many were recorded. Those of items without a vector stay until there is
            one.

        Warns
        -----
        UserWarning
            For events without a user, an item or a finite y. They stay too, and the
            others are recorded all the same. To replace an event, push it again under
            the same event_id.

        Notes
        -----
        A pushed row has the columns event_id, which tells events apart, event_user_id,
        event_item_id, event_y and event_timestamp. Those that wait are recorded in the
        order of their times, and of their ids where these are the same, each exactly
        once: one that was recorded does not count again, when it is pushed again or
        `feast materialize` brings it back, until `prune_feedback` has forgotten it
        everywhere.
        """
        return self._served.record_pushed()

    def feedback(self, *, after: int = 0, limit: int | None = None) -> pd.DataFrame:
        """Return the recorded events that the served model has not taken in.

        Parameters
        ----------
        after : int, default=0
            Leave out the events up to this number, such as the last one of the page
            before.
        limit : int, optional
            Return at most so many events, the first ones. None: all, which take 100 MB
            of memory for each million while they are read.

        Returns
        -------
        DataFrame
            Columns user_id, item_id, y and timestamp, in the order they came. The
            index, `event`, numbers all events of the repository.

        Raises
        ------
        TypeError, ValueError
            For an `after` or a `limit` that is no such number.

        Notes
        -----
        Give the events to the recommender, and tell `publish` that you did::

            events = online.feedback()
            recommender.partial_fit(events.drop(columns="y"), events["y"])
            publish(recommender, repo, feedback=events)

        What is recorded between the first line and the last comes back after it. So
        does everything if `publish` is not told: no event is lost. After a `rollback`,
        events come back that the model now served has not taken in.

        The time of an event is that of the machine which recorded it, or that of the
        event before where this machine's clock was behind: sorted by their times,
        the events of one answer are in the order they came, whatever the clocks.
        """
        check_count(after, "after", at_least=0)
        if limit is not None:
            check_count(limit, "limit")
        most = None if limit is None else int(min(limit, LAST_EVENT))
        return self._served.feedback(int(min(after, LAST_EVENT)), most)

    def retrain_due(self, min_events: int = 1000) -> bool:  # a round number
        """Tell whether enough feedback waits to be taken into the model.

        Parameters
        ----------
        min_events : int, default=1000
            Events that the served model has not taken in.

        Returns
        -------
        bool
            Whether there are at least so many.
        """
        return min_events <= 0 or len(self.feedback(limit=min_events)) >= min_events
