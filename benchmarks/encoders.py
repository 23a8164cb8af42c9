"""Encoders against the loops that users write, in one process, side by side.

    python benchmarks/encoders.py [NAME ...] [--size 1.0] [--repeats 5]

NAME is one of text, image, vit, audio, duplicates, cache, text_memory, image_memory,
int8. Prints one line per ratio, theirs over ours: medians over repetitions that
alternate between both sides, on the wall and in processor time, and the best of each
side on the wall. Other work on the machine disturbs the best least. Weights are
packaged ones (extra ``demo``), an untrained ViT-B-32 and an untrained Cnn14; media are
generated, written as JPEG and FLAC files, and decoded by both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from PIL import Image

from skmmrec.encoders import AudioEncoder, EmbeddingCache, ImageEncoder, TextEncoder
from skmmrec.encoders._open_clip import load_open_clip
from skmmrec.encoders._panns import load_network
from skmmrec.runtime import packaged_file

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


class Side(NamedTuple):
    """The median of several runs, and the best of them on the wall."""

    wall: float
    cpu: float
    best: float


def compare(*functions: Callable) -> list[Side]:
    """Return what several functions take, measured by turns."""
    for function in functions:
        function()
    rounds = [[measure(function) for function in functions] for _ in range(REPEATS)]
    sides = []
    for runs in zip(*rounds, strict=True):
        walls, cpus = zip(*runs, strict=True)
        sides.append(Side(median(walls), median(cpus), min(walls)))
    return sides


def report(name: str, ours: Side, theirs: Side, goal: str) -> None:
    wall, cpu, best = (t / o for o, t in zip(ours, theirs, strict=True))
    print(
        f"{name:56} {ours.wall:7.2f} s {theirs.wall:7.2f} s {wall:7.2f}x "
        f"(processor {cpu:.2f}x, best {best:.2f}x; goal {goal})",
        flush=True,
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
    ours, theirs = compare(
        lambda: encoder.transform(texts),
        lambda: direct.encode(texts, batch_size=32, show_progress_bar=False),
    )
    report("text: sentence-transformers, its own batches", ours, theirs, ">= 0.97")


def bench_image(size: float, folder: Path) -> None:
    compare_images("EfficientNet-Lite0", *IMAGE, picture_files(folder, int(192 * size)))


def bench_vit(size: float, folder: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    config = open_clip.get_model_config("ViT-B-32")
    network = open_clip.create_model("ViT-B-32")
    settings = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    paths = picture_files(folder, int(96 * size))
    compare_images("ViT-B-32", str(folder), "ignored", paths)


def compare_images(name: str, model: str, pretrained: str, paths: list[str]) -> None:
    encoder = ImageEncoder(model, pretrained, device="cpu").fit(["any"])
    network, own = load_open_clip(model, pretrained)
    transform = own.whole

    def open_one(path: str) -> torch.Tensor:
        with Image.open(path) as image:
            return transform(image.convert("RGB"))

    @torch.inference_mode()
    def in_batches(length: int) -> np.ndarray:
        starts = range(0, len(paths), length)
        batches = (torch.stack([*map(open_one, paths[i : i + length])]) for i in starts)
        return np.concatenate([network.encode_image(b).numpy() for b in batches])

    @torch.inference_mode()
    def one_by_one() -> None:
        for path in paths:
            network.encode_image(open_one(path)[None]).numpy()

    lengths = (4, 32)
    ours, single, *batches = compare(
        lambda: encoder.transform(paths),
        one_by_one,
        *(partial(in_batches, length) for length in lengths),
    )
    for length, theirs in zip(lengths, batches, strict=True):
        report(f"{name}: open_clip, batches of {length}", ours, theirs, ">= 0.97")
    report(f"{name}: open_clip, one after another", ours, single, ">= 2")
    print_difference(encoder.transform(paths), in_batches(32))


def print_difference(ours: np.ndarray, theirs: np.ndarray) -> None:
    theirs = theirs / np.linalg.norm(theirs, axis=1, keepdims=True)
    print(f"{'largest difference of a unit vector':56} {abs(ours - theirs).max():.1e}")


def bench_audio(size: float, folder: Path) -> None:
    paths = sound_files(folder, int(32 * size))
    compare_sounds("Cnn14", paths)
    compare_sounds("MobileNetV1", paths)


def compare_sounds(name: str, paths: list[str]) -> None:
    import librosa

    encoder = AudioEncoder(name, pretrained=False, device="cpu").fit(["any"])
    network = load_network(name, False, encoder.seed_)

    def load(path: str) -> torch.Tensor:
        return torch.from_numpy(librosa.load(path, sr=32_000, mono=True)[0])

    @torch.inference_mode()
    def in_batches() -> np.ndarray:
        batches = (torch.stack([*map(load, paths[i : i + 8])]) for i in starts)
        return np.concatenate([network(b)["embedding"].numpy() for b in batches])

    @torch.inference_mode()
    def one_by_one() -> None:
        for path in paths:
            network(load(path)[None])["embedding"].numpy()

    starts = range(0, len(paths), 8)
    ours, single, batches = compare(
        lambda: encoder.transform(paths), one_by_one, in_batches
    )
    report(f"{name}: 5 s sounds, batches of 8", ours, batches, ">= 0.97")
    report(f"{name}: 5 s sounds, one after another", ours, single, ">= 2")
    print_difference(encoder.transform(paths), in_batches())


def bench_duplicates(size: float, folder: Path) -> None:
    n_items, n_rows = int(500 * size), int(10_000 * size)
    text = TextEncoder(TEXT, device="cpu").fit(["any"])
    image = ImageEncoder(*IMAGE, device="cpu").fit(["any"])
    columns = [
        ("text", text, sentences(n_items)),
        ("image", image, picture_files(folder, n_items)),
    ]
    for name, encoder, few in columns:
        many = [few[i % n_items] for i in range(n_rows)]
        sides = compare(
            lambda e=encoder, c=many: e.transform(c),
            lambda e=encoder, c=few: e.transform(c),
        )
        title = f"{name}: {n_items} distinct items / {n_rows} rows of them"
        report(title, *sides, ">= 0.91")


def bench_cache(size: float, folder: Path) -> None:
    texts = sentences(int(10_000 * size))
    cache = EmbeddingCache(folder / "cache")
    cached = TextEncoder(TEXT, device="cpu", cache=cache).fit(["any"])
    filling = measure(lambda: cached.transform(texts))
    theirs = Side(*filling, filling.wall)
    (ours,) = compare(lambda: cached.transform(texts))
    report(f"cache: {len(texts)} texts, warm / filling it", ours, theirs, ">= 50")


def bench_int8(size: float, folder: Path) -> None:
    texts = sentences(int(400 * size))
    exact = TextEncoder(TEXT, device="cpu").fit(["any"])
    small = TextEncoder(TEXT, device="cpu", precision="int8").fit(["any"])
    report(
        "int8: text, against float32",
        *compare(lambda: small.transform(texts), lambda: exact.transform(texts)),
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


def text_peak(n: int, folder: Path, queue: Any) -> None:
    texts = [f"short text number {i}" for i in range(n)]
    queue.put(peak_memory(TextEncoder(TEXT, device="cpu"), texts))


def image_peak(n: int, folder: Path, queue: Any) -> None:
    data = [Path(path).read_bytes() for path in picture_files(folder, 50)]
    for i in range(n):  # distinct files: what follows the end of a JPEG is not read
        (folder / f"{i}.jpg").write_bytes(data[i % len(data)] + str(i).encode())
    paths = [str(folder / f"{i}.jpg") for i in range(n)]
    queue.put(peak_memory(ImageEncoder(*IMAGE, device="cpu"), paths))


def peak_memory(encoder: Any, column: list[str]) -> int:
    """Return the peak memory of this process beyond the result, in bytes."""
    encoder.fit(["any"])
    result = encoder.transform(column)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return peak - result.nbytes


def compare_memory(name: str, function: Callable, n: int, folder: Path) -> None:
    context = get_context("spawn")
    peaks = []
    for n_items in (n // 10, n):
        queue = context.Queue()
        process = context.Process(target=function, args=(n_items, folder, queue))
        process.start()
        peaks.append(queue.get() / 2**20)
        process.join()
    title = f"memory: peak for {n} {name} / a tenth, less the result"
    print(
        f"{title:56} {peaks[1]:6.0f} MB {peaks[0]:6.0f} MB "
        f"{peaks[1] / peaks[0]:7.2f}x  (goal <= 1.30)",
        flush=True,
    )


def bench_text_memory(size: float, folder: Path) -> None:
    compare_memory("texts", text_peak, int(100_000 * size), folder)


def bench_image_memory(size: float, folder: Path) -> None:
    compare_memory("pictures", image_peak, int(20_000 * size), folder)


def main() -> None:
    benches = {
        name.removeprefix("bench_"): function
        for name, function in globals().items()
        if name.startswith("bench_")
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(benches))
    parser.add_argument("--size", type=float, default=1.0, help="scales the inputs")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    globals()["REPEATS"] = arguments.repeats
    print(
        f"{platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads; ours, theirs, ratio"
    )
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as folder:
            benches[name](arguments.size, Path(folder))


if __name__ == "__main__":
    main()
