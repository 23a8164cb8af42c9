"""Multimodal models of a few thousand seeded weights, saved as folders."""

import torch
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    Qwen2VLConfig,
    Qwen2VLImageProcessor,
    Qwen2VLModel,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
)

from .conftest import byte_tokenizer

TEXT = {
    "vocab_size": 257,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
PADS = {"pad_token": "<|end|>"}
VISION_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
CHAT = (
    "{% for m in messages %}[{{ m.role }}]{% for part in m.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}<|end|>"
)


def save_clip(folder):
    """Texts and pictures, each with a tower of its own."""
    vision = {"image_size": 32, "patch_size": 16, "projection_dim": 12}
    layers = {k: TEXT[k] for k in list(TEXT)[1:5]}
    text = {**TEXT, "max_position_embeddings": 24, "projection_dim": 12}
    config = CLIPConfig(
        text_config=text, vision_config={**layers, **vision}, projection_dim=12
    )
    _save(CLIPModel, config, folder)
    CLIPProcessor(
        CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ),
        byte_tokenizer(model_max_length=24, **PADS),
    ).save_pretrained(folder)


def save_clap(folder):
    """Texts and sounds of 2 s at 8 kHz, each with a tower of its own."""
    text = {**TEXT, "max_position_embeddings": 40, "projection_dim": 12}
    audio = {
        "window_size": 4,
        "num_mel_bins": 16,
        "spec_size": 64,
        "patch_size": 2,
        "patch_stride": [2, 2],
        "hidden_size": 32,
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "projection_dim": 12,
    }
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    _save(ClapModel, config, folder)
    ClapProcessor(
        ClapFeatureExtractor(
            feature_size=16,
            sampling_rate=8000,
            hop_length=400,
            max_length_s=2,
            fft_window_size=512,
            frequency_max=4000,
            truncation="rand_trunc",
        ),
        byte_tokenizer(model_max_length=24, **PADS),
    ).save_pretrained(folder)


def save_chat(folder):
    """Texts and pictures that one decoder reads together, through a chat template."""
    tokenizer = byte_tokenizer(
        additional_special_tokens=VISION_TOKENS,
        model_max_length=512,
        padding_side="left",
        **PADS,
    )
    ids = tokenizer.convert_tokens_to_ids(VISION_TOKENS)
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    text = {**TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope}
    vision = {
        "depth": 1,
        "embed_dim": 16,
        "hidden_size": 16,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 4,
    }
    names = ("vision_start", "vision_end", "image", "video")
    config = Qwen2VLConfig(
        text_config={**text, "num_key_value_heads": 1, "max_position_embeddings": 512},
        vision_config=vision,
        **{f"{name}_token_id": i for name, i in zip(names, ids, strict=True)},
    )
    _save(Qwen2VLModel, config, folder)
    sizes = {"patch_size": 4, "size": {"shortest_edge": 64, "longest_edge": 1024}}
    Qwen2VLProcessor(
        Qwen2VLImageProcessor(**sizes),
        tokenizer,
        Qwen2VLVideoProcessor(**sizes),
        chat_template=CHAT,
    ).save_pretrained(folder)


def _save(network, config, folder):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network(config).save_pretrained(folder)
