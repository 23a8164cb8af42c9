"""Vectors and words of items, read by a frozen or an adapted language model."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skmmrec.catalog import Blocks
from skmmrec.encoders import EmbeddingCache
from skmmrec.llm import SoftTokenFuser, load_language_model
from skmmrec.llm._adapters import CoLikes
from skmmrec.llm._fuser_records import fuser_settings
from skmmrec.llm._soft_items import Item
from skmmrec.llm._soft_model import SoftTokenModel, semi_orthogonal
from tests.llm.conftest import byte_tokenizer, save_causal_model

N = 8
TITLES = [
    "Up",
    "A long way down the river",
    None,
    "Heat",
    "Up",
    "Solaris",
    "Brazil",
    "",
]


@pytest.fixture(scope="module")
def blocks():
    """The third item has no words, the fourth no image, the last nothing at all."""
    rng = np.random.default_rng(0)
    values = {
        "text": rng.normal(size=(N, 5)).astype(np.float32),
        "image": rng.normal(size=(N, 40)).astype(np.float32),
    }
    mask = np.ones((N, 2), bool)
    mask[3, 1] = False
    mask[7] = False
    for block, present in zip(values.values(), mask.T, strict=True):
        block[~present] = 0
    return Blocks(values, mask)


@pytest.fixture(scope="module")
def words():
    return pd.DataFrame({"title": TITLES, "year": range(N)})


@pytest.fixture(scope="module")
def masked_model(tmp_path_factory):
    """A seeded BERT: it sees both ways and frames texts by tokens of its own."""
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    tokenizer = byte_tokenizer(None, pad_token="<|im_end|>")
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A <|im_end|>",
        special_tokens=[("<|im_start|>", start), ("<|im_end|>", end)],
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.5,
    )
    folder = tmp_path_factory.mktemp("models") / "tiny_bert"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def n_read(monkeypatch):
    """Count the items that go through the network."""
    counts = []
    encode = SoftTokenModel.encode

    def counting(self, contents):
        counts.append(len(contents))
        return encode(self, contents)

    monkeypatch.setattr(SoftTokenModel, "encode", counting)
    return lambda: sum(counts)


def fit(model, blocks, words=None, **params):
    params = {"device": "cpu", "standardize": False, **params}
    return SoftTokenFuser(model, **params).fit(blocks, words=words)


def fuse(model, blocks, words=None, **params):
    fuser = fit(model, blocks, words, **params)
    return fuser.transform(blocks, words=words)


@pytest.mark.parametrize("kind", ["causal_model", "masked_model"])
def test_one_vector_for_each_item(kind, blocks, words, request):
    model = request.getfixturevalue(kind)
    fused = fuse(model, blocks, words)
    assert fused.modalities == ["llm"]
    vectors = fused.values["llm"]
    assert vectors.dtype == np.float32
    assert (
        vectors.shape[1] == load_language_model(model, "cpu").network.config.hidden_size
    )
    assert fused.mask[:, 0].tolist() == [True] * 7 + [False]
    assert not vectors[7].any()
    assert len(np.unique(vectors.round(3), axis=0)) == N


@pytest.mark.parametrize("kind", ["causal_model", "masked_model"])
def test_a_vector_is_that_of_its_item_alone(kind, blocks, words, request):
    model = request.getfixturevalue(kind)
    fused = fuse(model, blocks, words).values["llm"]
    for row in range(N):
        alone = fuse(model, blocks.take([row]), words.iloc[[row]]).values["llm"]
        np.testing.assert_allclose(alone[0], fused[row], atol=1e-5)


def test_it_is_the_hidden_state_after_prompt_vectors_and_words(causal_model, blocks):
    """The same, by transformers alone."""
    loaded = load_language_model(causal_model, "cpu")
    network = loaded.network.model
    table = network.get_input_embeddings()
    length = table.weight.norm(dim=1).median()

    def embed(text):
        ids = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        return table(ids["input_ids"][0])

    def soft(name):
        vector = torch.from_numpy(blocks.values[name][0])
        width = len(vector)
        token = vector @ semi_orthogonal(name, width, 32, seed=0)
        return (length * token / token.norm()).unsqueeze(0)

    parts = [
        embed("An item. text:"),
        soft("text"),
        embed(" image:"),
        soft("image"),
        embed('\ntitle: Up\nThis item in one word: "'),
    ]
    with torch.no_grad():
        hidden = network(inputs_embeds=torch.cat(parts).unsqueeze(0)).last_hidden_state
    words = pd.DataFrame({"title": ["Up"]})
    fused = fuse(causal_model, blocks.take([0]), words).values["llm"]
    np.testing.assert_allclose(fused[0], hidden[0, -1], atol=1e-5)
    mean = fuse(causal_model, blocks.take([0]), words, pooling="mean").values["llm"]
    np.testing.assert_allclose(mean[0], hidden[0].mean(0), atol=1e-5)


def test_coordinates_are_standardized(causal_model, blocks, words):
    plain = fuse(causal_model, blocks, words).values["llm"]
    fuser = fit(causal_model, blocks, words, standardize=True)
    fused = fuser.transform(blocks, words=words).values["llm"]
    np.testing.assert_allclose(fused[:7].std(0), 1, atol=1e-4)
    np.testing.assert_allclose(fused * plain[:7].std(0), plain, atol=1e-5)
    alone = fuser.transform(blocks.take([2]), words=words.iloc[[2]]).values["llm"]
    np.testing.assert_array_equal(alone[0], fused[2])
    single = fit(causal_model, blocks.take([0]), words.head(1), standardize=True)
    np.testing.assert_array_equal(single.scale_, 1)


def test_maps_keep_angles():
    for width in (3, 32):
        turned = semi_orthogonal("image", width, 32, seed=0)
        torch.testing.assert_close(
            turned @ turned.T, torch.eye(width), rtol=0, atol=1e-5
        )
    shrunk = semi_orthogonal("image", 50, 32, seed=0)
    torch.testing.assert_close(shrunk.T @ shrunk, torch.eye(32), rtol=0, atol=1e-5)
    same_width = semi_orthogonal("text", 32, 32, seed=0)
    assert not torch.allclose(
        same_width, semi_orthogonal("image", 32, 32, seed=0), atol=1e-3
    )


@pytest.mark.parametrize("change", ["words", "image", "no image", "name"])
def test_everything_has_influence(causal_model, blocks, words, change):
    before = fuse(causal_model, blocks, words).values["llm"]
    values, mask = {k: v.copy() for k, v in blocks.values.items()}, blocks.mask.copy()
    if change == "words":
        words = words.assign(title=["Down", *TITLES[1:]])
    elif change == "image":
        values["image"][0] *= -1
    elif change == "no image":
        mask[0, 1] = False
    else:
        values = {"text": values["text"], "sound": values["image"]}
    after = fuse(causal_model, Blocks(values, mask), words).values["llm"]
    assert np.abs(after[0] - before[0]).max() > 1e-3
    if change != "name":
        np.testing.assert_allclose(after[1:], before[1:], atol=1e-5)


def test_a_missing_vector_has_no_influence(causal_model, blocks, words):
    spoilt = {name: block.copy() for name, block in blocks.values.items()}
    spoilt["image"][3] = np.nan
    one = fuse(causal_model, blocks, words).values["llm"]
    other = fuse(causal_model, Blocks(spoilt, blocks.mask), words).values["llm"]
    np.testing.assert_array_equal(one, other)


def test_words_cannot_become_marks_of_a_chat(causal_model, blocks):
    loaded = load_language_model(causal_model, "cpu", generates=False)
    model = SoftTokenModel(loaded, "{modalities}{item}", {}, "last", 64, 0)
    marks = set(loaded.tokenizer.all_special_ids)
    assert not marks & set(model._tokens("<|im_start|>system"))


def test_a_prompt_is_framed_as_the_network_wants_it(masked_model):
    loaded = load_language_model(masked_model, "cpu", generates=False)
    model = SoftTokenModel(loaded, "a{modalities}{item}", {"text": 2}, "auto", 64, 0)
    vector = np.ones(2, np.float32)
    reading = model.prepare(Item("b", (vector,)))
    tokenizer = loaded.tokenizer
    assert tokenizer.decode(reading.ids[:1]) == "<|im_start|>"
    assert tokenizer.decode(reading.ids[-2:]) == "b<|im_end|>"
    assert reading.places == [(len("<a text:"), 0)]
    assert model.pooling == "mean"


@pytest.mark.parametrize("kind", ["causal_model", "masked_model"])
def test_long_words_are_cut(kind, blocks, request):
    model = request.getfixturevalue(kind)
    long = pd.DataFrame({"title": ["word " * 5000, "word " * 6000]})
    same = Blocks({k: v[[0, 0]] for k, v in blocks.values.items()}, blocks.mask[[0, 0]])
    fused = fuse(model, same, long, max_tokens=20).values["llm"]
    np.testing.assert_allclose(fused[0], fused[1], atol=1e-5)
    short = fuse(model, same, long, max_tokens=10).values["llm"]
    assert not np.allclose(fused[0], short[0], atol=1e-4)


def test_each_distinct_item_is_read_once(causal_model, blocks, words, n_read):
    rows = [0, 1, 0, 2, 7, 1]
    fuser = fit(causal_model, blocks, words)
    fused = fuser.transform(blocks.take(rows), words=words.iloc[rows]).values["llm"]
    assert n_read() == 3
    np.testing.assert_array_equal(fused[0], fused[2])
    again = fuser.transform(blocks.take([1]), words=words.iloc[[1]]).values["llm"]
    np.testing.assert_array_equal(again[0], fused[1])
    clone(fuser).fit(blocks, words=words).transform(blocks, words=words)
    assert n_read() == 7
    restored = pickle.loads(pickle.dumps(fuser))
    restored.transform(blocks, words=words)
    assert n_read() == 7


def test_a_clone_with_other_settings_shares_nothing_wrong(causal_model, blocks, words):
    fuser = fit(causal_model, blocks, words)
    fuser.transform(blocks, words=words)
    other = clone(fuser).set_params(pooling="mean").fit(blocks, words=words)
    expected = fuse(causal_model, blocks, words, pooling="mean").values["llm"]
    found = other.transform(blocks, words=words).values["llm"]
    np.testing.assert_array_equal(found, expected)


def test_a_cache_outlives_the_process(causal_model, blocks, words, tmp_path, n_read):
    params = {"cache": EmbeddingCache(tmp_path / "vectors")}
    first = fuse(causal_model, blocks, words, **params).values["llm"]
    assert n_read() == 7
    second = fuse(causal_model, blocks, words, **params).values["llm"]
    assert n_read() == 7
    np.testing.assert_array_equal(first, second)


def test_a_pickle_carries_no_weights(causal_model, blocks, words):
    fuser = fit(causal_model, blocks, words)
    fuser.transform(blocks, words=words)
    weights = load_language_model(causal_model, "cpu", generates=False).network
    size = sum(p.nbytes for p in weights.parameters())
    assert len(pickle.dumps(fuser)) < size / 4


def test_columns_of_words(causal_model, blocks, words):
    assert fit(causal_model, blocks, words).columns_ == ["title"]
    assert fit(causal_model, blocks, words, columns=["year"]).columns_ == ["year"]
    assert fit(causal_model, blocks).columns_ == []
    with pytest.raises(ValueError, match="columns names 'plot'"):
        fit(causal_model, blocks, words, columns=["plot"])


def test_a_prompt_of_ones_own(causal_model, blocks, words, tmp_path):
    prompt = tmp_path / "mine.txt"
    prompt.write_text("{item} looks like{modalities}.")
    mine = fuse(causal_model, blocks, words, prompt=prompt).values["llm"]
    assert not np.allclose(
        mine, fuse(causal_model, blocks, words).values["llm"], atol=1e-4
    )
    prompt.write_text("{item}")
    with pytest.raises(ValueError, match=r"mine\.txt lacks.*\{modalities\}"):
        fuse(causal_model, blocks, words, prompt=prompt)


def test_other_blocks_than_in_fit(causal_model, blocks):
    fuser = fit(causal_model, blocks)
    part = Blocks({"image": blocks.values["image"]}, blocks.mask[:, 1:])
    assert fuser.transform(part).mask[:, 0].tolist() == blocks.mask[:, 1].tolist()
    for name, width in {"image": 39, "sound": 40}.items():
        other = Blocks({name: np.ones((1, width), np.float32)}, np.ones((1, 1), bool))
        with pytest.raises(ValueError, match=f"'{name}' of width {width}"):
            fuser.transform(other)


def test_another_model_in_the_place_of_the_first(blocks, tmp_path):
    fuser = fit(save_causal_model(tmp_path / "model"), blocks)
    save_causal_model(tmp_path / "model", seed=1)
    with pytest.raises(ValueError, match="is not the one of fit"):
        fuser.transform(blocks)


def test_an_encoder_with_a_decoder_is_refused(blocks, tmp_path):
    from transformers import T5Config, T5Model

    tokenizer = byte_tokenizer(None)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=8, d_kv=4, d_ff=8, num_layers=1
    )
    T5Model(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="has an encoder and a decoder"):
        fit(str(tmp_path / "t5"), blocks)


def save_transformer(folder, network_class, **settings):
    """Save a seeded transformer of any kind, and a tokenizer over bytes."""
    tokenizer = byte_tokenizer(None)
    config = network_class.config_class(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network_class(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_hidden_states_may_have_another_width_than_embeddings(blocks, tmp_path):
    from transformers import AlbertModel

    sizes = {"embedding_size": 8, "intermediate_size": 16}
    fuser = fit(save_transformer(tmp_path, AlbertModel, **sizes), blocks)
    assert fuser.embedding_dim_ == 16
    assert fuser.transform(blocks).values["llm"].shape == (N, 16)


def test_soft_tokens_are_as_long_as_words_where_those_are_scaled(tmp_path):
    from transformers import Gemma3TextModel

    sizes = {"num_key_value_heads": 1, "head_dim": 8, "intermediate_size": 16}
    folder = save_transformer(tmp_path, Gemma3TextModel, **sizes)
    loaded = load_language_model(folder, "cpu", generates=False)
    model = SoftTokenModel(loaded, "{modalities}{item}", {"text": 2}, "last", 64, 0)
    embeddings = loaded.network.get_input_embeddings()
    words = embeddings(torch.arange(embeddings.num_embeddings)).norm(dim=1)
    soft = model.soft_tokens(0, torch.ones(1, 2)).norm()
    torch.testing.assert_close(soft, words.median(), rtol=1e-5, atol=1e-5)
    assert soft > 3 * embeddings.weight.norm(dim=1).median()


def test_a_prompt_beyond_what_the_model_reads_names_its_row(blocks, words, tmp_path):
    folder = save_causal_model(tmp_path / "short", n_positions=80)
    with pytest.raises(ValueError, match=r"row 1: the prompt has .* reads 80; lower"):
        fuse(folder, blocks, words)
    assert len(fuse(folder, blocks, words, max_tokens=9)) == N


def test_no_words_are_read_without_tokens_for_them(causal_model, blocks, words):
    nothing = Blocks({}, np.empty((N, 0), bool))
    assert not fuse(causal_model, nothing, words, max_tokens=0).mask.any()


def test_a_fit_that_fails_leaves_what_was_there(causal_model, blocks, words):
    fuser = fit(causal_model, blocks, words)
    expected = fuser.transform(blocks, words=words).values["llm"]
    fuser.set_params(columns=["plot"], pooling="auto")
    with pytest.raises(ValueError, match="columns names 'plot'"):
        fuser.fit(blocks, words=words)
    found = fuser.transform(blocks, words=words).values["llm"]
    np.testing.assert_array_equal(found, expected)
    absent = SoftTokenFuser("./absent", device="cpu")
    with pytest.raises(FileNotFoundError):
        absent.fit(blocks)
    with pytest.raises(NotFittedError):
        absent.transform(blocks)


def test_a_vector_that_is_not_finite_names_its_row(
    causal_model, blocks, words, monkeypatch
):
    fuser = fit(causal_model, blocks, words)
    monkeypatch.setattr(
        SoftTokenModel, "encode", lambda self, c: np.full((len(c), 32), np.nan)
    )
    with pytest.raises(ValueError, match="row 1: the vector is not finite"):
        fuser.transform(blocks, words=words)


def test_progress_is_that_of_reading(causal_model, blocks, words, monkeypatch, capsys):
    shown = []
    encode = SoftTokenModel.encode

    def watching(self, contents):
        shown.append(capsys.readouterr().err)
        return encode(self, contents)

    monkeypatch.setattr(SoftTokenModel, "encode", watching)
    fuse(causal_model, blocks, words, verbose=True, batch_size=3)
    assert "0/7" in "".join(shown)
    assert "7/7" not in "".join(shown)
    assert "7/7" in capsys.readouterr().err


# -- adapters -----------------------------------------------------------------------

LORA = {"lora": {"r": 2}, "n_steps": 30, "n_pairs": 6, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def likes():
    """Even items are liked together, and odd ones."""
    users = np.arange(10).repeat(3)
    rng = np.random.default_rng(0)
    drawn = [2 * rng.choice(3, 3, replace=False) + user % 2 for user in range(10)]
    return CoLikes(users, np.concatenate(drawn))


def fit_lora(model, blocks, words, likes, **params):
    fuser = SoftTokenFuser(model, standardize=False, **{**LORA, **params})
    return fuser.fit(blocks, words=words, likes=likes)


def nearness(vectors, same):
    """Mean cosine of items liked together, less that of the others."""
    vectors = vectors - vectors.mean(axis=0)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines, other = units @ units.T, ~np.eye(len(units), dtype=bool)
    return cosines[same & other].mean() - cosines[~same].mean()


def test_adapters_bring_together_what_is_liked_together(
    causal_model, blocks, words, likes
):
    frozen = fuse(causal_model, blocks, words).values["llm"][:6]
    fuser = fit_lora(causal_model, blocks, words, likes)
    adapted = fuser.transform(blocks, words=words).values["llm"][:6]
    same = np.arange(6)[:, None] % 2 == np.arange(6) % 2
    assert nearness(adapted, same) > nearness(frozen, same) + 0.2
    assert np.mean(fuser.loss_curve_[-5:]) < np.mean(fuser.loss_curve_[:5])
    after = fuse(causal_model, blocks, words).values["llm"][:6]
    np.testing.assert_array_equal(after, frozen)


def test_adapters_are_seeded_and_leave_the_generators_alone(
    causal_model, blocks, words, likes
):
    state = torch.random.get_rng_state()
    one, other = (fit_lora(causal_model, blocks, words, likes) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, weight in one.weights_.items():
        np.testing.assert_array_equal(weight, other.weights_[name])
    drawn_otherwise = fit_lora(causal_model, blocks, words, likes, random_state=1)
    assert drawn_otherwise.loss_curve_ != one.loss_curve_


def test_adapters_in_threads_are_those_alone(causal_model, blocks, words, likes):
    def fit(seed):
        return fit_lora(
            causal_model, blocks, words, likes, random_state=seed, n_steps=4
        ).loss_curve_

    alone = [fit(seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(fit, (0, 1)))
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-5)


def test_adapters_survive_a_pickle(causal_model, blocks, words, likes):
    fuser = fit_lora(causal_model, blocks, words, likes, n_steps=3)
    restored = pickle.loads(pickle.dumps(fuser))
    expected = fuser.transform(blocks, words=words).values["llm"]
    found = restored.transform(blocks, words=words).values["llm"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_settings_of_peft_itself(causal_model, blocks, words, likes):
    from peft import LoraConfig

    config = LoraConfig(r=3, target_modules=["q_proj"])
    fuser = fit_lora(causal_model, blocks, words, likes, lora=config, n_steps=2)
    shapes = {w.shape for name, w in fuser.weights_.items() if "adapter" in name}
    assert shapes == {(3, 32), (32, 3)}


def test_settings_of_adapters_are_written_in_terms_of_json():
    lora = {"target_modules": {"v", "q"}, "r": np.int64(2), "rank_pattern": {"q": (1,)}}
    written = fuser_settings(SoftTokenFuser(lora=lora))["lora"]
    assert json.loads(json.dumps(written)) == written
    assert written == {
        "target_modules": ["q", "v"],
        "r": 2,
        "rank_pattern": {"q": [1]},
    }


def test_adapters_of_another_kind_are_refused(causal_model, blocks, words, likes):
    with pytest.raises(TypeError, match="lora must be None, a mapping or a peft"):
        fit_lora(causal_model, blocks, words, likes, lora="all")


def test_adapters_need_likes(causal_model, blocks, words):
    with pytest.raises(ValueError, match="lora learns from likes"):
        fit_lora(causal_model, blocks, words, None)
    lonely = CoLikes(np.arange(4), np.arange(4))
    with pytest.raises(ValueError, match="users with two likes"):
        fit_lora(causal_model, blocks, words, lonely)


def test_pairs_are_of_one_user_and_two_items(likes):
    pairs = likes.draw(200, np.random.default_rng(0))
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert (pairs[:, 0] % 2 == pairs[:, 1] % 2).all()
    assert set(pairs.ravel()) == set(likes.items)


@pytest.mark.slow
def test_real_weights_tell_items_apart(smollm2, blocks):
    titles = ["a love story in Paris", "a romance in France", "a war in space"]
    words = pd.DataFrame({"title": titles})
    nothing = Blocks({}, np.empty((3, 0), bool))
    vectors = fuse(smollm2, nothing, words).values["llm"]
    units = vectors - vectors.mean(0)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    cosines = units @ units.T
    assert cosines[0, 1] > max(cosines[0, 2], cosines[1, 2])
