"""What the host does for each item, against its parts alone, in one process.

    python benchmarks/host_path.py [texts|words|pictures|sounds ...] [--size 1.0]

The networks of the encoders are replaced by nothing: they give ones, at once. All the
rest of an encoder runs. Beside it run the parts that no encoder can do without:

- texts: the tokenizer of transformers in one call, ``encode_batch_fast`` of the library
  below it, and the encoder that tokenises whole texts;
- words: tokenizers alone, in batches of 512, in whole against words that are looked up
  (overviews need ``SKMMREC_DATA_HOME``);
- pictures: open_clip's own transform; torchvision's JPEG decoder and its resize of
  bytes; Pillow's decoder at a fraction of the size, and its resize;
- sounds: soundfile, the mean of two channels, and soxr.

Printed are items for each second of a processor, summed over all threads: medians of
repetitions that alternate. Then, how many times as many items two threads prepare as
one does: 2 if neither waits for the other, and the interpreter is what they wait for.
That needs two idle cores. Waits are the switches of threads that gave up their core.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from encoders import IMAGE, TEXT, picture_files, sentences
from gpu import sentences as made_sentences
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torchvision.io import ImageReadMode, decode_jpeg, read_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from skmmrec.datasets import load_movielens_posters
from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder
from skmmrec.encoders._known_words import KnownWords, read_texts
from skmmrec.encoders._open_clip import load_open_clip
from skmmrec.encoders._word_borders import word_test

REPEATS = 7
# Texts that are tokenised together.
BATCH = 512
# In Hz: of compact discs, and what the networks for sounds take.
DISC, NETWORK = 44_100, 32_000

Parts = dict[str, Callable[[], object]]


def report(name: str, encoder: Any, items: list, parts: Parts) -> None:
    """Print how fast an encoder without a network is, and how fast the parts are."""
    sides = {"encoder": lambda: encoder.transform(items), **parts}
    seconds = processor_seconds(sides)
    speeds = {side: len(items) / median(times) for side, times in seconds.items()}
    print(f"{name}: {speeds['encoder']:.0f} a CPU second", end="")
    print(f" ({1000 / speeds['encoder']:.2f} ms each)")
    for side in parts:
        ratio = speeds["encoder"] / speeds[side]
        print(f"    {side:54} {speeds[side]:8.0f}   ratio {ratio:.2f}")
    gain, waits = two_threads(encoder._model, items)
    print(
        f"    {'two threads against one; waits for each item':54} {gain:8.2f}x", end=""
    )
    print(f"  waits {waits:.1f}", flush=True)


def processor_seconds(sides: Parts) -> dict[str, list[float]]:
    """Return the processor time of functions that run by turns."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for repeat in range(REPEATS + 1):
        for side, function in sides.items():
            start = time.process_time()
            function()
            if repeat:  # the first time, libraries are loaded
                seconds[side].append(time.process_time() - start)
    return seconds


def two_threads(model: Any, items: list) -> tuple[float, float]:
    """Return the gain in speed by a second thread, and the waits for each item."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    waits = []
    for _ in range(REPEATS):
        for n_threads, seconds in walls.items():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
            start = time.perf_counter()
            prepare_in_threads(model, items, n_threads)
            seconds.append(time.perf_counter() - start)
            if n_threads == 2:
                after = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
                waits.append((after - before) / len(items))
    # The best of each: other work on the machine disturbs them least.
    return min(walls[1]) / min(walls[2]), median(waits)


def prepare_in_threads(model: Any, items: list, n_threads: int) -> None:
    shares = [items[i::n_threads] for i in range(n_threads)]
    threads = [Thread(target=prepare, args=(model, share)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def prepare(model: Any, items: list) -> None:
    if hasattr(model, "prepare_many"):
        model.prepare_many(items)
    else:
        for item in items:
            model.prepare(item)


def bench_texts(size: float, folder: Path) -> None:
    texts = sentences(int(2_000 * size))
    encoder = TextEncoder(TEXT, device="cpu").fit(["any"])
    network, dim = encoder._model._embedder.transformer, encoder.embedding_dim_
    tokenizer = network.tokenizer
    reader: Any = encoder._model._reader

    def forward(features: dict, **options: object) -> dict:
        ones = torch.ones(len(features["input_ids"]), dim)
        return {**features, "sentence_embedding": ones}

    def by_whole_texts() -> None:
        known, reader._words = reader._words, None
        encoder.transform(texts)
        reader._words = known

    network.forward = forward
    parts: Parts = {
        "transformers' tokenizer": lambda: tokenizer(texts, truncation=True),
        "encode_batch_fast": lambda: tokenizer.backend_tokenizer.encode_batch_fast(
            texts
        ),
        "the encoder, without words that it knows": by_whole_texts,
    }
    report("texts of 3 to 80 words", encoder, texts, parts)


def bench_words(size: float, folder: Path) -> None:
    """Texts by the words that are known, against the tokenizer on whole texts."""
    made = made_sentences(int(20_000 * size))
    letters = np.array([*"abcdefghijklmnopqrstuvwxyz"])
    drawn = np.random.default_rng(0).choice(letters, (int(4_000 * size), 40, 12))
    columns = {
        "made texts": made,
        "words of random letters": [" ".join(map("".join, rows)) for rows in drawn],
    }
    if "SKMMREC_DATA_HOME" in os.environ:
        films = load_movielens_posters().item_table
        columns["overviews of films"] = films["overview"].dropna().tolist()
    word_pieces = TextEncoder(TEXT, device="cpu").fit(["any"])._model._reader
    for kind, tokenizer in {
        "of MiniLM": word_pieces._tokenizer,
        "as of XLM-R": marked_pieces(list(chain(*columns.values()))),
        "as of RoBERTa": byte_pairs(list(chain(*columns.values()))),
    }.items():
        for name, texts in columns.items():
            report_words(f"{name}, tokenizer {kind}", tokenizer, texts)


def report_words(name: str, tokenizer: Any, texts: list[str]) -> None:
    """Print how fast texts are read in whole, by new words, and by known ones."""
    nothing = np.empty(0, np.int32)
    is_apart = word_test(tokenizer)
    assert is_apart is not None

    def new() -> KnownWords:
        return KnownWords(tokenizer, is_apart, nothing, nothing)

    def in_batches(read: Callable[[list[str]], object]) -> None:
        for start in range(0, len(texts), BATCH):
            read(texts[start : start + BATCH])

    known = new()
    sides: Parts = {
        "in whole": lambda: in_batches(lambda part: read_texts(tokenizer, part, False)),
        "the first time": lambda: in_batches(new().read),
        "once its words are known": lambda: in_batches(known.read),
    }
    seconds = {side: median(each) for side, each in processor_seconds(sides).items()}
    print(name)
    for side, each in seconds.items():
        ratio = seconds["in whole"] / each
        print(f"    {side:54} {len(texts) / each:8.0f}   ratio {ratio:.2f}", flush=True)


def marked_pieces(texts: list[str]) -> Tokenizer:
    """Train a tokenizer that puts a mark before each word."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=8000, unk_token="<unk>", special_tokens=["<unk>"]
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_pairs(texts: list[str]) -> Tokenizer:
    """Train a tokenizer that takes a space for a byte of the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=20_000, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def bench_pictures(size: float, folder: Path) -> None:
    encoder = ImageEncoder(*IMAGE, device="cpu").fit(["any"])
    dim = encoder.embedding_dim_
    network: Any = encoder._model._network
    network.encode_image = lambda batch, *args, **options: torch.ones(len(batch), dim)
    transform = load_open_clip(*IMAGE)[1].whole
    side = transform(Image.new("RGB", (600, 900))).shape[-1]
    large = picture_files(folder, int(64 * size))
    (folder / "small").mkdir()
    for shape, paths in (
        ("600 x 900", large),
        ("200 x 300", [shrunk(path, folder / "small") for path in large]),
    ):
        report(
            f"JPEGs of {shape}", encoder, paths, picture_parts(paths, transform, side)
        )


def shrunk(path: str, folder: Path) -> str:
    """Write a picture at a third of its size."""
    target = folder / Path(path).name
    with Image.open(path) as image:
        image.resize((200, 300), Image.Resampling.BICUBIC).save(target)
    return str(target)


def picture_parts(paths: list[str], transform: Any, side: int) -> Parts:
    def by_open_clip() -> None:
        for path in paths:
            with Image.open(path) as image:
                transform(image.convert("RGB"))

    def by_torchvision() -> None:
        for path in paths:
            pixels = decode_jpeg(read_file(path), ImageReadMode.RGB)
            F.resize(pixels, [side], InterpolationMode.BICUBIC, antialias=True)

    def by_pillow() -> None:
        for path in paths:
            with Image.open(path) as image:
                image.draft("RGB", (side, side))
                scale = side / min(image.size)
                shape = (round(image.width * scale), round(image.height * scale))
                image.resize(shape, Image.Resampling.BICUBIC)

    return {
        "open_clip's transform": by_open_clip,
        "torchvision: decode_jpeg, resize": by_torchvision,
        "Pillow: draft, resize": by_pillow,
    }


class NoSoundNetwork(torch.nn.Module):
    """A network for sounds that gives ones."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ones of the right width."""
        return {"embedding": torch.ones(len(waveforms), self.dim)}


def bench_sounds(size: float, folder: Path) -> None:
    encoder = AudioEncoder("MobileNetV1", pretrained=False, device="cpu").fit(["any"])
    encoder._model._network = NoSoundNetwork(encoder.embedding_dim_)
    files = [
        ("FLAC, 44.1 kHz, noise in stereo", "flac", DISC, noise),
        ("FLAC, 44.1 kHz, tones in stereo", "flac", DISC, tones),
        ("WAV, 44.1 kHz, stereo", "wav", DISC, tones),
        ("MP3, 44.1 kHz, stereo", "mp3", DISC, tones),
        ("Ogg, 44.1 kHz, stereo", "ogg", DISC, tones),
        ("FLAC, 32 kHz, mono", "flac", NETWORK, lambda rate: tones(rate)[:, :1]),
        ("WAV, 32 kHz, mono", "wav", NETWORK, lambda rate: tones(rate)[:, :1]),
    ]
    for number, (name, extension, rate, make) in enumerate(files):
        paths = [folder / f"{number}_{i}.{extension}" for i in range(int(32 * size))]
        encoded = io.BytesIO()
        soundfile.write(encoded, make(rate), rate, format=extension)
        for path in paths:  # one content, but a file of its own for each
            path.write_bytes(encoded.getvalue())
        parts: Parts = {"soundfile, mean, soxr": lambda p=paths: sound_parts(p)}
        report(f"sounds of 5 s: {name}", encoder, paths, parts)


def noise(rate: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (5 * rate, 2))


def tones(rate: int) -> np.ndarray:
    times = np.arange(5 * rate) / rate
    pitches = np.random.default_rng(1).uniform(100, 4000, 6)
    chord = sum(np.sin(2 * np.pi * pitch * times) for pitch in pitches)
    return chord[:, None] / 20 + noise(rate) / 5


def sound_parts(paths: list[Path]) -> None:
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = samples[:, 0]
        if samples.shape[1] == 2:
            mono = (mono + samples[:, 1]) / 2
        if rate != NETWORK:
            soxr.resample(mono, rate, NETWORK)


def main() -> None:
    benches = {
        "texts": bench_texts,
        "words": bench_words,
        "pictures": bench_pictures,
        "sounds": bench_sounds,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(benches))
    parser.add_argument("--size", type=float, default=1.0, help="scales the inputs")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    globals()["REPEATS"] = arguments.repeats
    torch.set_num_threads(1)
    print(f"{platform.machine()}, torch {torch.__version__}, one core for each thread")
    for name in arguments.names:
        with tempfile.TemporaryDirectory() as folder:
            benches[name](arguments.size, Path(folder))


if __name__ == "__main__":
    main()
