"""Texts, pictures and sounds through one model."""

import pickle
import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.utils.estimator_checks import check_estimator

from skmmrec import ItemCatalog
from skmmrec.encoders import EmbeddingCache, MultimodalEncoder, TextEncoder
from skmmrec.encoders._multimodal import _from_columns, _names_kinds
from skmmrec.testing import EncoderTests

from .conftest import noise_picture, tone
from .test_base import count_encoded
from .test_sklearn_checks import NumbersAsPicture
from .tiny_multimodal import save_chat, save_clap, save_clip

TEXTS = ["a dog barks", "Ü 漢字", "a longer text, with more than 24 tokens in it"]


@contextmanager
def held(fitted):
    """Keep a model's weights loaded for the encoders that share them."""
    fitted.fit(["any"])
    yield fitted


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multimodal")
    for save in (save_clip, save_clap, save_chat):
        save(folder / save.__name__)
    return folder


@pytest.fixture(scope="module")
def clip(folders):
    path = str(folders / "save_clip")
    with held(encoder(path, "image")):
        yield path


@pytest.fixture(scope="module")
def clap(folders):
    path = str(folders / "save_clap")
    with held(encoder(path, "audio")):
        yield path


@pytest.fixture(scope="module")
def chat(folders):
    path = str(folders / "save_chat")
    with held(encoder(path, "image")):
        yield path


@pytest.fixture(scope="module")
def three(clip, clap, folders):
    """One model that routes texts, pictures and sounds to towers of their own."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Router, Transformer

    towers = {"text": [Transformer(clip)], "image": [Transformer(clip)]}
    router = Router({**towers, "audio": [Transformer(clap)]}, default_route="text")
    folder = folders / "three"
    SentenceTransformer(modules=[router], device="cpu").save(str(folder))
    return str(folder)


def encoder(model, modality, **options):
    return MultimodalEncoder(model, modality=modality, device="cpu", **options)


def library(folder, inputs):
    """Vectors of unit length that sentence-transformers gives, one by one."""
    from sentence_transformers import SentenceTransformer

    direct = SentenceTransformer(folder, device="cpu")
    vectors = np.vstack([direct.encode([one]) for one in inputs])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def as_sound(samples, rate=8000):
    return {"audio": {"array": samples, "sampling_rate": rate}}


def test_texts_are_those_of_the_library(clip):
    vectors = encoder(clip, "text").fit_transform(TEXTS[:2])
    expected = library(clip, [{"text": text} for text in TEXTS[:2]])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("model", ["clip", "chat"])
def test_pictures_are_those_of_the_library(model, request):
    folder = request.getfixturevalue(model)
    pictures = [noise_picture(seed, size) for seed, size in enumerate([(40, 30)] * 3)]
    pictures.append(noise_picture(9, (30, 64)))
    vectors = encoder(folder, "image").fit_transform(pictures)
    expected = library(folder, [{"image": picture} for picture in pictures])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_sounds_are_those_of_the_library(clap):
    sounds = [tone(frequency, rate=8000) for frequency in (200, 440, 900)]
    vectors = encoder(clap, "audio").fit_transform([*sounds, tone(50, 2, 8000)])
    inputs = [as_sound(samples) for samples, _ in [*sounds, tone(50, 2, 8000)]]
    np.testing.assert_allclose(vectors, library(clap, inputs), atol=1e-5)


def test_a_column_transformer_gives_a_block_for_each_modality_of_one_space(three):
    table = pd.DataFrame(
        {
            "title": TEXTS,
            "poster": [noise_picture(0), None, noise_picture(1)],
            "preview": [tone(440), tone(200), None],
        }
    )
    encode = ColumnTransformer(
        [
            ("text", encoder(three, "text"), "title"),
            ("image", encoder(three, "image"), "poster"),
            ("audio", encoder(three, "audio"), "preview"),
        ]
    )
    blocks = encode.set_output(transform="pandas").fit_transform(table)
    assert blocks.shape == (3, 36)
    present = np.abs(blocks.to_numpy()).reshape(3, 3, 12).sum(axis=2) > 0
    assert present.tolist() == [[True] * 3, [True, False, True], [True, True, False]]
    models = [step[1]._loaded_model() for step in encode.transformers_]
    assert len({id(model._embedder) for model in models}) == 1
    catalog = ItemCatalog(table.assign(item_id=[1, 2, 3]), encode)
    assert list(catalog.blocks.values) == ["text", "image", "audio"]
    assert catalog.blocks.mask.tolist() == present.tolist()


def test_words_search_the_space_of_pictures(clip):
    pictures = encoder(clip, "image").fit([noise_picture(0)])
    words = encoder(clip, "text").fit(TEXTS)
    np.testing.assert_array_equal(pictures.encode_text(TEXTS), words.transform(TEXTS))
    prompted = pictures.set_params(prompt="a photo of ").encode_text(["a dog"])
    expected = words.transform(["a photo of a dog"])
    np.testing.assert_allclose(prompted, expected, atol=1e-6)


def test_words_go_the_way_of_the_pictures_through_a_reduction(clip):
    pictures = [noise_picture(seed) for seed in range(6)]
    reduced = encoder(clip, "image", n_components=3).fit(pictures)
    vectors = reduced.encode_text(TEXTS[:2])
    assert vectors.shape == (2, 3)
    raw = encoder(clip, "text").fit_transform(TEXTS[:2])
    expected = reduced.whitening_.transform(raw)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "modality", "known"),
    [
        ("clip", "audio", "text and image"),
        ("clap", "image", "text and audio"),
        ("text_model", "image", "text"),
    ],
)
def test_what_a_model_does_not_read_is_refused(model, modality, known, request):
    folder = request.getfixturevalue(model)
    message = rf"MultimodalEncoder\(model=.*modality='{modality}', .* reads {known}\."
    with pytest.raises(ValueError, match=message):
        encoder(folder, modality).fit(["any"])


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model='.*absent' does not exist"):
        encoder(tmp_path / "absent", "text").fit(["a"])
    (tmp_path / "config.json").write_text("{}")
    message = r"MultimodalEncoder\(model=.*could not be loaded"
    with pytest.raises(ValueError, match=message):
        encoder(tmp_path, "text").fit(["a"])


def test_a_text_that_reads_like_a_picture_is_a_text(clip, picture_file):
    texts = [str(picture_file), "https://example.org/a.png"]
    vectors = encoder(clip, "text").fit_transform(texts)
    expected = library(clip, [{"text": text[:23]} for text in texts])
    np.testing.assert_array_less((vectors[1] * expected[1]).sum(), 1 - 1e-3)
    with Image.open(picture_file) as picture:
        seen = encoder(clip, "image").fit_transform([picture.copy()])
    assert (vectors[0] @ seen[0]) < 0.99
    by_text_encoder = TextEncoder(clip, device="cpu").fit_transform(texts)
    np.testing.assert_allclose(by_text_encoder, vectors, atol=1e-6)


def test_an_address_is_not_fetched_as_a_picture(clip):
    images = encoder(clip, "image").fit(["any"])
    with pytest.raises(ValueError, match=r"row 0 .*is a URL; nothing is read"):
        images.transform(["https://example.org/a.png"])


def test_long_texts_are_the_mean_of_pieces_and_not_their_beginning(clip):
    words = encoder(clip, "text").fit(TEXTS)
    long = "one two three four five six seven eight nine ten"
    begun = long[:23]
    assert words.transform([long])[0] @ words.transform([begun])[0] < 1 - 1e-4
    assert len(words._model.prepare(long)) == 3


def test_several_pictures_are_averaged(clip):
    first, second = noise_picture(0), noise_picture(1)
    images = encoder(clip, "image", normalize=False).fit([first])
    single = images.transform([first, second])
    both = images.transform([[first, None, second]])
    np.testing.assert_allclose(both[0], single.mean(axis=0), atol=1e-6)


def test_large_pictures_are_shrunk_before_the_model_sees_them(clip):
    large = noise_picture(0, (300, 200))
    small = large.copy()
    small.thumbnail((100, 100))
    vectors = encoder(clip, "image", max_side=100).fit_transform([large, small])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    untouched = encoder(clip, "image").fit_transform([large])
    assert untouched[0] @ vectors[0] < 0.9999


def test_long_sounds_are_the_mean_of_windows(clap):
    samples, rate = tone(440, 5, 8000)
    sounds = encoder(clap, "audio", normalize=False).fit(["any"])
    parts = [(samples[i * 16000 : (i + 1) * 16000], rate) for i in range(3)]
    expected = np.average(sounds.transform(parts), axis=0, weights=[2, 2, 1])
    whole = sounds.transform([(samples, rate)])[0]
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    np.testing.assert_allclose(sounds.transform([(samples, rate)])[0], whole, atol=1e-6)
    short = encoder(clap, "audio", normalize=False, max_duration=2)
    np.testing.assert_allclose(
        short.fit_transform([(samples, rate)]), sounds.transform(parts[:1]), atol=1e-6
    )


def test_a_window_that_the_model_cannot_hear_is_refused(clap):
    with pytest.raises(ValueError, match=r"window=3 is longer than the 2 s"):
        encoder(clap, "audio", window=3).fit(["any"])


def test_mixed_items_are_read_together_or_alone(chat):
    picture = noise_picture(0)
    items = [
        {"text": "a cat", "image": picture},
        {"image": picture},
        {"text": "a cat", "image": None},
        None,
        {"text": " "},
        {"image": [picture, noise_picture(1)], "text": "two"},
    ]
    mixed = encoder(chat, "mixed").fit(items)
    vectors = mixed.transform(items)
    several = {"image": [picture, noise_picture(1)], "text": "two"}
    inputs = [items[0], items[1], {"text": "a cat"}, several]
    rows = [0, 1, 2, 5]
    np.testing.assert_allclose(vectors[rows], library(chat, inputs), atol=1e-6)
    assert not vectors[[3, 4]].any()
    assert mixed.missing_mask(items).tolist() == [False] * 3 + [True] * 2 + [False]
    table = pd.DataFrame({"text": ["a cat", None], "image": [picture, picture]})
    by_column = encoder(chat, "mixed").fit(table)
    np.testing.assert_allclose(by_column.transform(table), vectors[:2], atol=1e-6)
    assert by_column.feature_names_in_.tolist() == ["text", "image"]


def test_towers_do_not_read_together(clip):
    items = [{"text": "a"}, {"text": "a", "image": noise_picture(0)}]
    mixed = encoder(clip, "mixed").fit(items)
    with pytest.raises(ValueError, match=r"row 1: .* not read image and text together"):
        mixed.transform(items)
    with pytest.warns(UserWarning, match="1 of 2 rows could not be read"):
        vectors = mixed.set_params(on_error="missing").transform(items)
    assert vectors.any(axis=1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("modality", "item", "message"),
    [
        ("text", 3, "expected a text, got int"),
        ("image", 3, "expected a path, bytes"),
        ("mixed", "a", "expected a dict, got str"),
        ("mixed", {"video": "a.mp4"}, "text, image, audio, not 'video'"),
        ("mixed", {"audio": "a.wav"}, "reads no audio"),
    ],
)
def test_items_that_cannot_be_read_are_named_by_row(clip, modality, item, message):
    column = encoder(clip, modality).fit(["any"])
    with pytest.raises(ValueError, match=rf"row 1: .*{message}"):
        column.transform([None, item])


def test_files_bytes_and_arrays_are_read(clip, clap, picture_file, sound_file):
    with Image.open(picture_file) as image:
        array = np.asarray(image)
    pictures = [str(picture_file), picture_file.read_bytes(), array]
    vectors = encoder(clip, "image").fit_transform(pictures)
    np.testing.assert_allclose(vectors, vectors[[0, 0, 0]], atol=1e-6)
    sounds = [sound_file, sound_file.read_bytes(), soundfile.read(sound_file)]
    vectors = encoder(clap, "audio").fit_transform(sounds)
    np.testing.assert_allclose(vectors, vectors[[0, 0, 0]], atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, "auto"])
def test_vectors_do_not_depend_on_their_batch(chat, clap, batch_size):
    pictures = [noise_picture(i, (30 + 5 * i, 40)) for i in range(5)]
    items = [
        {"image": picture, "text": "word " * i} for i, picture in enumerate(pictures)
    ]
    mixed = encoder(chat, "mixed", batch_size=batch_size).fit(items)
    alone = np.vstack([mixed.transform([item]) for item in items])
    np.testing.assert_allclose(mixed.transform(items), alone, atol=1e-6)
    tones = [tone(100 * i, i, 8000) for i in range(1, 5)]
    sounds = encoder(clap, "audio", batch_size=batch_size).fit(["any"])
    alone = np.vstack([sounds.transform([sound]) for sound in tones])
    np.testing.assert_allclose(sounds.transform(tones), alone, atol=1e-5)


def test_each_distinct_item_is_encoded_once_and_the_cache_knows_kinds(
    clip, tmp_path, picture_file, monkeypatch
):
    cache = EmbeddingCache(tmp_path / "cache")
    mixed = encoder(clip, "mixed", cache=cache).fit(["any"])
    name = str(picture_file)
    items = [{"image": name}, {"text": name}, {"image": name}, {"text": "b"}]
    seen = count_encoded(mixed, monkeypatch)
    vectors = mixed.transform(items)
    assert len(seen) == 3
    np.testing.assert_array_equal(vectors[0], vectors[2])
    again = encoder(clip, "mixed", cache=cache).fit(["any"])
    np.testing.assert_array_equal(again.transform(items), vectors)
    moved = picture_file.rename(tmp_path / "moved.png")
    np.testing.assert_array_equal(again.transform([{"image": moved}])[0], vectors[0])
    assert len(seen) == 3
    other = encoder(clip, "mixed", cache=cache, max_side=7).fit(["any"])
    assert not np.array_equal(other.transform([{"image": moved}])[0], vectors[0])


def test_larger_pictures_cost_more_only_where_their_size_counts(clip, chat):
    large, small = noise_picture(0, (512, 512)), noise_picture(0, (256, 256))
    for folder, ratio in ((clip, 1), (chat, 4)):
        model = encoder(folder, "image").fit(["any"])._model
        costs = [model.cost(model.prepare(picture)) for picture in (large, small)]
        assert costs[0] == pytest.approx(ratio * costs[1], rel=1e-6, abs=1e-6)


def test_pickles_carry_no_weights_and_clones_nothing_learned(clip):
    images = encoder(clip, "image").fit(["any"])
    data = pickle.dumps(images)
    assert len(data) < 2000
    picture = noise_picture(0)
    np.testing.assert_array_equal(
        pickle.loads(data).transform([picture]), images.transform([picture])
    )
    assert not hasattr(clone(images), "embedding_dim_")


def test_int8_is_close(clip):
    exact = encoder(clip, "text").fit_transform(TEXTS)
    vectors = encoder(clip, "text", precision="int8").fit_transform(TEXTS)
    assert 0.95 < (exact * vectors).sum(axis=1).min() < 0.9999999


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_the_checks_of_scikit_learn_pass(clip):
    check_estimator(encoder(clip, "image"), on_skip=None)


class NumbersAsMultimodalPicture(NumbersAsPicture.__mro__[1], MultimodalEncoder):
    _content = staticmethod(NumbersAsPicture._content)


def test_the_numeric_subclass_passes_every_check(clip):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            NumbersAsMultimodalPicture(clip, device="cpu"), on_skip=None
        )
    assert sum(result["status"] == "passed" for result in results) >= 40


class TestContract(EncoderTests):
    @pytest.fixture(params=["clip", "chat"])
    def encoder(self, request):
        return encoder(request.getfixturevalue(request.param), "image")

    @pytest.fixture
    def items(self):
        return [noise_picture(seed) for seed in range(3)]


def test_a_text_that_utf8_cannot_encode_names_its_row(clip, chat):
    for fitted, item in (
        (encoder(clip, "text").fit(["a"]), "\ud800"),
        (encoder(chat, "mixed").fit([{"text": "a"}]), {"text": "a \udce9"}),
    ):
        column = np.empty(2, object)
        column[:] = [{"text": "a"} if isinstance(item, dict) else "a", item]
        with pytest.raises(ValueError, match=r"row 1: .*UTF-8"):
            fitted.transform(column)
    with pytest.raises(ValueError, match=r"MultimodalEncoder: prompt=.*UTF-8"):
        MultimodalEncoder(clip, modality="text", prompt="\ud800").fit(["a"])


def test_texts_that_the_model_cannot_read_are_counted(clip, monkeypatch):
    """As a model would say whose tokenizer, other than CLIP's, has an unknown token."""
    fitted = encoder(clip, "text").fit(["a"])
    embedder = fitted._loaded_model()._embedder
    encode = embedder.encode

    def counting(inputs, counts=None, **options):
        if counts is not None:
            counts.update({one["text"]: (9, 10) for one in inputs})
        return encode(inputs, **options)

    monkeypatch.setattr(embedder, "encode", counting)
    with pytest.warns(UserWarning, match="in 2 of 3 rows"):
        fitted.transform(["a", None, "b"])


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame, pa.table])
def test_tables_of_every_library_may_have_a_column_for_each_kind(table):
    parts = table({"text": ["a", None], "image": ["1.png", "2.png"]})
    assert _names_kinds(parts)
    assert not _names_kinds(table({"title": ["a"]}))
    assert _from_columns(parts) == [
        {"text": "a", "image": "1.png"},
        {"text": None, "image": "2.png"},
    ]


def test_a_kind_that_is_there_twice_is_refused():
    twice = pd.DataFrame([["a", "b"]], columns=["text", "text"])
    with pytest.raises(ValueError, match=r"several columns of one name: \['text'"):
        _from_columns(twice)
