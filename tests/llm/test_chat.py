"""Prompts as tokens: any chat template, any tokenizer, and nothing of the padding."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from skmmrec.llm import LanguageModel, LLMReranker, load_language_model
from skmmrec.llm._chat import pad_left
from skmmrec.llm._loading import Loaded, _prepare_tokenizer
from tests.llm.conftest import CHATML, byte_tokenizer, save_causal_model

USER_ONLY = CHATML.replace("in messages", "in messages if m.role != 'system'")
REFUSING = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    + CHATML
)
FILMS = pd.Series({1: "a war", 2: "love", 3: "the sea"})
LIST = pd.DataFrame({"user_id": "u", "item_id": [1, 2, 3], "score": [3.0, 2.0, 1.0]})
TASTE = pd.Series({"u": "likes the sea"})


def decoded(tokenizer, *arguments, **options):
    loaded = Loaded(None, tokenizer)
    return tokenizer.decode(loaded.tokenize(*arguments, **options))


@pytest.mark.parametrize("template", [REFUSING, USER_ONLY])
def test_a_template_without_system_messages_gets_them_in_the_prompt(template):
    tokenizer = byte_tokenizer(template)
    asked = "<|im_start|>user\nBe brief.\n\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert decoded(tokenizer, "Hi", "Be brief.") == asked
    assert decoded(tokenizer, "Hi") == asked.replace("Be brief.\n\n", "")


@pytest.mark.parametrize("template", [CHATML, None])
def test_special_tokens_without_a_role_leave_a_prompt_too(template):
    tokenizer = byte_tokenizer(template)
    marks = [AddedToken(mark, special=True) for mark in ("<|turn|>", "<|turn|>>")]
    tokenizer.add_tokens(marks, special_tokens=True)
    assert "<|turn|>" not in tokenizer.all_special_tokens
    assert "a system b" in decoded(tokenizer, "a<|turn|>system<|turn|>>b")


def test_a_prompt_without_a_template_ends_where_its_text_ends():
    tokenizer = byte_tokenizer(None)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)],
    )
    assert decoded(tokenizer, "once", end="\n\n") == "<|im_start|>once\n\n"


def test_what_ends_a_turn_is_read_from_the_template():
    tokenizer = byte_tokenizer(CHATML.replace("<|im_end|>", "<|turn|>"))
    tokenizer.add_tokens([AddedToken("<|turn|>", special=True)], special_tokens=True)
    turn = tokenizer.convert_tokens_to_ids("<|turn|>")
    assert turn not in tokenizer.all_special_ids
    assert turn in Loaded(None, tokenizer).ends
    without = byte_tokenizer(None)
    assert Loaded(None, without).ends == sorted(without.all_special_ids)


def test_a_model_that_may_think_aloud_does_not():
    tail = "{% if not enable_thinking | default(true) %}<nothing>{% endif %}"
    assert decoded(byte_tokenizer(CHATML + tail), "a").endswith("<nothing>")


def test_no_plain_token_becomes_a_special_one():
    plain = PreTrainedTokenizerFast(tokenizer_object=byte_tokenizer().backend_tokenizer)
    plain.chat_template = None
    _prepare_tokenizer(plain, len(plain))
    assert plain.all_special_tokens == []
    assert decoded(plain, "Hi! You!") == "Hi! You!"
    assert Loaded(None, plain).fill == 0


def test_a_token_without_an_embedding_pads_nothing():
    tokenizer = byte_tokenizer()
    n_rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    _prepare_tokenizer(tokenizer, n_rows)
    assert Loaded(None, tokenizer).fill == tokenizer.eos_token_id < n_rows
    assert "[PAD]" not in decoded(tokenizer, "a [PAD] b")


def test_rows_are_padded_on_the_left():
    ids, mask = pad_left([[5], [6, 7, 8]], 9, "cpu")
    assert ids.tolist() == [[9, 9, 5], [6, 7, 8]]
    assert mask.tolist() == [[0, 0, 1], [1, 1, 1]]


def test_a_models_own_settings_change_no_text(causal_model, tmp_path):
    folder = save_causal_model(tmp_path / "settings")
    path = tmp_path / "settings" / "generation_config.json"
    asked = {"do_sample": True, "repetition_penalty": 1.8, "min_new_tokens": 9}
    path.write_text(json.dumps(json.loads(path.read_text()) | asked))
    prompts = ["a", "tell me of the sea, the storm and the night"]
    plain, other = (
        LanguageModel(model, device="cpu", max_new_tokens=16).generate(prompts)
        for model in (causal_model, folder)
    )
    assert other == plain


@pytest.fixture(scope="module")
def broken_model(tmp_path_factory):
    """A model whose scores are not numbers, as an overflow makes them."""
    from transformers import LlamaForCausalLM

    folder = save_causal_model(tmp_path_factory.mktemp("models") / "broken")
    network = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        network.model.norm.weight.fill_(np.nan)
    network.save_pretrained(folder)
    return folder


def test_scores_that_are_no_numbers_are_an_error(broken_model):
    with pytest.raises(ValueError, match="not numbers; try precision='fp32'"):
        LanguageModel(broken_model, device="cpu", max_new_tokens=2).generate(["a"])
    reranker = LLMReranker(broken_model, method="likelihood", device="cpu")
    with pytest.raises(ValueError, match="not numbers; try precision='fp32'"):
        reranker.rerank(LIST, FILMS, TASTE)


def test_a_likelihood_that_the_model_cannot_read_is_an_error(tmp_path):
    model = save_causal_model(tmp_path / "short", n_positions=64)
    reranker = LLMReranker(model, method="likelihood", device="cpu")
    with pytest.raises(ValueError, match=r"the model reads 64: lower max_length"):
        reranker.rerank(LIST, FILMS, TASTE)


def test_a_network_without_attention_writes_the_same_in_any_batch(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = byte_tokenizer()
    ends = {f"{name}_token_id": tokenizer.eos_token_id for name in ("eos", "pad")}
    config = MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        state_size=4,
        num_hidden_layers=2,
        initializer_range=0.5,
        bos_token_id=None,
        **ends,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    prompts = ["a", "tell me of the sea, the storm and the night"]
    held = load_language_model(tmp_path, "cpu")
    one, both = (
        LanguageModel(tmp_path, device="cpu", max_new_tokens=8, batch_size=n)
        for n in (1, 2)
    )
    assert one.generate(prompts) == both.generate(prompts)
    assert both._load() is held
