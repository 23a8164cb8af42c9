"""Which encoder the likes speak for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from skmmrec.metrics import bootstrap_interval, simultaneous_interval

# More would not show: 1,000 samples place a bound at level 0.95 within about a
# twentieth of the interval's width.
_N_RESAMPLES = 1000


class Sample(NamedTuple):
    """Whose likes were judged.

    Attributes
    ----------
    n_items : int
        Items that were encoded.
    n_never_liked : int
        Those of them that no row likes: they are ranked, but nobody is to find them.
    n_likes : int
        Distinct pairs of users and items.
    """

    n_items: int
    n_never_liked: int
    n_likes: int


class EncoderComparison:
    """Encoders ranked on held-out likes, with intervals and costs.

    Returned by :func:`compare_encoders`.

    Parameters
    ----------
    per_user : dict of str to DataFrame
        By way of judging, the metric of each user (rows) and candidate (columns).
    costs : DataFrame
        Indexed by candidate.
    metric : str
        Such as "ndcg@10".
    sample : Sample
        Numbers of items and likes.
    level : float, default=0.95
        Confidence of all intervals.
    random_state : int, default=0
        Seed of the bootstrap.

    Attributes
    ----------
    table : DataFrame of shape (n_candidates, n_columns)
        Best first, by ``cold`` if it was judged. The mean of the metric, ``warm`` and
        ``cold``; ``level_with_best``, the ways of judging in which the candidate is the
        best or within noise of it;
        ``width``; and what it costs: ``seconds_per_item``, ``bytes_per_item`` and
        ``missing``, the share of items without a vector.
    intervals : DataFrame of shape (n_ways * n_candidates, 7)
        Indexed by way of judging and candidate: ``mean`` with ``low`` and ``high``,
        ``difference`` to the best with ``difference_low`` and ``difference_high``, and
        ``is_noise``, whether the difference may be 0.
    per_user : dict of str to DataFrame
        As given.
    best : dict of str to str
        By way of judging, the candidate with the highest mean.
    cheapest : dict of str to str
        By way of judging, the one that takes the least time, then the fewest bytes, of
        those within noise of the best.

    Notes
    -----
    ``low`` and ``high`` bound each mean by the bootstrap over users, as in
    `skmmrec.metrics.evaluate_ranking`. Those of the differences hold for all pairs of
    candidates at once, so that with many candidates none stands out by chance. The same
    users chose the best candidate, so its lead is estimated a little too large.
    """

    def __init__(
        self,
        per_user: dict[str, pd.DataFrame],
        costs: pd.DataFrame,
        metric: str,
        sample: Sample,
        *,
        level: float = 0.95,
        random_state: int = 0,
    ) -> None:
        self.per_user = per_user
        self.metric = metric
        self.sample = sample
        self.level = level
        self._seed = random_state
        means = pd.DataFrame({way: table.mean() for way, table in per_user.items()})
        order = _best_first(means, costs)
        self._means, self._costs = means.loc[order], costs.loc[order]
        self.best = {way: str(column.idxmax()) for way, column in self._means.items()}
        self.intervals = pd.concat(
            {way: self._intervals_of(way) for way in per_user},
            names=["judged", "encoder"],
        )
        self.cheapest = {way: self._cheapest_of(way) for way in per_user}
        self.table = self._means.assign(level_with_best=self._level()).join(self._costs)

    def differences(self, to: str, way: str) -> pd.DataFrame:
        """Compare all candidates with one of them, user by user.

        Parameters
        ----------
        to : str
            Name of the candidate to compare with, such as "beside alone".
        way : {"warm", "cold"}
            How it was judged.

        Returns
        -------
        DataFrame of shape (n_candidates, 3)
            Columns difference (the candidate minus `to`), low and high. All intervals
            hold at once, of all pairs of candidates: `to` may be chosen by the values.

        Raises
        ------
        ValueError
            For a name or a way that is not there.
        """
        if way not in self.per_user:
            raise ValueError(f"way must be one of {list(self.per_user)}, got {way!r}")
        values = self.per_user[way][self._means.index]
        if to not in values:
            raise ValueError(f"to must be one of {list(values)}, got {to!r}")
        place = int(values.columns.get_loc(to))
        rng = np.random.default_rng(self._seed)
        low, high = simultaneous_interval(
            values.to_numpy(), self.level, _N_RESAMPLES, rng, place
        )
        means = values.mean()
        return pd.DataFrame(
            {"difference": means - means[to], "low": low, "high": high},
        ).rename_axis("encoder")

    def _intervals_of(self, way: str) -> pd.DataFrame:
        values = self.per_user[way][self._means.index]
        rng = np.random.default_rng(self._seed)
        low, high = bootstrap_interval(values.to_numpy(), self.level, _N_RESAMPLES, rng)
        paired = self.differences(self.best[way], way)
        return pd.DataFrame({"mean": values.mean(), "low": low, "high": high}).assign(
            difference=paired["difference"],
            difference_low=paired["low"],
            difference_high=paired["high"],
            is_noise=paired["high"] >= 0,
        )

    def _cheapest_of(self, way: str) -> str:
        table = self.intervals.loc[way]
        costs = self._costs.loc[table.index[table["is_noise"]]]
        by = ["seconds_per_item", "bytes_per_item"]
        return str(costs.sort_values(by, kind="stable").index[0])

    def _level(self) -> list[str]:
        """Name the ways of judging in which each candidate is level with the best."""
        noise = self.intervals["is_noise"].unstack("judged")
        return [
            ", ".join(way for way in self.per_user if noise.loc[name, way])
            for name in self._means.index
        ]

    def summary(self) -> list[str]:
        """Say in sentences what the likes tell, and what they do not.

        Returns
        -------
        list of str
            One for whose likes were judged, and one for each way of judging.
        """
        sample = self.sample
        liked = f"{sample.n_never_liked:,} of {sample.n_items:,} items were never liked"
        return [
            f"{self.metric} on {sample.n_likes:,} likes; {liked}.",
            *(self._sentence(way) for way in self.per_user),
        ]

    def _sentence(self, way: str) -> str:
        table, best = self.intervals.loc[way], self.best[way]
        level = [n for n in table.index[table["is_noise"]] if n != best]
        start = f"{way}, {len(self.per_user[way]):,} users: {best!r} is best"
        if not level:
            return f"{start}, by more than noise."
        if len(level) == len(table) - 1:
            return f"{start}, but all are within noise of it: take the cheapest."
        return f"{start}; within noise of it: {', '.join(map(repr, level))}."

    def __repr__(self) -> str:
        shown = self.table.to_string(float_format=_short)
        return "\n".join([shown, "", *self.summary()])

    def _repr_html_(self) -> str:
        """Show the table and the sentences in a notebook."""
        from html import escape

        shown = self.table.to_html(float_format=_short)
        return shown + "".join(f"<p>{escape(line)}</p>" for line in self.summary())


def _short(number: float) -> str:
    return f"{number:.4g}"


def _best_first(means: pd.DataFrame, costs: pd.DataFrame) -> pd.Index:
    """Order by the last way of judging; ties by size, then by name.

    That is new items, if they are judged. What content tells of known items, a fit
    learns without: of four encoders of MovieLens whose `warm` values differed by a
    factor of five, all were within noise once a model was fitted.
    """
    keys = pd.DataFrame(
        {
            "value": -means.iloc[:, -1],
            "bytes": costs["bytes_per_item"],
            "name": means.index,
        },
        index=means.index,
    )
    return keys.sort_values(["value", "bytes", "name"]).index
