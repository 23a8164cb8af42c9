"""Texts that are put together from known words have the tokens of the whole text."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from skmmrec.encoders import TextEncoder, _known_words
from skmmrec.encoders._known_words import FEW_TEXTS, MAX_LETTERS, KnownWords
from skmmrec.encoders._token_reader import TokenReader
from skmmrec.encoders._word_borders import word_test

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *".,'ß0", *LETTERS, "the", "moon", "漢"]
PIECES += [f"##{letter}" for letter in LETTERS]
WORDS = st.text(
    st.sampled_from("abthemoon.,'AÉßé\u0301\u200d\t\n\u00a0漢字🐶ﬁ0[]")
    | st.characters(exclude_categories=["Cs"]),
    max_size=12,
) | st.sampled_from(
    [
        "the",
        "moon",
        "[CLS]",
        "[SEP]x",
        "<tag>",
        "a<tag>b",
        "x" * 120,
        "\u00b4",
        "▁the",
        "it's",
        "'s",
    ]
)
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)


def tokenizer(**options):
    """As of BERT, with a token that somebody added."""
    vocabulary = {piece: i for i, piece in enumerate(PIECES)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**options)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    made.add_tokens([AddedToken("<tag>", single_word=True, lstrip=True, rstrip=True)])
    return made


def unigrams(normalizer, *before, **options):
    """As of XLM-R: each word begins with a mark, and a token takes its space along."""
    words = [(f"{mark}{c}", -4.0) for c in [*LETTERS, *".,'ß0漢"] for mark in ("▁", "")]
    words += [("▁", -2.0), ("▁the", -3.0), ("oon", -3.0), ("▁▁", -1.0)]
    vocabulary = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *words]
    made = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=False))
    if normalizer is not None:
        made.normalizer = normalizer
    last = pre_tokenizers.Metaspace(**options)
    made.pre_tokenizer = pre_tokenizers.Sequence([*before, last]) if before else last
    made.add_special_tokens(["[CLS]", "</s>", AddedToken("[SEP]", lstrip=True)])
    made.add_tokens([AddedToken("<tag>", single_word=True), AddedToken("x0")])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return made


def byte_pairs(normalizer=None, spaces=(), before=(), **options):
    """As of RoBERTa: a space is a byte of the word that follows it."""
    made = Tokenizer(models.BPE())
    if normalizer is not None:
        made.normalizer = normalizer
    last = pre_tokenizers.ByteLevel(**options)
    made.pre_tokenizer = pre_tokenizers.Sequence([*before, last]) if before else last
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(["the moon, the  moon. it's the moon \n the"] * 9, trainer)
    made.add_special_tokens(["[CLS]", "</s>", AddedToken("[SEP]", lstrip=True)])
    made.add_tokens([*spaces, AddedToken("<tag>", single_word=True), AddedToken("x0")])
    return made


def known_words(made):
    is_apart = word_test(getattr(made, "made", made))
    before, after = (np.array(one, np.int32) for one in frame_of(made))
    return KnownWords(made, is_apart, before, after)


def frame_of(made):
    ids = getattr(made, "made", made).encode("").ids
    return ids[:1], ids[1:]


ONE_SPACE = normalizers.Replace(Regex(" {2,}"), " ")
TOKENIZERS = {
    "lower case": tokenizer(),
    "any case": tokenizer(lowercase=False),
    "control characters": tokenizer(clean_text=False),
    "marks": unigrams(None),
    "marks alone": unigrams(normalizers.NFKC(), pre_tokenizers.WhitespaceSplit()),
    "marks after one space": unigrams(
        normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), ONE_SPACE])
    ),
    "bytes": byte_pairs(add_prefix_space=False),
    "bytes after a space": byte_pairs(add_prefix_space=True),
    "bytes, tokens of spaces": byte_pairs(
        normalizers.NFC(), ["  ", "   ", "\n\n", "\t"], add_prefix_space=False
    ),
    "marks, no accents": unigrams(
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    ),
}


class Counting:
    """A tokenizer that notes what it is given."""

    def __init__(self, made):
        self.made = made
        self.given = []

    def encode_batch_fast(self, texts, **options):
        self.given += texts
        return self.made.encode_batch_fast(texts, **options)


def assert_read(words, made, texts):
    rows = words.read(texts)
    assert {row.dtype for row in rows} <= {np.dtype(np.int32)}
    assert [row.tolist() for row in rows] == [
        encoding.ids for encoding in made.encode_batch_fast(texts)
    ]


@pytest.mark.parametrize("kind", TOKENIZERS)
@settings(max_examples=60)
@given(
    batches=st.lists(
        st.tuples(st.lists(TEXTS, min_size=1, max_size=30), st.sampled_from([1, 2, 20]))
    )
)
def test_tokens_are_those_of_the_whole_text(kind, batches):
    made = TOKENIZERS[kind]
    words = known_words(made)
    for texts, copies in batches:
        assert_read(words, made, texts * copies)


def test_a_word_that_comes_again_is_not_tokenised_again():
    counting = Counting(tokenizer())
    words = known_words(counting)
    words.read(["the moon, the dog"] * FEW_TEXTS)
    assert counting.given == ["the", "moon,", "dog"]
    words.read(["the dog the  moon, the dog"] * FEW_TEXTS)
    assert counting.given == ["the", "moon,", "dog", ""]


def test_the_first_word_of_a_text_may_be_another_one():
    """It has no space before it, which others are tokenised with."""
    counting = Counting(byte_pairs(add_prefix_space=False))
    words = known_words(counting)
    assert_read(words, counting.made, ["moon the moon"] * FEW_TEXTS)
    assert counting.given == ["moon", " the", " moon"]


def test_few_new_words_are_tokenised_by_themselves_and_many_with_their_text():
    counting = Counting(tokenizer())
    words = known_words(counting)
    words.read(["the moon"] * FEW_TEXTS)
    counting.given.clear()
    mostly_known = "the the the the the the dog"
    mostly_new = "cat bird the fish fox hen"
    assert_read(words, counting.made, [mostly_known, mostly_new, *["the"] * FEW_TEXTS])
    assert counting.given == ["dog", mostly_new]


def test_few_texts_are_read_as_they_are():
    counting = Counting(tokenizer())
    texts = ["the moon"] * (FEW_TEXTS - 1)
    known_words(counting).read(texts)
    assert counting.given == texts


def test_what_is_kept_has_an_end(monkeypatch):
    """More words are read with each text that has them, to the same tokens."""
    monkeypatch.setattr(_known_words, "MAX_WORDS", 6)
    made = tokenizer()
    words = known_words(made)
    for first in LETTERS:
        assert_read(words, made, [f"the {first}moon {first}"] * FEW_TEXTS)
    assert len(words._words) <= 6
    assert len(words._places) == len(words._words)


def test_long_words_are_not_kept():
    counting = Counting(tokenizer())
    words = known_words(counting)
    text = "the " + "a" * (MAX_LETTERS + 1)
    for _ in range(2):
        assert_read(words, counting.made, [text] * FEW_TEXTS)
    assert counting.given == ["the", *[text] * 2 * FEW_TEXTS]


def test_a_text_that_cannot_be_read_leaves_no_words_behind():
    made = tokenizer()
    words = known_words(made)
    with pytest.raises(TypeError):
        words.read(["moon \ud800 dog"] * FEW_TEXTS)
    assert_read(words, made, ["the moon dog"] * FEW_TEXTS)


def test_threads_learn_at_the_same_time():
    made = tokenizer()
    words = known_words(made)
    rng = np.random.default_rng(0)
    letters = np.array([*LETTERS])
    batches = [
        [" ".join(["".join(rng.choice(letters, 2)) for _ in range(9)])] * FEW_TEXTS
        for _ in range(200)
    ]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(words.read, batches))
    for texts, rows in zip(batches, found, strict=True):
        assert rows[0].tolist() == made.encode(texts[0]).ids
    assert len(words._places) == len(words._words)


def replaced(made, **parts):
    for name, part in parts.items():
        setattr(made, name, part)
    return made


class Halves:
    """A pre-tokenizer in Python."""

    def pre_tokenize(self, pretok):
        pretok.split(lambda _, text: [text[: len(str(text)) // 2], text[1:]])


def with_space_in_a_token():
    made = tokenizer()
    made.add_tokens(["new york"])
    return made


@pytest.mark.parametrize(
    "made",
    [
        with_space_in_a_token(),
        replaced(tokenizer(), pre_tokenizer=pre_tokenizers.ByteLevel()),
        replaced(tokenizer(), normalizer=normalizers.Strip()),
        unigrams(normalizers.Strip()),
        unigrams(normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])),
        unigrams(normalizers.Replace("a", "b")),
        unigrams(None, prepend_scheme="first"),
        unigrams(None, split=False),
        unigrams(None, pre_tokenizers.Digits()),
        byte_pairs(use_regex=False),
        byte_pairs(before=[pre_tokenizers.Digits()]),
        byte_pairs(spaces=[" "]),
        byte_pairs(spaces=["a b"]),
        byte_pairs(normalizers.Strip()),
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")),
        replaced(
            tokenizer(), pre_tokenizer=pre_tokenizers.PreTokenizer.custom(Halves())
        ),
    ],
)
def test_words_of_other_tokenizers_are_not_known_to_be_apart(made):
    assert word_test(made) is None


def test_tokenizers_that_cut_are_given_whole_texts():
    made = replaced(tokenizer(), post_processor=None)
    assert TokenReader(made, "", None, None)._words is not None
    made.enable_truncation(4)
    assert TokenReader(made, "", None, None)._words is None


def test_static_embeddings_are_looked_up_by_the_same_words(tmp_path):
    module = StaticEmbedding(tokenizer(), embedding_dim=4)
    SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "static"))
    encoder = TextEncoder(tmp_path / "static").fit(["any"])
    assert encoder._model._reader._words is not None
    texts = [f"the moon {letter}" for letter in LETTERS]
    library = encoder._model._embedder.transformer.encode(texts)
    library /= np.linalg.norm(library, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.transform(texts), library, rtol=1e-5, atol=1e-6)
