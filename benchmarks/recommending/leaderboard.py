"""Write a page of what was kept: data sets by models, tested in pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from recommending import models, protocol
from recommending.accuracy import cost
from recommending.protocol import Seeds
from skmmrec.metrics import compare

PAGE = Path(__file__).parents[1] / "leaderboard.md"
PUBLISHED = Path(__file__).with_name("published.json")
OUR_DEFAULT = "fusion: gated"

INTRODUCTION = """\
# Leaderboard

    python benchmarks/recommender.py prepare --output FOLDER
    python benchmarks/recommender.py tune --output FOLDER --jobs N
    python benchmarks/recommender.py accuracy --seeds 5 --output FOLDER --jobs N
    python benchmarks/recommender.py leaderboard --from FOLDER

The last command writes this page from what the others kept; only the figures
that papers print are typed by hand.

All items are ranked, the user's training items left out, for each user with a test
item. Recall is hits over the number of the user's test items; NDCG has the gain
1/log2(rank + 1) over the best possible one; both are means over users. Every fit has
one thread. The parameters of baselines and of other packages were chosen by NDCG@20 on
validation rows from the grids in `recommending/models.py`, and stand in
`recommending/chosen.json`. The models of this package have their defaults on all sets.
No choice was made on test rows, but one against us: the baseline that others are
compared with is the best on test rows.

Values are means over seeds, with the standard deviation of the seeds; models that draw
no random numbers, or were fitted once, have none. *Difference* is that to the best
baseline in per cent, with one standard error: of users in pairs or of seeds, whichever
is larger; *p* is that of Student's test on users in pairs, not corrected for their
number. *Ahead* and *behind* are differences of more than one standard error. CPU
seconds are those of a fit on a processor; GPU seconds are by the clock, on the machine
that the set's section names.
"""

# With spaces at which a narrow table does not break.
PLUS_MINUS = "\u00a0±\u00a0"

ABOUT = {
    "tiktok": "Short videos by picture and sound, the split of MMSSL and DiffMM.",
    "movielens-random": "MovieLens small, words and posters; a random fifth of each "
    "user's films is held out, and no model has times.",
    "movielens-time": "The same films; the latest fifth of each user's is held out.",
    "dbbook": "Likes of books, words of their titles; the split of a published study.",
    "beauty": "Purchases in their order, codes of the items' words. The last of each "
    "user is held out; the one before is known then, but not trained on. Models that "
    "cannot take in later rows are fitted to it, too, which favours them.",
}


GENERATED = "A generated catalogue, whose shape `recommending/data.py` tells."


@dataclass
class Board:
    """What was kept of a data set.

    Parameters
    ----------
    name : str
        The data set.
    seeds : dict of str to Seeds
        Evaluations by the name of the model.
    facts : dict of str to list of dict
        Costs by the name of the model, a fit each.
    """

    name: str
    seeds: dict[str, Seeds]
    facts: dict[str, list[dict[str, Any]]]

    @property
    def metrics(self) -> tuple[str, str]:
        """Names of the metrics of its table; the second one decides."""
        k = 10 if self.name == "beauty" else 20  # as papers have it
        return f"recall@{k}", f"ndcg@{k}"

    @cached_property
    def order(self) -> list[str]:
        """Models, best first."""
        values = {m: s.mean()[self.metrics[1]] for m, s in self.seeds.items()}
        return sorted(values, key=lambda model: -values[model])

    @cached_property
    def best_baseline(self) -> str | None:
        """The best of the models that are not ours."""
        others = [model for model in self.order if not models.is_ours(model)]
        return others[0] if others else None

    def against_best(self, model: str) -> tuple[float, float, float] | None:
        """Difference to the best baseline, its error, both relative, and p."""
        best = self.best_baseline
        if best is None or model == best:
            return None
        metric, reference = self.metrics[1], self.seeds[best]
        gain, error = protocol.difference(
            reference.by_seed(metric), self.seeds[model].by_seed(metric)
        )
        tested = compare(reference, self.seeds[model], random_state=0)  # type: ignore[arg-type]
        scale = 1 / reference.mean()[metric]
        return gain * scale, error * scale, tested.loc[metric, "p_value"]


def read(name: str, folder: Path) -> Board | None:
    """Read what was kept of a data set; None: nothing was."""
    kept = folder / "accuracy" / name
    names = {protocol.file_name(model): model for model in models.names()}
    seeds = {
        names[file]: s for file, s in protocol.read_kept(kept).items() if file in names
    }
    if not seeds:
        return None
    costs = protocol.read_facts(kept)
    return Board(name, seeds, {names[f]: c for f, c in costs.items() if f in names})


def page(folder: Path, sets: Sequence[str]) -> str:
    """Write the page.

    Raises
    ------
    FileNotFoundError
        If nothing was kept of any of the data sets.
    """
    boards = [board for name in sets if (board := read(name, folder)) is not None]
    if not boards:
        raise FileNotFoundError(f"{folder} has no lists of {', '.join(sets)}")
    lines = [INTRODUCTION, *_summary(boards)]
    for board in boards:
        lines += ["", *_section(board)]
    return "\n".join(lines) + "\n"


def _summary(boards: Sequence[Board]) -> Iterator[str]:
    yield f"## The default, `{OUR_DEFAULT}`, and the best baseline"
    yield ""
    yield "| data | metric | default | best baseline | difference | p | |"
    yield "|---|---|---|---|---|---|---|"
    for board in boards:
        best, metric = board.best_baseline, board.metrics[1]
        if OUR_DEFAULT not in board.seeds or best is None:
            continue
        ours = _value(board.seeds[OUR_DEFAULT], metric)
        other = f"{best} {_value(board.seeds[best], metric)}"
        cells = [board.name, metric, ours, other, *_difference(board, OUR_DEFAULT)]
        yield f"| {' | '.join([*cells, _verdict(board)])} |"


def _verdict(board: Board) -> str:
    tested = board.against_best(OUR_DEFAULT)
    assert tested is not None
    gain, error, _ = tested
    return "level" if abs(gain) <= error else "ahead" if gain > 0 else "behind"


def _section(board: Board) -> Iterator[str]:
    yield f"## {board.name}"
    yield ""
    yield ABOUT.get(board.name, GENERATED)
    yield _machines(board)
    if untuned := _untuned(board):
        yield f"Not tuned, with their defaults: {', '.join(untuned)}."
    yield ""
    yield f"| model | {' | '.join(board.metrics)} | difference | p | CPU s | GPU s |"
    yield "|---|---|---|---|---|---|---|"
    for model in board.order:
        facts = board.facts.get(model, [])
        cells = [
            f"**{model}**" if models.is_ours(model) else model,
            *(_value(board.seeds[model], metric) for metric in board.metrics),
            *_difference(board, model),
            cost(facts, "cpu"),
            cost(facts, "cuda"),
        ]
        yield f"| {' | '.join(cells)} |"
    yield from _published(board)


def _untuned(board: Board) -> list[str]:
    """Models that have a grid, of which nothing was chosen for this data set."""
    chosen = models.chosen().get(board.name, {})
    return [m for m in board.order if models.GRIDS.get(m) and m not in chosen]


def _value(seeds: Seeds, metric: str) -> str:
    mean, std = seeds.mean()[metric], seeds.std()[metric]
    return f"{mean:.4f}" + (f"{PLUS_MINUS}{std:.4f}" if std == std else "")


def _difference(board: Board, model: str) -> list[str]:
    tested = board.against_best(model)
    if tested is None:
        return ["best baseline", ""]
    gain, error, p = tested
    small = "<\u00a00.001"
    return [f"{gain:+.1%}{PLUS_MINUS}{error:.1%}", small if p < 1e-3 else f"{p:.3f}"]


def _machines(board: Board) -> str:
    """Say on what the fits ran, and how many seeds there are."""
    facts = [fact for fits in board.facts.values() for fact in fits]
    seeds = max((len(s.evaluations) for s in board.seeds.values()), default=0)
    gpus = {fact["device_name"] for fact in facts if "device_name" in fact}
    most = max((fact["jobs"] for fact in facts), default=1)
    side = "one fit at a time" if most == 1 else f"{most} fits side by side at most"
    where = f"GPU: {', '.join(sorted(gpus))}." if gpus else "No GPU."
    n_seeds = "1 seed" if seeds == 1 else f"{seeds} seeds"
    return f"{n_seeds}; {side}. {where}"


def _published(board: Board) -> Iterator[str]:
    """Table of what papers print."""
    rows = json.loads(PUBLISHED.read_text()).get(board.name, [])
    if not rows:
        return
    yield ""
    yield f"| as printed | {' | '.join(board.metrics)} | protocol | epoch chosen by |"
    yield "|---|---|---|---|---|"
    for row in rows:
        values = [f"{row['values'][metric]:.4f}" for metric in board.metrics]
        cells = [row["model"], *values, row["protocol"], row["epoch"]]
        yield f"| {' | '.join(cells)} |"
