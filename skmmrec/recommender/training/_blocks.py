"""Batches of many steps, made at once by operations on tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skmmrec.interactions import History
from skmmrec.recommender.network import Past, TargetFacts, Targets, scale_of_left
from skmmrec.recommender.training._batch import Batch, Reach, TaskRows
from skmmrec.recommender.training._numbering import (
    fetch,
    normalised,
    number,
    ranges,
    spread,
    starts,
)

# More than any history has.
EVERYTHING = 2**62


class Pairs(NamedTuple):
    """Examples as tensors; see `Examples`."""

    users: Tensor
    items: Tensor
    answers: Tensor
    counted: Tensor
    weights: Tensor
    before: Tensor
    held: Tensor

    def at(self, rows: Tensor) -> Pairs:
        """Look up some of them."""
        return Pairs(*(part[rows] for part in self))


class Histories(NamedTuple):
    """Histories as tensors; see `History`."""

    offsets: Tensor
    lengths: Tensor
    items: Tensor
    values: Tensor | None


class Negatives:
    """Draws items, by popularity or uniformly from those that anyone liked.

    Parameters
    ----------
    history : History
        Who liked what.
    number : int
        How many are drawn for a step; all, where they are no more.
    by_popularity : bool
        Whether each is drawn as often as it is liked.
    device : torch.device
        Where they are drawn.

    Attributes
    ----------
    log_q : tensor of shape (n_items,)
        Log probability of each; 0 where all are taken.
    """

    def __init__(
        self, history: History, number: int, by_popularity: bool, device: torch.device
    ) -> None:
        popularity = torch.as_tensor(history.popularity)
        liked = popularity > 0
        n_liked = int(liked.sum())
        self.number = min(number, n_liked)
        mass = popularity if by_popularity else liked.long()
        self.total = int(mass.sum())
        self.cumulative = mass.cumsum(0).to(device)
        shares = mass.double().clamp(min=0.5) / mass.sum()
        self.log_q = torch.log(shares).float().to(device)
        self.everything: Tensor | None = None
        if n_liked <= number:
            self.everything = liked.nonzero().squeeze(1).to(device)
            self.log_q.zero_()

    def draw(self, n_steps: int, generator: torch.Generator) -> Tensor:
        """Draw for each step: (n_steps, number), in ascending order."""
        if self.everything is not None:
            return self.everything.expand(n_steps, -1)
        shape, device = (n_steps, self.number), self.cumulative.device
        draws = torch.randint(self.total, shape, generator=generator, device=device)
        return torch.searchsorted(self.cumulative, draws.sort(1)[0], right=True)


@dataclass(frozen=True)
class Tables:
    """What batches are made from, on the device where they are made.

    Attributes
    ----------
    pairs, histories, negatives : Pairs, Histories, Negatives
        What to learn from, what is known of the users, and what else they could like.
    counts_all : sequence of bool
        Whether each task learns from all pairs.
    n_items : int
        Size of the catalogue.
    generator : torch.Generator
        What is drawn comes from it.
    own_negatives, max_history, window, history_exponent, neighbours
        See `Batcher`.
    """

    pairs: Pairs
    histories: Histories
    negatives: Negatives
    counts_all: Sequence[bool]
    n_items: int
    generator: torch.Generator
    own_negatives: float
    max_history: int | None
    window: int | None
    history_exponent: float
    neighbours: Tensor | None


class Block:
    """Batches of as many pairs each, which are made together.

    Users and items are numbered through the block, step by step; a batch gets its part
    of them, numbered from 0. The host waits for their numbers, and for nothing else.

    Parameters
    ----------
    tables : Tables
        What they are made from.
    rows : tensor of shape (n_steps, size), int64
        Examples of each batch.
    whole : tensor of shape (n_steps, n), int64, or None
        Where these are one process's share of them, those of all; None: they are all.
    n_shares : int
        Processes among which they are shared. Each then weighs its pairs so many times,
        as the mean over the processes is what they learn from.
    """

    def __init__(
        self,
        tables: Tables,
        rows: Tensor,
        whole: Tensor | None = None,
        n_shares: int = 1,
    ) -> None:
        self.tables = tables
        self.whole, self.n_shares = whole, n_shares
        self.histories = tables.histories
        self.device = rows.device
        self.n_steps, self.size = rows.shape
        self.pairs = tables.pairs.at(rows)
        self.shares = self._normalised()
        self.steps = torch.arange(self.n_steps, device=self.device)
        self._find_users()
        self._draw_past()
        self._find_items()

    def batches(self) -> list[Batch]:
        """Cut the block into its batches."""
        log_q = self.tables.negatives.log_q[self.scored_items]
        columns: list[Sequence[Any]] = [
            self.items.split(self.n_needed),
            self._pasts(),
            self.users.split(self.n_users),
            self._targets(),
            self.scored[:, self.size :].unbind(0),
            self.scored.unbind(0),
            self.scored_items.unbind(0),
            log_q.unbind(0),
            self._shares_of_scored().unbind(0),
            self._excluded().unbind(0),
            self.pairs.answers.unbind(0),
            self.pairs.weights.unbind(0),
            self._tasks(),
            self._reaches(),
        ]
        return [Batch(*parts) for parts in zip(*columns, strict=True)]

    def _normalised(self, task: int | None = None) -> Tensor:
        """Weights of the pairs, of those that a task learns from, as parts of a batch.

        Of a share, too: if its own added up to 1, a pair would count the more, the less
        weighs what else is in the share, and twice as much if a task learns from it
        alone as if it does from two pairs in two shares.
        """
        own = self.pairs.weights
        own = own if task is None else own * self.pairs.counted[:, :, task]
        if self.whole is None:
            return normalised(own)
        pairs = self.tables.pairs
        of = pairs.weights[self.whole]
        of = of if task is None else of * pairs.counted[self.whole, task]
        return normalised(own, of) * self.n_shares

    # -- users -----------------------------------------------------------------------

    def _find_users(self) -> None:
        """Give the users numbers, and measure their histories and what is drawn."""
        steps, of_pair = self.steps.repeat_interleave(self.size), self.pairs.users
        ranks, counts = number(
            of_pair.flatten(), steps, len(self.histories.lengths), self.n_steps
        )
        # There are as many users as pairs at most: the rest has no history.
        users = torch.zeros_like(ranks).scatter_(0, ranks, of_pair.flatten())
        step_of = torch.zeros_like(ranks).scatter_(0, ranks, steps)
        is_user = torch.arange(len(ranks), device=self.device) < counts.sum()
        lengths = self.histories.lengths[users] * is_user
        first, drawn = self._stretches(ranks, lengths)
        n_entries = torch.zeros_like(counts).scatter_add_(0, step_of, drawn)
        self.n_users, self.n_entries, (self.n_whole,) = fetch(
            counts, n_entries, lengths.sum().unsqueeze(0)
        )
        n = sum(self.n_users)
        self.users, self.step_of_user = users[:n], step_of[:n]
        self.lengths, self.drawn = lengths[:n], drawn[:n]
        self.user_of_pair = ranks.view(self.n_steps, self.size)
        self.before = self.pairs.before
        if first is not None:
            self.first_place = first[:n]
            self.before = self.before - self.first_place[self.user_of_pair]
        self.drawn_of_pair = self.drawn[self.user_of_pair]
        self.first_user, self.first_entry = starts(counts), starts(n_entries)

    def _stretches(
        self, ranks: Tensor, lengths: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Tell where what is read of each history starts, and how many items it has.

        Where items are drawn from the whole of a history, it starts nowhere. Else it
        reaches from a window before the first target to the last one.
        """
        window = self.tables.window
        if window is None:
            return None, lengths.clamp(max=self.tables.max_history or EVERYTHING)
        before, none = self.pairs.before.flatten(), torch.zeros_like(ranks)
        least = (none + EVERYTHING).scatter_reduce(0, ranks, before, "amin")
        most = none.scatter_reduce(0, ranks, before, "amax")
        first = (least - window).clamp(min=0)
        return first, (torch.minimum(most + 1, lengths) - first).clamp(min=0)

    @property
    def is_thinned(self) -> bool:
        """Whether a history is longer than what is drawn of it."""
        return sum(self.n_entries) < self.n_whole

    def _draw_past(self) -> None:
        """Draw entries of the histories, and see which pairs are among them."""
        users, places = spread(self.drawn, sum(self.n_entries))
        self.held = self.pairs.held
        if self.tables.window is not None:
            places = places + self.first_place[users]
        elif self.is_thinned:
            places = self._drawn_places(users, places)
            self.held = self.held & self._is_drawn(places)
        self.user_of_entry = users
        self.entries = self.histories.offsets[self.users[users]] + places

    def _drawn_places(self, users: Tensor, parts: Tensor) -> Tensor:
        """Draw one place of each stretch of a history that is cut in equal parts.

        A history that is not longer than the number of its parts is taken whole.
        """
        whole, drawn = self.lengths[users], self.drawn[users]
        low = parts * whole // drawn
        width = (parts + 1) * whole // drawn - low
        generator = self.tables.generator
        dice = torch.rand(len(users), generator=generator, device=self.device)
        # In float32 a product can be rounded up to the width.
        return low + torch.minimum((dice * width).long(), width - 1)

    def _is_drawn(self, places: Tensor) -> Tensor:
        """Tell which pairs are among the drawn places, if they are in the history."""
        before, user = self.pairs.before, self.user_of_pair
        part = (before + 1) * self.drawn_of_pair - 1
        part = part // self.lengths[user].clamp(min=1)
        entry = starts(self.drawn)[user] + part
        return places[entry.clamp(0, len(places) - 1)] == before

    # -- items -----------------------------------------------------------------------

    def _find_items(self) -> None:
        """Draw negatives, and number all items that occur."""
        self.negatives = self.tables.negatives.draw(self.n_steps, self.tables.generator)
        self.scored_items = torch.cat([self.pairs.items, self.negatives], dim=1)
        n_entries = len(self.entries)
        steps = [
            self.step_of_user[self.user_of_entry],
            self.steps.repeat_interleave(self.scored_items.shape[1]),
        ]
        items = [self.histories.items[self.entries], self.scored_items.flatten()]
        self.items, places, self.n_needed = self._compact(
            torch.cat(items), torch.cat(steps)
        )
        self.past_items = places[:n_entries]
        self.scored = places[n_entries:].view(self.n_steps, -1)

    def _compact(
        self, items: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Distinct items of all steps, each item's place in its step, and numbers."""
        ranks, counts = number(items, steps, self.tables.n_items, self.n_steps)
        (numbers,) = fetch(counts)
        distinct = items.new_empty(sum(numbers)).scatter_(0, ranks, items)
        return distinct, ranks - starts(counts)[steps], numbers

    def _reaches(self) -> Sequence[Reach | None]:
        neighbours = self.tables.neighbours
        if neighbours is None:
            return self._none()
        numbers = torch.tensor(self.n_needed, device=self.device)
        steps = torch.repeat_interleave(numbers, output_size=len(self.items))
        near = neighbours[self.items]
        items, places, n_reached = self._compact(
            torch.cat([self.items, near.flatten()]),
            torch.cat([steps, steps.repeat_interleave(near.shape[1])]),
        )
        own = places[: len(steps)].split(self.n_needed)
        near = places[len(steps) :].view(near.shape)
        parts = zip(items.split(n_reached), own, near.split(self.n_needed), strict=True)
        return [Reach(*part) for part in parts]

    # -- the parts of the batches ----------------------------------------------------

    def _none(self) -> Sequence[None]:
        return [None] * self.n_steps

    def _pasts(self) -> list[Past]:
        """Cut the drawn histories into those of each step."""
        values, signals, drawn_from = self.histories.values, self._none(), self._none()
        columns: list[Sequence[Any]] = [signals, drawn_from]
        if values is not None:
            columns[0] = values[self.entries].split(self.n_entries)
        if self.is_thinned:
            columns[1] = self.lengths.split(self.n_users)
        ends = self.drawn.cumsum(0) - self.first_entry[self.step_of_user]
        # Each step starts with a 0.
        places = torch.arange(1, len(ends) + 1, device=self.device) + self.step_of_user
        offsets = ends.new_zeros(len(ends) + self.n_steps).scatter_(0, places, ends)
        items = self.past_items.split(self.n_entries)
        of_step = offsets.split([n + 1 for n in self.n_users])
        return [Past(*part) for part in zip(items, of_step, *columns, strict=True)]

    def _targets(self) -> list[Targets]:
        signals = self._signals()
        rows = self.user_of_pair - self.first_user.unsqueeze(1)
        columns: list[Sequence[Any]] = [
            rows.unbind(0),
            self.scored[:, : self.size].unbind(0),
            self.before.unbind(0),
            self.held.unbind(0),
            self._none() if signals is None else signals.unbind(0),
            self._facts(signals),
        ]
        return [Targets(*part) for part in zip(*columns, strict=True)]

    def _signals(self) -> Tensor | None:
        """Signal that each pair has in the history; 0 where it is not there."""
        values = self.histories.values
        if values is None:
            return None
        if len(values) == 0:
            return torch.zeros_like(self.pairs.weights)
        entries = self.histories.offsets[self.pairs.users] + self.pairs.before
        signals = values[entries.clamp(max=len(values) - 1)]
        return signals.masked_fill(~self.held, 0.0)

    def _facts(self, signals: Tensor | None) -> list[TargetFacts]:
        """Compute what else towers need to know of the targets."""
        held, exponent = self.held.float(), self.tables.history_exponent
        n_left, ratio = self.drawn_of_pair - held, None
        if self.is_thinned and exponent != 1:
            whole = self.lengths[self.user_of_pair]
            ratio = whole / self.drawn_of_pair.clamp(min=1)
        scale, empty = scale_of_left(n_left, exponent, ratio)
        share = held if signals is None else signals
        columns = [
            part.unsqueeze(2).unbind(0) for part in (held, share, n_left, scale, empty)
        ]
        return [TargetFacts(*part) for part in zip(*columns, strict=True)]

    def _shares_of_scored(self) -> Tensor:
        k = self.negatives.shape[1]
        of_drawn = self.shares.new_full((self.n_steps, k), 1 / max(1, k))
        return torch.cat([self.shares, of_drawn], dim=1).unsqueeze(2)

    def _tasks(self) -> list[tuple[TaskRows, ...]]:
        counted = self.pairs.counted.unbind(2)
        parts = [self._rows_of(task, column) for task, column in enumerate(counted)]
        return list(zip(*parts, strict=True))

    def _rows_of(self, task: int, counted: Tensor) -> list[TaskRows]:
        """Pairs of each step that a task learns from.

        With several tasks that learn from different pairs, the host waits twice more.
        """
        if self.tables.counts_all[task]:
            return [TaskRows(None, part) for part in self.shares.unbind(0)]
        weights = self._normalised(task)
        (numbers,) = fetch(counted.sum(1))
        places = counted.flatten().nonzero().squeeze(1)
        rows = (places % self.size).split(numbers)
        parts = weights.flatten()[places].split(numbers)
        return [TaskRows(*part) for part in zip(rows, parts, strict=True)]

    def _excluded(self) -> Tensor:
        """Tell which items are no negatives for which pairs: (n_steps, size, k)."""
        own = self.pairs.items.unsqueeze(2) == self.negatives.unsqueeze(1)
        if self.tables.own_negatives == 1:
            return own
        return own.logical_or_(self._liked()[self.user_of_pair])

    def _liked(self) -> Tensor:
        """Tell which drawn items each user likes and is spared: (n_users, k).

        A drawn item that occurs several times fills a range of columns, since they are
        in order: 1 where it starts and -1 where it ends add up to 1 in between.
        """
        n_items, k = self.tables.n_items, self.negatives.shape[1]
        users, entries = self._whole_histories()
        keys = (self.negatives + (self.steps * n_items).unsqueeze(1)).flatten()
        wanted = (self.step_of_user * n_items)[users] + self.histories.items[entries]
        first, last = ranges(keys, wanted, self.n_steps * n_items)
        # Most likes of users are not among the drawn items.
        hits = self._spared((first < last).nonzero().squeeze(1))
        users, amounts = users[hits], self._amounts(entries[hits])
        table = amounts.new_zeros(len(self.users) * (k + 1))
        rows = users * (k + 1) - self.step_of_user[users] * k
        table.scatter_add_(0, rows + first[hits], amounts)
        table.scatter_add_(0, rows + last[hits], -amounts)
        return table.view(-1, k + 1).cumsum_(1)[:, :k] > 0

    def _spared(self, hits: Tensor) -> Tensor:
        """Leave out the share of the likes that are negatives all the same."""
        share, generator = self.tables.own_negatives, self.tables.generator
        if share == 0:
            return hits
        dice = torch.rand(len(hits), generator=generator, device=self.device)
        return hits[dice >= share]

    def _whole_histories(self) -> tuple[Tensor, Tensor]:
        """User and entry of everything that is known of the users."""
        if not self.is_thinned:
            return self.user_of_entry, self.entries
        users = torch.repeat_interleave(self.lengths, output_size=self.n_whole)
        to_entries = self.histories.offsets[self.users] - starts(self.lengths)
        entries = torch.arange(self.n_whole, device=self.device) + to_entries[users]
        return users, entries

    def _amounts(self, entries: Tensor) -> Tensor:
        """Return 1 for a like and 0 for a dislike."""
        if self.histories.values is None:
            return torch.ones_like(entries, dtype=torch.int8)
        return (self.histories.values[entries] > 0).to(torch.int8)
