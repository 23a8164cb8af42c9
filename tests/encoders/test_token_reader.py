"""Tokens that are read in batches are those of the library, whatever the tokenizer."""

from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_all_start_methods, get_context

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tokenizers import (
    AddedToken,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import (
    BertConfig,
    BertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from skmmrec.encoders import TextEncoder
from skmmrec.encoders._embedders import Embedder, cast_weights
from skmmrec.encoders._known_words import FEW_TEXTS
from skmmrec.encoders._sentence_models import SentenceModel
from skmmrec.encoders._token_reader import token_reader
from skmmrec.runtime import TOKENS_AT_ONCE, BatchLimit

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 60,
}
CPU = torch.device("cpu")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = st.text(
    st.sampled_from("abc  .,'ABÜßé\u0301\u200d\t\n漢字🐶ﬁ0")
    | st.characters(exclude_categories=["Cs"]),
    max_size=90,
)


def framed(tokenizer, before, after, types=0):
    """Frame texts by special tokens."""
    names = [*before, *after]
    single = " ".join([*before, f"$A:{types}", *after])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(n, tokenizer.token_to_id(n)) for n in names]
    )
    return tokenizer


def word_pieces(**options):
    """As of BERT: words in lower case, cut into letters at worst."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *".,'", *LETTERS]
    words += [f"##{letter}" for letter in LETTERS] + ["ab", "##bc", "word", "字"]
    words = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=framed(tokenizer, ["[CLS]"], ["[SEP]"]),
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{"pad_token": "[PAD]", "model_max_length": 24, **options},
    )


def unigrams(**options):
    """As of XLM-R: pieces with the space before, and tokens that take it along."""
    words = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0)]
    words += [(f"{space}{c}", -4.0) for c in [*LETTERS, *"ABÜé.,'"] for space in "▁ "]
    words += [("▁", -2.0), ("▁ab", -3.0), ("bc", -3.0), ("▁word", -3.0)]
    words = [(word.strip(), score) for word, score in words]
    tokenizer = Tokenizer(models.Unigram(words, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.add_tokens([AddedToken("ca", single_word=True, normalized=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=framed(tokenizer, ["<s>"], ["</s>"]),
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
        **{"pad_token": "<pad>", "model_max_length": 24, **options},
    )


def network(kind, config, tokenizer, folder, **options):
    """Save a seeded transformer with its tokenizer, and load it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config(vocab_size=len(tokenizer), **SIZES, **options)).save_pretrained(
            folder
        )
    tokenizer.save_pretrained(folder)
    return Transformer(str(folder))


def bert(folder, **options):
    return network(BertModel, BertConfig, word_pieces(**options), folder)


def roberta(folder, **options):
    tokenizer = unigrams(**options)
    ids = {"pad_token_id": tokenizer.pad_token_id}
    return network(XLMRobertaModel, XLMRobertaConfig, tokenizer, folder, **ids)


def mpnet(folder, **options):
    tokenizer = unigrams(padding_side="left", truncation_side="left", **options)
    ids = {"pad_token_id": tokenizer.pad_token_id}
    return network(MPNetModel, MPNetConfig, tokenizer, folder, **ids)


def unlimited(folder):
    return bert(folder, model_max_length=int(1e30))


def static(folder, **truncation):
    tokenizer = word_pieces().backend_tokenizer
    if truncation:
        tokenizer.enable_truncation(**truncation)
    return StaticEmbedding(tokenizer, embedding_dim=16)


def static_cut(folder):
    return static(folder, max_length=7, direction="left")


MODULES = [bert, roberta, mpnet, unlimited, static, static_cut]


def sentence_transformer(module, **pooling):
    layers = (
        [module]
        if isinstance(module, StaticEmbedding)
        else [module, Pooling(16, **pooling)]
    )
    return SentenceTransformer(modules=layers, device="cpu").eval()


@pytest.fixture(scope="module", params=MODULES, ids=lambda module: module.__name__)
def transformer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    return sentence_transformer(request.param(folder))


def assert_same_features(given, expected):
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert given[name].dtype == value.dtype
            assert torch.equal(given[name], value)
        else:
            assert given[name] == value


@pytest.mark.parametrize("prompt", ["", "find ab: "])
@settings(max_examples=30)
@given(texts=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=6))
def test_a_network_is_given_what_the_library_gives(transformer, prompt, texts):
    reader = token_reader(transformer, prompt)
    assert reader is not None
    # Words of many texts are read once, and looked up from then on.
    for several in (texts, texts * FEW_TEXTS, texts * FEW_TEXTS):
        tokens = [reader.cut(row) for row in reader.read(several)]
        expected = transformer.preprocess(several, prompt=prompt)
        assert_same_features(reader.features(tokens, CPU), expected)


@pytest.mark.parametrize("prompt", ["", "ab ", "word"])
@settings(max_examples=30)
@given(texts=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=4))
def test_pieces_of_long_texts_are_those_of_the_library(transformer, prompt, texts):
    model = SentenceModel(Embedder(transformer), chunk=True, prompt=prompt)
    given_pieces = [
        tokens for content in model.prepare_many(texts) for tokens in content
    ]
    texts_of_pieces, weights = [], []
    for text in texts:
        pieces = model.cut(text)
        texts_of_pieces += [piece for piece, _ in pieces]
        weights += [n for _, n in pieces] if len(pieces) > 1 else [None]
    for (_, weight), expected in zip(given_pieces, weights, strict=True):
        assert expected in (None, weight)
    features = model._reader.features([tokens for tokens, _ in given_pieces], CPU)
    expected = transformer.preprocess(texts_of_pieces, prompt=prompt)
    assert_same_features(features, expected)


def by_the_library(transformer, **options):
    """A model of texts that tokenises as the library does."""
    embedder = Embedder(transformer)
    embedder.reader = lambda prompt: None
    return SentenceModel(embedder, **options)


@pytest.mark.parametrize("chunk", [True, False])
@pytest.mark.parametrize("prompt", [None, "find ab: "])
def test_vectors_are_those_of_the_library(transformer, chunk, prompt):
    texts = ["a", "word ab. " * 30, "Ab bc", "x" * 70, "漢字 ca", "abc, " * 9]
    model = SentenceModel(Embedder(transformer), chunk=chunk, prompt=prompt)
    assert model._reader is not None
    slow = by_the_library(transformer, chunk=chunk, prompt=prompt)
    expected = slow.encode(slow.prepare_many(texts))
    contents = model.prepare_many(texts)
    np.testing.assert_allclose(model.encode(contents), expected, rtol=1e-5, atol=1e-6)
    for content, other in zip(contents, slow.prepare_many(texts), strict=True):
        slow.encode([other])
        assert content.unknown == pytest.approx(other.unknown, rel=1e-9, abs=1e-9)
    assert model.identity == slow.identity


def test_a_prompt_may_be_left_out_of_the_mean(tmp_path):
    transformer = sentence_transformer(bert(tmp_path), include_prompt=False)
    model = SentenceModel(Embedder(transformer), chunk=False, prompt="find: ")
    vectors = model.encode(model.prepare_many(["ab bc", "word"]))
    expected = transformer.encode(["ab bc", "word"], prompt="find: ")
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-6)


def changed_in_call(transformer):
    kind = type(transformer.tokenizer)

    class Other(kind):
        def _encode_plus(self, *args, **options):
            return super()._encode_plus(*args, **options)

    transformer.tokenizer.__class__ = Other


def changed_by_settings(transformer):
    transformer[0].processing_kwargs = {"text": {"max_length": 5}}


def without_padding(transformer):
    transformer.tokenizer.pad_token = None


def with_other_types(transformer):
    tokenizer = transformer.tokenizer.backend_tokenizer
    framed(tokenizer, ["[CLS]"], ["[SEP]"], types=1)


def without_room(transformer):
    transformer.tokenizer.model_max_length = 2


@pytest.mark.parametrize(
    "change",
    [
        changed_in_call,
        changed_by_settings,
        without_padding,
        with_other_types,
        without_room,
    ],
)
def test_whatever_is_unusual_is_left_to_the_library(tmp_path, change):
    transformer = sentence_transformer(bert(tmp_path))
    assert token_reader(transformer, "") is not None
    change(transformer)
    assert token_reader(transformer, "") is None


def test_threads_share_a_reader(minilm):
    reader = minilm._model._reader
    columns = [[f"text {i} {'word ' * i}" for i in range(n, n + 40)] for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(reader.read, columns))
    for column, rows in zip(columns, together, strict=True):
        for row, alone in zip(rows, reader.read(column), strict=True):
            np.testing.assert_array_equal(row, alone)


def test_each_text_is_tokenised_once(minilm, monkeypatch):
    """Those that are cut as well: their pieces are parts of it."""

    class Counting:
        def __init__(self, tokenizer):
            self.tokenizer = tokenizer
            self.read = []

        def encode_batch_fast(self, texts, **options):
            self.read += texts
            return self.tokenizer.encode_batch_fast(texts, **options)

        def encode_batch(self, texts, **options):
            self.read += texts
            return self.tokenizer.encode_batch(texts, **options)

    reader = minilm._model._reader
    counting = Counting(reader._tokenizer)
    for owner in (reader, reader._words):
        monkeypatch.setattr(owner, "_tokenizer", counting)
    texts = ["a dog barks. " * n for n in (1, 20, 400)] + ["a cat"]
    contents = minilm._model.prepare_many(texts)
    assert [len(content) > 1 for content in contents] == [False, False, True, False]
    assert sorted(counting.read) == sorted(texts)


def test_a_text_that_a_tokenizer_refuses_is_named(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_tokens([AddedToken("dimension"), AddedToken("word")])
    module = StaticEmbedding(tokenizer, embedding_dim=4)
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "words"))
    encoder = TextEncoder(tmp_path / "words", on_error="missing")
    with pytest.warns(UserWarning, match=r"1 of 4 rows.*row 2"):
        vectors = encoder.fit_transform(["a", "b", "c", "a b"])
    assert vectors.any(axis=1).tolist() == [True, True, False, True]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_cast_and_what_a_network_computed_is_not(decoder_model, dtype):
    transformer = SentenceTransformer(decoder_model, device="cpu").eval()
    assert cast_weights(transformer, dtype)
    assert {weight.dtype for weight in transformer.parameters()} == {dtype}
    assert {buffer.dtype for buffer in transformer.buffers()} == {torch.float32}


def test_weights_that_half_precision_overwhelms_are_not_cast(tmp_path):
    transformer = sentence_transformer(static(tmp_path))
    with torch.no_grad():
        transformer[0].embedding.weight.mul_(1e6)
    before = transformer[0].embedding.weight.clone()
    assert not cast_weights(transformer, torch.float16)
    assert torch.equal(transformer[0].embedding.weight, before)


def in_child(encoder, texts, queue):
    queue.put(encoder.transform(texts))


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="no forks here")
def test_a_forked_child_tokenises_after_its_parent_did_so_in_threads(minilm):
    texts = [f"text {i} " + "word " * (i % 40) for i in range(300)]
    minilm._model.prepare_many(texts)  # long enough for the library to use threads
    context = get_context("fork")
    queue = context.Queue()
    child = context.Process(target=in_child, args=(minilm, texts[:5], queue))
    child.start()
    vectors = queue.get(timeout=60)
    child.join()
    np.testing.assert_allclose(
        vectors, minilm.transform(texts[:5]), rtol=1e-5, atol=1e-6
    )


def test_batches_of_an_accelerator_are_cut_by_tokens(minilm):
    model = minilm._model
    limit = BatchLimit(4096, model.enough)
    short = model.prepare_many(["a dog"] * 9000)
    long = model.prepare_many(["a dog barks at the moon. " * 30] * 600)
    sizes = [len(batch) for batch in limit.cut(long + short, model.cost)]
    n_tokens = len(long[0][0][0])
    assert sizes[0] == TOKENS_AT_ONCE // n_tokens
    assert max(sizes) == 4096
