"""Tiny models and small media, made here: no network, no data folder."""

import json
import string

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory):
    """A sentence-transformers folder: seeded letter embeddings, averaged."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    letters = {c: i for i, c in enumerate(["?", *string.printable])}
    letters = {token: i for i, token in enumerate(letters)}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    weights = np.random.default_rng(0).normal(size=(len(letters), 8))
    module = StaticEmbedding(tokenizer, embedding_weights=weights.astype(np.float32))
    folder = tmp_path_factory.mktemp("models") / "letters"
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return str(folder)


def byte_tokenizer(**options):
    """A byte-level tokenizer, as of Qwen and Llama: one token for each byte."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({w: i for i, w in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", **options
    )


@pytest.fixture(scope="session")
def language_model(tmp_path_factory):
    """A transformers folder: a seeded decoder of two layers over bytes."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=257,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Qwen3ForCausalLM(config)
    folder = tmp_path_factory.mktemp("models") / "decoder"
    network.save_pretrained(folder)
    byte_tokenizer(padding_side="left", model_max_length=64).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def decoder_model(language_model, tmp_path_factory):
    """A sentence-transformers folder as of an embedding model made from a decoder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    network = Transformer(language_model, processor_kwargs={"pad_token": "<|end|>"})
    transformer = SentenceTransformer(
        modules=[network, Pooling(16, "lasttoken")],
        prompts={"query": "Instruct: find it\nQuery: ", "document": ""},
        device="cpu",
    )
    folder = tmp_path_factory.mktemp("models") / "embedding"
    transformer.save(str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def bert_model(tmp_path_factory):
    """A sentence-transformers folder: a seeded encoder of two layers over letters."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = {token: i for i, token in enumerate([*special, *string.printable])}
    words = models.WordPiece(
        letters | {f"##{c}": len(letters) + i for i, c in enumerate(string.printable)},
        unk_token="[UNK]",
    )
    tokenizer = Tokenizer(words)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = BertModel(config)
    raw, folder = (tmp_path_factory.mktemp("models") / name for name in ("raw", "bert"))
    network.save_pretrained(raw)
    names = zip(("pad", "unk", "cls", "sep"), special, strict=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=128,
        **{f"{name}_token": token for name, token in names},
    ).save_pretrained(raw)
    modules = [Transformer(str(raw)), Pooling(32), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return str(folder)


@pytest.fixture(scope="session")
def image_model(tmp_path_factory):
    """An open_clip folder: a seeded one-layer vision transformer."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 12,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 16,
            "head_width": 8,
            "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    folder = tmp_path_factory.mktemp("models") / "tiny_vit"
    folder.mkdir()
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.3, 0.3], "size": 32}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.CLIP(**config)
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return str(folder)


@pytest.fixture(scope="session")
def sound_encoder():
    """An untrained AudioEncoder; holding it keeps one network for all tests.

    Its network takes a tenth of the work of the default one, and a seventeenth of its
    weights.
    """
    return AudioEncoder("MobileNetV1", pretrained=False).fit(["any"])


@pytest.fixture
def text_encoder(text_model):
    return TextEncoder(text_model).fit(["any"])


@pytest.fixture
def image_encoder(image_model):
    return ImageEncoder(image_model).fit(["any"])


@pytest.fixture(scope="session")
def minilm():
    return TextEncoder("package:all-MiniLM-L6-v2").fit(["any"])


@pytest.fixture(scope="session")
def efficientnet():
    encoder = ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0")
    return encoder.fit(["any"])


def tone(frequency, seconds=1.0, rate=16_000):
    """A sine wave."""
    time = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32), rate


def noise_picture(seed, size=(40, 30)):
    """A picture that compresses badly, so that its file can be cut anywhere."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3))
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def picture_file(tmp_path):
    path = tmp_path / "picture.png"
    noise_picture(0).save(path)
    return path


@pytest.fixture
def sound_file(tmp_path):
    path = tmp_path / "tone.wav"
    soundfile.write(path, *tone(440))
    return path
