"""Encoders against the loops that users write, in one process, side by side.

    python benchmarks/encoders.py [text image audio cache memory int8] [--size 1.0]

Prints one line per ratio, theirs over ours: medians over repetitions that alternate
between both sides, on the wall and in processor time. Other work on the machine
disturbs processor time less, which does not show what runs side by side. Weights are
packaged ones (extra ``demo``) and an untrained Cnn14; media are generated, written
as JPEG and FLAC files, and decoded by both sides.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from PIL import Image

from skmmrec.encoders import AudioEncoder, EmbeddingCache, ImageEncoder, TextEncoder
from skmmrec.encoders._weights import packaged_file

TEXT = "package:all-MiniLM-L6-v2"
IMAGE = ("tf_efficientnet_lite0", "package:efficientnet-lite0")
REPEATS = 5


class Times(NamedTuple):
    """Seconds on the wall, and seconds of all threads on the processor."""

    wall: float
    cpu: float


def measure(function: Callable[[], object]) -> Times:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return Times(time.perf_counter() - wall, time.process_time() - cpu)


def compare(ours: Callable, theirs: Callable, repeats: int = REPEATS) -> list[Times]:
    """Return the medians of both sides, measured by turns."""
    pairs = [(measure(ours), measure(theirs)) for _ in range(repeats)]
    sides = zip(*pairs, strict=True)
    return [Times(*(median(t) for t in zip(*side, strict=True))) for side in sides]


def report(name: str, ours: Times, theirs: Times, goal: str) -> None:
    wall, cpu = theirs.wall / ours.wall, theirs.cpu / ours.cpu
    print(
        f"{name:56} {ours.wall:7.2f} s {theirs.wall:7.2f} s {wall:7.2f}x "
        f"(processor time {cpu:.2f}x; goal {goal})"
    )


def sentences(n: int) -> list[str]:
    generator = np.random.default_rng(0)
    words = np.array(Path(__file__).read_text().split())
    lengths = generator.integers(3, 80, n)
    return [
        f"{i} " + " ".join(generator.choice(words, k)) for i, k in enumerate(lengths)
    ]


def picture_files(folder: Path, n: int) -> list[str]:
    generator = np.random.default_rng(0)
    paths = []
    for i in range(n):
        coarse = generator.integers(0, 256, (12, 8, 3), dtype=np.uint8)
        path = folder / f"{i}.jpg"
        Image.fromarray(coarse).resize((600, 900), Image.Resampling.BICUBIC).save(path)
        paths.append(str(path))
    return paths


def sound_files(folder: Path, n: int) -> list[str]:
    generator = np.random.default_rng(0)
    paths = []
    for i in range(n):
        samples = generator.normal(0, 0.1, (5 * 44_100, 2))
        path = folder / f"{i}.flac"
        soundfile.write(path, samples, 44_100)
        paths.append(str(path))
    return paths


def bench_text(size: float, folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = sentences(int(400 * size))
    encoder = TextEncoder(TEXT, device="cpu", long_texts="truncate").fit(["any"])
    direct = SentenceTransformer(str(packaged_file(TEXT).parent), device="cpu")
    report(
        "text: sentence-transformers, its own batches",
        *compare(
            lambda: encoder.transform(texts),
            lambda: direct.encode(texts, batch_size=32, show_progress_bar=False),
        ),
        ">= 0.97",
    )
    few = texts[: len(texts) // 4]
    many = [few[i % len(few)] for i in range(20 * len(few))]
    report(
        "text: the distinct items / 20 rows of each",
        *compare(lambda: encoder.transform(many), lambda: encoder.transform(few), 3),
        ">= 0.91",
    )


def bench_image(size: float, folder: Path) -> None:
    paths = picture_files(folder, int(192 * size))
    encoder = ImageEncoder(*IMAGE, device="cpu").fit(["any"])
    model = encoder._model
    network, transform = model._network, model._transform

    def open_one(path: str) -> torch.Tensor:
        with Image.open(path) as image:
            return transform(image.convert("RGB"))

    @torch.inference_mode()
    def in_batches() -> None:
        for start in range(0, len(paths), 32):
            batch = torch.stack([open_one(p) for p in paths[start : start + 32]])
            network.encode_image(batch).numpy()

    @torch.inference_mode()
    def one_by_one() -> None:
        for path in paths:
            network.encode_image(open_one(path)[None]).numpy()

    ours = lambda: encoder.transform(paths)  # noqa: E731
    report("image: open_clip, batches of 32", *compare(ours, in_batches), ">= 0.97")
    report("image: open_clip, one after another", *compare(ours, one_by_one), ">= 2")


def bench_audio(size: float, folder: Path) -> None:
    import librosa

    paths = sound_files(folder, int(16 * size))
    encoder = AudioEncoder(pretrained=False, device="cpu").fit(["any"])
    network = encoder._model._network

    def load(path: str) -> torch.Tensor:
        return torch.from_numpy(librosa.load(path, sr=32_000, mono=True)[0])

    @torch.inference_mode()
    def in_batches() -> None:
        for start in range(0, len(paths), 8):
            batch = torch.stack([load(p) for p in paths[start : start + 8]])
            network(batch)["embedding"].numpy()

    @torch.inference_mode()
    def one_by_one() -> None:
        for path in paths:
            network(load(path)[None])["embedding"].numpy()

    ours = lambda: encoder.transform(paths)  # noqa: E731
    report("audio: Cnn14, batches of 8", *compare(ours, in_batches, 3), ">= 0.97")
    report("audio: Cnn14, one after another", *compare(ours, one_by_one, 3), ">= 2")


def bench_cache(size: float, folder: Path) -> None:
    texts = sentences(int(2000 * size))
    cache = EmbeddingCache(folder / "cache")
    plain = TextEncoder(TEXT, device="cpu").fit(["any"])
    cached = TextEncoder(TEXT, device="cpu", cache=cache).fit(["any"])
    filling = measure(lambda: cached.transform(texts))
    ours, theirs = compare(
        lambda: cached.transform(texts), lambda: plain.transform(texts), 2
    )
    report(f"cache: {len(texts)} texts, warm / encoding", ours, theirs, ">= 50")
    print(f"{'cache: filling it while encoding':58} {filling.wall:8.2f} s")


def bench_int8(size: float, folder: Path) -> None:
    texts = sentences(int(400 * size))
    exact = TextEncoder(TEXT, device="cpu").fit(["any"])
    small = TextEncoder(TEXT, device="cpu", precision="int8").fit(["any"])
    report(
        "int8: text, against float32",
        *compare(lambda: small.transform(texts), lambda: exact.transform(texts), 3),
        "> 1",
    )
    a, b = exact.transform(texts), small.transform(texts)
    cosine = (a * b).sum(axis=1)
    near = lambda v: np.argsort(-(v @ v.T), axis=1)[:, 1:11]  # noqa: E731
    pairs = zip(near(a), near(b), strict=True)
    kept = np.mean([len(set(x) & set(y)) / 10 for x, y in pairs])
    print(
        f"{'int8: cosine to float32, mean and least; 10-NN kept':58} "
        f"{cosine.mean():.4f} {cosine.min():.4f} {kept:.2f}"
    )


def peak_memory(n: int, queue: object) -> None:
    """Put the growth of this process's peak memory, beyond the result, in bytes."""
    texts = [f"short text number {i}" for i in range(n)]
    encoder = TextEncoder(TEXT, device="cpu").fit(["any"])
    encoder.transform(texts[:64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = encoder.transform(texts)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put((after * 1024 - result.nbytes, (after - before) * 1024))  # type: ignore


def bench_memory(size: float, folder: Path) -> None:
    context = get_context("spawn")
    peaks = []
    for n in (int(2_000 * size), int(20_000 * size)):
        queue = context.Queue()
        process = context.Process(target=peak_memory, args=(n, queue))
        process.start()
        peaks.append(queue.get()[0])
        process.join()
    name = f"memory: peak for {int(20_000 * size)} texts / a tenth, less the result"
    print(
        f"{name:58} {peaks[1] / 2**20:6.0f} MB {peaks[0] / 2**20:6.0f} MB "
        f"{peaks[1] / peaks[0]:7.2f}x  (goal <= 1.30)"
    )


def main() -> None:
    benches = {
        name.removeprefix("bench_"): function
        for name, function in globals().items()
        if name.startswith("bench_")
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(benches))
    parser.add_argument("--size", type=float, default=1.0, help="scales the inputs")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads; ours, theirs, ratio"
    )
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as folder:
            benches[name](arguments.size, Path(folder))


if __name__ == "__main__":
    main()
