"""What a million to a hundred million items cost, from rates that were measured.

    python benchmarks/scale.py

Prints the table of `docs/scale.md`. Each cost is that of the largest size that was
measured, times the ratio of the sizes to the power of the exponent that was measured
along with it (at least 1, so that what looks better than linear is not relied upon).
"""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """A cost that was measured.

    Attributes
    ----------
    measured : float
        Seconds or bytes.
    size : float
        Rows or items for which.
    exponent : float
        Slope of the costs over the sizes, both as logarithms.
    """

    measured: float
    size: float
    exponent: float = 1.0

    def at(self, size: float) -> float:
        """Cost of another size."""
        return float(self.measured * (size / self.size) ** max(1.0, self.exponent))


# Seconds of one core. What measures each stands above it.

# growth.py encode
TEXTS = Rate(74.6, 20_000, 0.97)
# encoders.py, posters by EfficientNet-Lite0 with two threads
PICTURES = Rate(16.9e-3, 1)
# growth.py fit, one epoch of ids alone
EPOCH = Rate(197.4, 10_000_000, 0.95)
# growth_publish.py, sqlite, 64 numbers an item
PUBLISH = Rate(60.1, 5_000_000, 0.73)
# search_at_size.py --from-file, 64 numbers an item; its exponent nears 1.5
INDEX = Rate(162, 5_000_000, 1.5)
EXACT = Rate(26e-3, 1_000_000)
# growth_memory.py, choosing and learning it with five likes an item
MEMORY = Rate(28.2 + 55.9, 1_000_000, 0.73)

# Seconds of an H100 beside 16 processors, by the clock; gpu.py measures the same.
TEXTS_GPU = Rate(1 / 16_700, 1)
PICTURES_GPU = Rate(1 / 2_000, 1)
EPOCH_GPU = Rate(1.85 / 2, 1_000_000)

# Bytes.
VECTOR = 4 * 384  # of MiniLM, float32
# recommender.py items, 64 factors: table, Adam's two means, vectors of the model; and
# what is averaged
TABLE = 1_302 + 260
# growth.py fit: slope of the peak from 3,000,000 to 10,000,000 interactions
INTERACTION = 187
# growth_publish.py, what lies in the store: rows and blocks, and the offline file
STORED = 652 + 267
LISTS = 1_505  # growth_memory.py, the peak of learning those of five likes an item
SERVED = 4 * 65  # in a process that searches exactly
INDEXED = 551  # search_at_size.py --from-file, on disk

EPOCHS = 10
ITEMS = (10**6, 10**7, 10**8)
INTERACTIONS = (10**7, 10**8, 10**9)


def hours(seconds: float) -> str:
    """Write a time with two digits that count."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= 2 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds * 1000)} ms"


def amount(n_bytes: float) -> str:
    """Write a number of bytes with two digits that count."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{_two_digits(n_bytes / size)} {unit}"
    return f"{n_bytes:.0f} B"


def _two_digits(value: float) -> str:
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def per_items() -> list[list[str]]:
    """Rows of what grows with the items."""
    times = [
        ("encode texts by MiniLM, one core", TEXTS),
        ("the same, one GPU", TEXTS_GPU),
        ("encode pictures by EfficientNet-Lite0, one core", PICTURES),
        ("encode pictures by ViT-B/32, one GPU", PICTURES_GPU),
        ("publish to sqlite, one core", PUBLISH),
        ("build an index, one core", INDEX),
        ("an exact list, one core", EXACT),
        ("choose and learn a memory of items, one core", MEMORY),
    ]
    sizes = [
        ("vectors of MiniLM in files", VECTOR),
        ("embeddings while a fit trains, all processes together", TABLE),
        ("lists of a memory of items while they are learned", LISTS),
        ("one publication in the store, online and offline", STORED),
        ("vectors in a process that serves exact lists", SERVED),
        ("an index in files", INDEXED),
    ]
    rows = [[name, *(hours(rate.at(n)) for n in ITEMS)] for name, rate in times]
    return rows + [[name, *(amount(each * n) for n in ITEMS)] for name, each in sizes]


def per_interactions() -> list[list[str]]:
    """Rows of what grows with the interactions."""
    core, gpu = ([EPOCHS * r.at(n) for n in INTERACTIONS] for r in (EPOCH, EPOCH_GPU))
    return [
        ["ten epochs of ids, one core", *map(hours, core)],
        ["ten epochs with two modalities, one GPU", *map(hours, gpu)],
        [
            "memory of a fit, of each process",
            *(amount(INTERACTION * n) for n in INTERACTIONS),
        ],
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    """Return both tables."""
    return "\n\n".join(
        [
            table(["items", *(f"{n:,}" for n in ITEMS)], per_items()),
            table(
                ["interactions", *(f"{n:,}" for n in INTERACTIONS)], per_interactions()
            ),
        ]
    )


if __name__ == "__main__":
    print(page())
