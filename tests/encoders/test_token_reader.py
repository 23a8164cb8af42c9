"""Tokens that are read in batches are those of the library, whatever the tokenizer."""

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

from skmmrec.encoders._sentence_models import Embedder, SentenceModel
from skmmrec.encoders._token_reader import token_reader

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
@settings(max_examples=30, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS.filter(str.strip), min_size=1, max_size=6))
def test_a_network_is_given_what_the_library_gives(transformer, prompt, texts):
    reader = token_reader(transformer, prompt)
    assert reader is not None
    tokens = [reader.cut(row) for row in reader.read(texts)]
    expected = transformer.preprocess(texts, prompt=prompt)
    assert_same_features(reader.features(tokens, CPU), expected)


@pytest.mark.parametrize("prompt", ["", "ab ", "word"])
@settings(max_examples=30, deadline=None, derandomize=True)
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
