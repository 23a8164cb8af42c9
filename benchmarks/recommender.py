"""Accuracy and cost of the recommender against baselines.

    python benchmarks/recommender.py accuracy [tiktok movielens-time ...] [--seeds 5]
    python benchmarks/recommender.py pairs DATA --reference fusion_gated
    python benchmarks/recommender.py leaderboard [DATA ...] --from FOLDER
    python benchmarks/recommender.py tune [DATA ...] [--models iALS EASE]
    python benchmarks/recommender.py options [DATA ...] [--seeds 3] [--situations ...]
    python benchmarks/recommender.py prepare [DATA ...] --output FOLDER
    python benchmarks/recommender.py cold|foldin|missing|noise [DATA ...] [--seeds 5]
    python benchmarks/recommender.py cold movielens-random --fusions llm gated attention
    python benchmarks/recommender.py llm [DATA ...] [--items 100]
    python benchmarks/recommender.py cost [--sizes 10000 100000 1000000]
    python benchmarks/recommender.py items [--sizes 20000 500000 1000000] [--epochs 2]
    python benchmarks/recommender.py transfer|exposure [DATA ...] [--seeds 3]
    python benchmarks/recommender.py sequence [--seeds 3]
    python benchmarks/recommender.py compress

Real data need ``SKMMREC_DATA_HOME``, or what ``prepare`` wrote into ``--output``: then
no source and no encoder is needed. All items are ranked, the user's training items left
out; the users are those with at least one test item. The parameters of baselines were
chosen by ``tune`` on validation rows and stand in ``recommending/chosen.json``; fusions
have their defaults. ``accuracy``, ``tune`` and ``options`` fit in ``--jobs`` processes
of one thread each, stop after ``--limit`` seconds, keep what is done in ``--output``
and go on from there: after a change of the code, give another folder.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import torch
from recommending import (
    accuracy as run_accuracy,
    cost,
    data,
    exposure,
    language,
    leaderboard,
    measuring,
    models,
    options,
    protocol,
    runner,
    sequences,
    situations,
    transfer,
)

from skmmrec.fusion import get_fusion_names

SITUATIONS = {
    "cold": situations.cold,
    "foldin": situations.foldin,
    "missing": situations.missing,
    "noise": situations.noise,
}


def accuracy(args: argparse.Namespace) -> Iterator[str]:
    sets, names = args.data or data.LEADERBOARD, args.models or models.LEADERBOARD
    yield from skipped(sets, names)
    todo = run_accuracy.tasks(
        sets, names, args.seeds, args.device, args.output, args.jobs
    )
    yield from runner.run(todo, args.jobs, args.limit)
    for name in sets:
        yield from run_accuracy.table(name, args.output)


def skipped(sets: list[str], names: list[str]) -> Iterator[str]:
    """Say which models are not fitted to which data sets."""
    for name in sets:
        for model in names:
            if reason := models.why_not(model, name):
                yield f"{model} is left out on {name}: {reason}"


def pairs(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or data.names():
        kept = protocol.read_kept(args.output / "accuracy" / name)
        if args.reference not in kept or len(kept) < 2:
            yield f"{name}: {args.reference} and others are not kept, but {list(kept)}"
            continue
        table = protocol.compare_in_pairs(kept, args.reference)
        yield f"{name}: NDCG@20 against {args.reference}, paired t-test over users"
        yield table.sort_values("b").to_string(float_format="{:.4f}".format)


def prepare(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or data.LEADERBOARD:
        yield f"{data.keep(data.load(name, args.output), args.output)}"


def board(args: argparse.Namespace) -> Iterator[str]:
    page = leaderboard.page(args.source or args.output, args.data or data.LEADERBOARD)
    args.page.write_text(page)
    yield f"{args.page} has {len(page.splitlines())} lines"


def situation(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["tiktok", "movielens-random"]:
        source = data.load(name, args.output)
        kinds = args.fusions or get_fusion_names()
        folder = args.output / args.what / name
        yield from SITUATIONS[args.what](source, kinds, args.seeds, folder)


def measure_options(args: argparse.Namespace) -> Iterator[str]:
    sets, situations = args.data or options.SETS, args.situations or options.SITUATIONS
    todo = measuring.tasks(sets, situations, args.seeds, args.device, args.output)
    yield from runner.run(todo, args.jobs, args.limit)
    for situation in situations:
        yield from measuring.table(sets, situation, args.output)


def transfers(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["tiktok", "movielens-random"]:
        yield from transfer.transfer(data.load(name, args.output), args.seeds)


def exposures(args: argparse.Namespace) -> Iterator[str]:
    for name in args.data or ["tiktok", "movielens-random"]:
        yield from exposure.exposure(data.load(name, args.output), args.seeds)


def tune(args: argparse.Namespace) -> Iterator[str]:
    sets = args.data or data.LEADERBOARD
    names = args.models or list(models.GRIDS)
    yield from skipped(sets, names)
    todo = run_accuracy.tuning_tasks(sets, names, args.device, args.output)
    yield from runner.run(todo, args.jobs, args.limit)
    yield from run_accuracy.choose(sets, names, args.output)


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
    yield from sequences.towers(["mean", "sequence"], args.seeds, args.output)


ACTIONS = {
    "accuracy": accuracy,
    "pairs": pairs,
    "leaderboard": board,
    "prepare": prepare,
    **dict.fromkeys(SITUATIONS, situation),
    "options": measure_options,
    "transfer": transfers,
    "exposure": exposures,
    "sequence": sequence,
    "cost": costs,
    "items": items,
    "llm": llm,
    "compress": compress,
    "tune": tune,
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=list(ACTIONS))
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
    parser.add_argument("--situations", nargs="*", choices=options.SITUATIONS)
    parser.add_argument("--jobs", type=int, default=1, help="processes that fit")
    parser.add_argument("--limit", type=float, help="seconds after which to stop")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--from", dest="source", type=Path, help="default: --output")
    parser.add_argument("--page", type=Path, default=leaderboard.PAGE)
    args = parser.parse_args()
    if args.device == "auto":
        args.device = "cuda" if torch.cuda.is_available() else "cpu"
    return args


def main() -> None:
    args = parse()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {args.seeds} seed(s)"
    )
    for line in ACTIONS[args.what](args):
        print(line, flush=True)


if __name__ == "__main__":
    main()
