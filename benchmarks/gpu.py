"""What a GPU makes of the encoders and the recommender, beside the loops users write.

    python benchmarks/gpu.py [texts pictures sounds fit lists tiktok] [--size 1.0]

Prints a line per figure as soon as it is known; all of it takes at most six minutes on
an H100 with 16 cores. Nothing is fetched: networks are real architectures with random
weights, and media are made on the spot. Sounds need panns-inference, and ``tiktok`` the
folder that ``SKMMREC_DATA_HOME`` names. Each side is run once to warm up, on a part of
its items, and once for the figure. ``--device cpu --size 0.01`` tries the script where
there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder
from skmmrec.recommender import Regularization, Training

# Items of the figures that the goals were set for.
N_TEXTS, N_BASE_TEXTS, N_PICTURES, N_SOUNDS = 40_000, 20_000, 4_000, 1_000
N_INTERACTIONS, N_USERS, N_ITEMS = 1_000_000, 50_000, 20_000
BATCH = 512
WORKERS = os.cpu_count() or 1


class Bench:
    """Where the benchmark runs, and how large it is.

    Parameters
    ----------
    device : str
        "cuda", or "cpu" to try the script.
    size : float
        Scales the numbers of items.
    folder : Path
        For networks and media.
    """

    def __init__(self, device: str, size: float, folder: Path) -> None:
        self.device, self.size, self.folder = device, size, folder
        self.half = {"device_type": device, "dtype": torch.bfloat16}

    def count(self, n: int) -> int:
        """Scale a number of items."""
        return scaled(n, self.size)

    def seconds(self, function: Callable[[], object]) -> float:
        """Time a call, with all that it has put on the device."""
        self.wait()
        start = time.perf_counter()
        function()
        self.wait()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def rate(self, function: Callable[[Sequence], object], items: Sequence) -> float:
        """Items a second, after a run on an eighth of them."""
        function(items[: max(32, len(items) // 8)])
        return len(items) / self.seconds(lambda: function(items))

    def busy(self, function: Callable[[], object]) -> str:
        """Share of a call's time in which kernels ran on the GPU."""
        if self.device != "cuda":
            return "no GPU"
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CUDA]) as profiler:
            wall = self.seconds(function)
        on_gpu = sum(event.self_device_time_total for event in profiler.key_averages())
        return f"{on_gpu / 1e6 / wall:.1%}"


def scaled(n: int, size: float) -> int:
    """Scale a number; few are too few to time."""
    return max(32, int(n * size))


def row(what: str, ours: str, busy: str, loops: str, parts: str, goal: str) -> None:
    """Print a line of the table."""
    print(f"| {what} | {ours} | {busy} | {loops} | {parts} | {goal} |", flush=True)


# -- texts -----------------------------------------------------------------------------


def texts(bench: Bench) -> None:
    """Texts of 3 to 80 words through networks of two sizes."""
    for name, shape, n, goal in (
        ("MiniLM-L6", (384, 6, 12, 1536), N_TEXTS, "30,000"),
        ("BERT-base", (768, 12, 12, 3072), N_BASE_TEXTS, "20,000"),
    ):
        folder = bench.folder / name
        save_bert(folder, *shape)
        items = sentences(bench.count(n))
        encoder = TextEncoder(folder, device=bench.device).fit(["any"])
        ours = bench.rate(encoder.transform, items)
        row(
            f"texts a second, {name}",
            f"{ours:,.0f}",
            bench.busy(lambda e=encoder, t=items: e.transform(t[: len(t) // 4])),
            ", ".join(
                f"{bench.rate(f, items):,.0f}" for f in text_loops(bench, folder)
            ),
            ", ".join(text_parts(bench, folder, items)),
            goal,
        )


def text_loops(bench: Bench, folder: Path) -> list[Callable[[Sequence], object]]:
    """sentence-transformers' own loop: under autocast, and with weights cast once."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device=bench.device)
    cast = SentenceTransformer(str(folder), device=bench.device).bfloat16()

    def under_autocast(items: Sequence) -> object:
        with torch.autocast(**bench.half):
            return model.encode(items, batch_size=BATCH, show_progress_bar=False)

    def with_cast_weights(items: Sequence) -> object:
        options = {"convert_to_tensor": True, "show_progress_bar": False}
        return cast.encode(items, batch_size=BATCH, **options).float().cpu().numpy()

    return [under_autocast, with_cast_weights]


def text_parts(bench: Bench, folder: Path, items: list[str]) -> list[str]:
    """Rates of the tokenizer alone, and of the network on tokens that are ready."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device=bench.device).bfloat16().eval()
    tokenizer = model.tokenizer
    rate = bench.rate(lambda t: tokenizer(t, truncation=True), items)
    ordered = sorted(items, key=len)[: BATCH * 20]
    batches = [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]
    ready = [
        tokenizer(batch, padding=True, truncation=True, return_tensors="pt").to(
            bench.device
        )
        for batch in batches
    ]

    @torch.inference_mode()
    def forward(features: Sequence) -> None:
        for batch in features:
            model({name: tensor.clone() for name, tensor in batch.items()})

    forward(ready)
    network = len(ordered) / bench.seconds(lambda: forward(ready))
    return [f"tokenizer {rate:,.0f}", f"network {network:,.0f}"]


def sentences(n: int) -> list[str]:
    """Make texts of 3 to 80 words, with the frequencies of a language."""
    rng = np.random.default_rng(0)
    words = np.array(made_words(20_000))
    frequency = 1 / np.arange(1, len(words) + 1)
    lengths = rng.integers(3, 81, n)
    drawn = rng.choice(len(words), lengths.sum(), p=frequency / frequency.sum())
    ends = np.cumsum(lengths)
    return [
        f"{i} " + " ".join(words[drawn[end - length : end]])
        for i, (end, length) in enumerate(zip(ends, lengths, strict=True))
    ]


def made_words(n: int) -> list[str]:
    """Make words of one to four syllables."""
    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bdfghklmnprstvz" for b in ("a", "e", "i", "o", "un")]
    lengths = rng.integers(1, 5, 2 * n)
    words = ["".join(rng.choice(syllables, length)) for length in lengths]
    return list(dict.fromkeys(words))[:n]


def save_bert(
    folder: Path, width: int, n_layers: int, n_heads: int, inner: int
) -> None:
    """Save a sentence-transformers model of random weights with a WordPiece tokenizer.

    Its vocabulary holds half of the words, so that the others have several tokens.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters)]
    syllables = sorted({word[:2] for word in made_words(20_000)})
    pieces += [f"##{syllable}" for syllable in syllables] + made_words(10_000)
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=512,
        **{f"{name}_token": token for name, token in names.items()},
    )
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=width,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=inner,
    )
    torch.manual_seed(0)
    raw = folder.with_name(f"{folder.name}-raw")
    BertModel(config).save_pretrained(raw)
    fast.save_pretrained(raw)
    network = Transformer(str(raw), max_seq_length=256)
    SentenceTransformer(modules=[network, Pooling(width), Normalize()]).save(
        str(folder)
    )
    shutil.rmtree(raw)


# -- pictures --------------------------------------------------------------------------


def pictures(bench: Bench) -> None:
    """JPEGs of 600x900 through ViT-B/32."""
    folder = bench.folder / "vit"
    save_vit(folder)
    paths = picture_files(bench.folder, bench.count(N_PICTURES))
    encoder = ImageEncoder(folder, "of the folder", device=bench.device).fit(["any"])
    ours = bench.rate(encoder.transform, paths)
    busy = bench.busy(lambda: encoder.transform(paths[: len(paths) // 4]))
    network, transform = bare_vit(bench)
    loop = bench.rate(
        lambda items: load_and_run(bench, network, transform, items), paths
    )
    with ThreadPoolExecutor(WORKERS) as pool:
        host = bench.rate(
            lambda items: [*pool.map(lambda p: transform(open_rgb(p)), items)], paths
        )
    ready = torch.zeros(BATCH, 3, 224, 224, device=bench.device, dtype=torch.bfloat16)
    run_vision(network, ready)
    alone = (
        5
        * BATCH
        / bench.seconds(lambda: [run_vision(network, ready) for _ in range(5)])
    )
    row(
        "JPEGs of 600x900 a second, ViT-B/32",
        f"{ours:,.0f}",
        busy,
        f"{loop:,.0f} (DataLoader, {WORKERS} workers, pinned, bf16)",
        f"decode and transform in {WORKERS} threads {host:,.0f}, network {alone:,.0f}",
        "6,000",
    )


def save_vit(folder: Path) -> None:
    """Save an untrained ViT-B/32 as open_clip reads it."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = open_clip.create_model("ViT-B-32")
    config = open_clip.get_model_config("ViT-B-32")
    folder.mkdir(parents=True)
    settings = {"model_cfg": config, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")


def bare_vit(bench: Bench) -> tuple[Any, Any]:
    """Make the network in bfloat16, and the transform that belongs to it."""
    import open_clip

    network, _, transform = open_clip.create_model_and_transforms("ViT-B-32")
    return network.to(bench.device, torch.bfloat16).eval(), transform


def picture_files(folder: Path, n: int) -> list[str]:
    """Write JPEGs; a few hundred are made, the others differ in what follows them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    made = []
    for i in range(min(n, 200)):
        coarse = Image.fromarray(rng.integers(0, 256, (90, 60, 3), dtype=np.uint8))
        path = folder / f"made-{i}.jpg"
        coarse.resize((600, 900), Image.Resampling.BICUBIC).save(path, quality=90)
        made.append(path.read_bytes())
    paths = [folder / f"{i}.jpg" for i in range(n)]
    for i, path in enumerate(paths):
        path.write_bytes(made[i % len(made)] + str(i).encode())
    return [str(path) for path in paths]


def open_rgb(path: str) -> Any:
    """Open a picture as most loops do."""
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB")


class PictureFiles(torch.utils.data.Dataset):
    """What a DataLoader needs to read pictures."""

    def __init__(self, paths: Sequence[str], transform: Callable) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(open_rgb(self.paths[i]))


@torch.inference_mode()
def run_vision(network: Any, batch: torch.Tensor) -> torch.Tensor:
    """Run the vision tower on a batch."""
    return network.encode_image(batch)


def load_and_run(
    bench: Bench, network: Any, transform: Any, paths: Sequence[str]
) -> np.ndarray:
    """Encode by a DataLoader with processes, as a careful user would."""
    loader = torch.utils.data.DataLoader(
        PictureFiles(paths, transform),
        batch_size=256,
        num_workers=WORKERS,
        pin_memory=bench.device == "cuda",
    )
    parts = [
        run_vision(network, b.to(bench.device, torch.bfloat16, non_blocking=True))
        for b in loader
    ]
    return torch.cat(parts).float().cpu().numpy()


# -- sounds ----------------------------------------------------------------------------


def sounds(bench: Bench) -> None:
    """FLACs of 5 s through Cnn14."""
    try:
        from skmmrec.encoders._panns import load_network

        network = load_network("Cnn14", False, 0).to(bench.device)
    except ImportError as error:
        print(f"sounds: {error}", flush=True)
        return
    paths = sound_files(bench.folder, bench.count(N_SOUNDS))
    encoder = AudioEncoder(pretrained=False, device=bench.device).fit(["any"])
    ours = bench.rate(encoder.transform, paths)
    busy = bench.busy(lambda: encoder.transform(paths[: len(paths) // 2]))
    loop = bench.rate(lambda items: load_and_listen(bench, network, items), paths)
    with ThreadPoolExecutor(WORKERS) as pool:
        host = bench.rate(lambda items: [*pool.map(read_sound, items)], paths)
    ready = torch.zeros(64, 5 * 32_000, device=bench.device)
    listen(bench, network, ready)
    alone = (
        5
        * 64
        / bench.seconds(lambda: [listen(bench, network, ready) for _ in range(5)])
    )
    row(
        "FLACs of 5 s a second, Cnn14",
        f"{ours:,.0f}",
        busy,
        f"{loop:,.0f} (DataLoader, {WORKERS} workers, soundfile and soxr)",
        f"soundfile and soxr in {WORKERS} threads {host:,.0f}, network {alone:,.0f}",
        "1,500",
    )


def sound_files(folder: Path, n: int) -> list[str]:
    """Write FLACs; fifty are made, the others differ in their first samples."""
    import soundfile

    rng = np.random.default_rng(0)
    made = [rng.normal(0, 0.1, (5 * 44_100, 2)) for _ in range(min(n, 50))]
    paths = []
    for i in range(n):
        samples = made[i % len(made)]
        samples[0] = i / n
        paths.append(str(folder / f"{i}.flac"))
        soundfile.write(paths[-1], samples, 44_100)
    return paths


def read_sound(path: str) -> torch.Tensor:
    """Read a sound, mix and resample it, as loops do that do not take librosa."""
    import soundfile
    import soxr

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(soxr.resample(samples.mean(axis=1), rate, 32_000))


class SoundFiles(torch.utils.data.Dataset):
    """What a DataLoader needs to read sounds."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return read_sound(self.paths[i])


@torch.inference_mode()
def listen(bench: Bench, network: Any, batch: torch.Tensor) -> torch.Tensor:
    """Run Cnn14 under autocast."""
    with torch.autocast(**bench.half):
        return network(batch)["embedding"]


def load_and_listen(bench: Bench, network: Any, paths: Sequence[str]) -> np.ndarray:
    """Encode by a DataLoader with processes."""
    loader = torch.utils.data.DataLoader(
        SoundFiles(paths),
        batch_size=64,
        num_workers=WORKERS,
        pin_memory=bench.device == "cuda",
    )
    parts = [
        listen(bench, network, batch.to(bench.device, non_blocking=True))
        for batch in loader
    ]
    return torch.cat(parts).float().cpu().numpy()


# -- the recommender -------------------------------------------------------------------


def fit(bench: Bench) -> None:
    """Fit generated interactions, two epochs, the precision of the ids given."""
    X, catalog = generated(bench.size)
    recommender = make_recommender(bench.device, catalog)
    recommender.fit(X.head(len(X) // 20))
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = bench.seconds(lambda: recommender.fit(X))
    peak = ""
    if bench.device == "cuda":
        peak = f", peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"
    on_device = bench.busy(lambda: recommender.fit(X.head(len(X) // 4)))
    other = make_recommender("cpu", catalog)
    on_host = bench.seconds(lambda: other.fit(X))
    row(
        f"fit, {len(X):,} interactions, 2 epochs, seconds",
        f"{seconds:.1f}{peak}, loss {recommender.loss_curve_[-1]:.4f}",
        on_device,
        f"the CPU: {on_host:.1f}, loss {other.loss_curve_[-1]:.4f}",
        "",
        "2.5",
    )


def make_recommender(device: str, catalog: ItemCatalog) -> Any:
    """Make the recommender of the figures."""
    return MultimodalFusionRecommender(
        catalog,
        device=device,
        random_state=0,
        training=Training(max_epochs=2),
        regularization=Regularization(id_l2=1.0),
    )


@cache
def generated(size: float) -> tuple[pd.DataFrame, ItemCatalog]:
    """Draw items by Zipf's law within the tastes of users; content tells the taste."""
    rng = np.random.default_rng(0)
    n, n_users, n_items = (scaled(x, size) for x in (N_INTERACTIONS, N_USERS, N_ITEMS))
    weights = 1 / np.arange(1, n_items + 1) ** 0.8
    users, genre = rng.integers(0, n_users, n), np.arange(n_items) % 20
    items = rng.choice(n_items, n, p=weights / weights.sum())
    own = rng.integers(0, 20, n_users)[users]
    items = np.where(rng.random(n) < 0.5, items - items % 20 + own, items)
    X = pd.DataFrame({"user_id": users, "item_id": np.minimum(items, n_items - 1)})
    columns = [pd.DataFrame({"item_id": np.arange(n_items)})]
    for name in ("image__", "text__"):
        means = rng.normal(size=(20, 64))[genre]
        values = (means + rng.normal(size=means.shape)).astype(np.float32)
        columns.append(pd.DataFrame(values).add_prefix(name))
    return X, ItemCatalog(pd.concat(columns, axis=1))


def lists(bench: Bench) -> None:
    """Recommend to all users, on the device and on the CPU, with the same lists."""
    X, catalog = generated(bench.size)
    recommender = make_recommender(bench.device, catalog).fit(X)
    users = X["user_id"].unique()
    given: dict[str, pd.DataFrame] = {}

    def recommend(device: str) -> None:
        recommender.set_params(device=device)
        given[device] = recommender.recommend(users, 10)

    recommend(bench.device)
    seconds = bench.seconds(lambda: recommend(bench.device))
    on_host = bench.seconds(lambda: recommend("cpu"))
    pairs = zip(given[bench.device]["item_id"], given["cpu"]["item_id"], strict=True)
    n_other = sum(a != b for a, b in pairs)
    row(
        f"lists of 10 for {len(users):,} users, seconds",
        f"{seconds:.2f}",
        bench.busy(lambda: recommend(bench.device)),
        f"the CPU: {on_host:.2f}",
        f"{n_other} places differ",
        "none differ",
    )


def tiktok(bench: Bench) -> None:
    """Fit TikTok by the defaults, on the device and on the CPU, two seeds."""
    if "SKMMREC_DATA_HOME" not in os.environ:
        print("tiktok: SKMMREC_DATA_HOME names no folder", flush=True)
        return
    from recommending import data
    from recommending.protocol import evaluate

    source = data.tiktok()
    results: dict[str, str] = {}
    for device in (bench.device, "cpu"):
        seconds, metrics = [], []
        for seed in range(2):
            model = MultimodalFusionRecommender(
                source.catalog, device=device, random_state=seed
            )
            seconds.append(bench.seconds(lambda model=model: model.fit(source.train)))
            metrics.append(evaluate(model, source.test).mean())
        mean = pd.DataFrame(metrics).mean()
        results[device] = (
            f"{min(seconds):.1f} (first {seconds[0]:.1f}), Recall@20 / NDCG@20 "
            f"{mean['recall@20']:.4f} / {mean['ndcg@20']:.4f}"
        )
    row("fit, TikTok, seconds", results[bench.device], "", results["cpu"], "", "2")


PARTS = {f.__name__: f for f in (texts, pictures, sounds, fit, lists, tiktok)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--size", type=float, default=1.0, help="scales the inputs")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "no CUDA device; --device cpu tries the script\n")
    name = "no GPU"
    if arguments.device == "cuda":
        name = torch.cuda.get_device_name()
    print(
        f"{name}, {WORKERS} cores ({platform.machine()}), torch {torch.__version__}\n"
    )
    print("| what | skmmrec | GPU busy | bare loops | parts alone | goal |")
    print(f"{'|---' * 6}|", flush=True)
    start = time.perf_counter()
    for part in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(arguments.device, arguments.size, Path(folder))
            PARTS[part](bench)
    print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
