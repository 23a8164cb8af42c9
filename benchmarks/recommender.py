"""Accuracy and cost of the recommender against baselines.

    python benchmarks/recommender.py accuracy [tiktok movielens-time ...] [--seeds 5]
    python benchmarks/recommender.py pairs DATA --reference fusion_gated
    python benchmarks/recommender.py cold|foldin|missing|noise [DATA ...] [--seeds 5]
    python benchmarks/recommender.py cold movielens-random --fusions llm gated attention
    python benchmarks/recommender.py llm [DATA ...] [--items 100]
    python benchmarks/recommender.py cost [--sizes 10000 100000 1000000]
    python benchmarks/recommender.py items [--sizes 20000 500000 1000000] [--epochs 2]
    python benchmarks/recommender.py options|transfer|exposure [DATA ...] [--seeds 3]
    python benchmarks/recommender.py sequence [--seeds 3]
    python benchmarks/recommender.py compress
    python benchmarks/recommender.py tune [DATA ...] [--models iALS EASE]

Real data need ``SKMMREC_DATA_HOME``. All items are ranked, the user's training items
left out; the users are those with at least one test item. The parameters of baselines
were chosen by ``tune`` on validation rows and stand in ``recommending/chosen.json``;
fusions have their defaults. What was recommended is kept in ``--output``, one table a
seed, for ``pairs``. Set ``OMP_NUM_THREADS=1`` to compare CPU seconds.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from recommending import (
    cost,
    data,
    exposure,
    language,
    models,
    options,
    protocol,
    sequences,
    situations,
)

from skmmrec.fusion import get_fusion_names

SITUATIONS = {
    "cold": situations.cold,
    "foldin": situations.foldin,
    "missing": situations.missing,
    "noise": situations.noise,
}
SINGLE = {
    "options": options.options,
    "transfer": options.transfer,
    "exposure": exposure.exposure,
}


def accuracy(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or data.names():
        source = data.load(name, args.output)
        yield protocol.header(name, "CPU s a fit")
        for model in args.models or models.names():
            seeds, seconds = protocol.run(
                model,
                lambda seed, model=model, source=source: models.make(
                    model, source, seed
                ),
                source.train,
                source.test,
                args.seeds if models.has_seed(model) else 1,
                args.output / "accuracy" / name,
            )
            yield protocol.row(model, seeds, f"{seconds:.1f}")


def pairs(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or data.names():
        folder = args.output / "accuracy" / name
        table = protocol.compare_in_pairs(folder, args.reference)
        yield f"{name}: NDCG@20 against {args.reference}, paired t-test over users"
        yield table.sort_values("b").to_string(float_format="{:.4f}".format)


def situation(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["tiktok", "movielens-random"]:
        source = data.load(name, args.output)
        kinds = args.fusions or get_fusion_names()
        folder = args.output / args.what / name
        yield from SITUATIONS[args.what](source, kinds, args.seeds, folder)


def single(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["tiktok", "movielens-random"]:
        yield from SINGLE[args.what](data.load(name, args.output), args.seeds)


def tune(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or data.names():
        source = data.load(name, args.output)
        yield from models.tune(source, args.models or list(models.BASELINES))


def costs(args: argparse.Namespace) -> Iterator[str]:
    yield from cost.scaling(args.sizes or [10**4, 10**5, 10**6], args.output)
    yield from cost.serving(data.load("tiktok", args.output))


def items(args: argparse.Namespace) -> Iterator[str]:
    yield from cost.by_items(args.sizes or [20_000, 500_000, 1_000_000], args.epochs)


def llm(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["movielens-random"]:
        kinds = args.fusions or ["llm", "gated", "attention"]
        yield from language.costs(name, kinds, args.items, args.output)


def compress(args: argparse.Namespace) -> Iterator[str]:
    yield from cost.compression(data.load("tiktok", args.output))


def sequence(args: argparse.Namespace) -> Iterator[str]:
    yield from sequences.towers(["mean", "sequence"], args.seeds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = ["accuracy", "pairs", *SITUATIONS, *SINGLE]
    what += ["cost", "items", "llm", "sequence", "compress", "tune"]
    parser.add_argument("what", choices=what)
    parser.add_argument("data", nargs="*", help=f"some of {data.names()}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--models", nargs="*", choices=models.names())
    kinds = [*get_fusion_names(), "llm"]
    parser.add_argument("--fusions", nargs="*", choices=kinds)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--reference", default="fusion_gated")
    parser.add_argument("--sizes", nargs="*", type=int)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("out/recommender"))
    return parser.parse_args()


def main() -> None:
    args = parse()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {args.seeds} seed(s)"
    )
    actions = {
        "accuracy": accuracy,
        "pairs": pairs,
        "cost": costs,
        "items": items,
        "llm": llm,
        "sequence": sequence,
        "compress": compress,
        "tune": tune,
        **dict.fromkeys(SINGLE, single),
    }
    for line in actions.get(args.what, situation)(args):
        print(line, flush=True)


if __name__ == "__main__":
    main()
