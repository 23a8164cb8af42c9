"""How encoders use the engine: rows in batches, accelerators, compiled networks."""

import logging
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from skmmrec._sklearn import clone
from skmmrec.encoders import (
    AudioEncoder,
    BaseEncoder,
    ContentError,
    ImageEncoder,
    MultimodalEncoder,
    TextEncoder,
)
from skmmrec.testing import EncoderTests

from .conftest import noise_picture, tone


class NumberModel:
    """The vector of a number x is (x, 1 - x); 0 and 1 are not special, "zero" is."""

    dim = 2
    identity = b"numbers"
    own_precision = True

    def __init__(self):
        self.n_started = self.n_encoded = self.n_prepared = 0

    def prepare(self, item):
        self.n_prepared += 1
        return item

    def encode(self, contents):
        self.n_encoded += 1
        special = {"zero": (0, 0), "nan": (np.nan, 1), "inf": (np.inf, 1)}
        return np.array([special.get(c, (3, len(str(c)))) for c in contents], float)

    def start(self, contents):
        self.n_started += 1
        return lambda: self.encode(contents)


class NumberEncoder(BaseEncoder):
    name: str = ""
    _items_are_paths = False

    def _load_model(self, device):
        return NumberModel()

    def _model_key(self):
        return self.name

    def _content_key(self, item):
        if item == "unreadable":
            raise ContentError("cannot be read")
        return item


items = st.lists(
    st.sampled_from(["a", "bb", "ccc", None, "", "zero", "nan", "inf", "unreadable"]),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(
    column=items,
    batch_size=st.integers(1, 9),
    normalize=st.booleans(),
    missing=st.sampled_from(["zero", "nan"]),
)
def test_every_row_gets_its_vector_or_counts_as_missing(
    column, batch_size, normalize, missing
):
    encoder = NumberEncoder(
        device="cpu",
        batch_size=batch_size,
        normalize=normalize,
        missing=missing,
        on_error="missing",
    ).fit(["a"])
    bad = [i for i, x in enumerate(column) if x in ("zero", "nan", "inf", "unreadable")]
    expected = np.full((len(column), 2), np.nan if missing == "nan" else 0.0)
    for row, item in enumerate(column):
        if item and row not in bad:
            vector = np.array([3.0, len(item)])
            expected[row] = vector / np.linalg.norm(vector) if normalize else vector
    if bad:
        message = rf"{len(bad)} of {len(column)} rows could not be read.* row {bad[0]}"
        with pytest.warns(UserWarning, match=message):
            vectors = encoder.transform(column)
    else:
        vectors = encoder.transform(column)
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("item", "kind"), [("zero", "zero"), ("nan", "non-finite"), ("inf", "non-finite")]
)
def test_a_vector_that_says_nothing_names_its_first_row(item, kind):
    encoder = NumberEncoder(device="cpu").fit(["a"])
    with pytest.raises(ContentError, match=f"row 2: the model gave a {kind} vector"):
        encoder.transform(["a", "bb", item, "a", item])


class LengthModel:
    """A model that offers all that a model may offer."""

    dim = 2
    identity = b"lengths"

    def prepare(self, item):
        return [len(item), item.count("a")]

    def prepare_many(self, items):
        return [self.prepare(item) for item in items]

    def start(self, contents):
        vectors = np.array(contents, np.float32)
        return lambda: vectors

    def encode(self, contents):
        return self.start(contents)()

    def cost(self, content):
        return float(content[0])


class LengthEncoder(BaseEncoder):
    """Measure texts."""

    _items_are_paths = False

    def _load_model(self, device):
        return LengthModel()

    def _model_key(self):
        return None

    def _content_key(self, item):
        if not isinstance(item, str):
            raise ContentError("expected a text")
        return item


class TestLengthEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self):
        return LengthEncoder()

    @pytest.fixture
    def items(self):
        return ["Ada", "Grace Hopper", "Emmy", "abba"]


@pytest.fixture
def accelerator(monkeypatch):
    """Let encoders believe that they run on an accelerator."""
    device = SimpleNamespace(type="cuda")
    monkeypatch.setattr("skmmrec.encoders._base.resolve_device", lambda name: device)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    return device


def test_on_an_accelerator_batches_are_started(accelerator):
    encoder = NumberEncoder(batch_size=4, name="started").fit(["a"])
    column = [f"text {i}" for i in range(10)]
    vectors = encoder.transform(column)
    assert encoder._model.n_started == encoder._model.n_encoded == 3
    expected = NumberEncoder(device="cpu", batch_size=4, name="other")
    np.testing.assert_array_equal(vectors, expected.fit_transform(column))


def test_on_a_cpu_batches_are_encoded():
    encoder = NumberEncoder(device="cpu", batch_size=4, name="encoded").fit(["a"])
    encoder.transform([f"text {i}" for i in range(10)])
    assert encoder._model.n_started == 0
    assert encoder._engine(encoder._model, encoder._failed_items()).n_in_flight == 1


def test_autocast_is_left_to_models_whose_weights_are_not_cast(accelerator):
    encoder = NumberEncoder(precision="bf16", name="autocast").fit(["a"])
    model = encoder._model
    with encoder._arithmetic(accelerator, model):
        assert not torch.is_autocast_enabled(accelerator.type)
    model.own_precision = False
    with encoder._arithmetic(torch.device("cpu"), model):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


def test_models_of_other_weights_are_not_shared(accelerator):
    def model(**options):
        return NumberEncoder(name="shared", **options).fit(["a"])._model

    half = NumberEncoder(name="shared", precision="bf16").fit(["a"])
    assert model(precision="bf16") is half._model
    assert model(precision="auto") is half._model
    assert model(precision="fp16") is not half._model
    assert model(precision="fp32") is not half._model
    assert model(precision="int8") is not half._model


def test_a_model_says_from_which_cost_on_a_batch_is_large_enough(
    accelerator, monkeypatch
):
    monkeypatch.setattr("skmmrec.runtime._memory.free_memory", lambda device: 2**40)
    encoder = NumberEncoder(name="enough").fit(["a"])
    assert encoder._engine(encoder._model, encoder._failed_items()).limit == (
        512,
        2**37,
    )
    encoder._model.enough = 1000.0
    assert encoder._engine(encoder._model, encoder._failed_items()).limit == (
        4096,
        1000.0,
    )


def test_a_model_that_cannot_be_compiled_says_so():
    with pytest.raises(ValueError, match=r"NumberEncoder\(compile=True\).*no method"):
        NumberEncoder(compile=True, name="compiled").fit(["a"])


@pytest.fixture
def traced(monkeypatch):
    """Compile by tracing alone, without a C++ compiler: quick."""
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **options: real(f, backend="eager", **options)
    )
    torch._dynamo.reset()


SLOW = pytest.param("sound", marks=pytest.mark.slow)  # its network is large to trace


@pytest.fixture(params=["text", "image", SLOW, "multimodal"])
def case(request, decoder_model, image_model):
    """An encoder and a column for it."""
    texts = [f"text {'long ' * i}" for i in range(9)]
    return {
        "text": (TextEncoder(decoder_model, device="cpu"), texts),
        "multimodal": (
            MultimodalEncoder(decoder_model, modality="text", device="cpu"),
            texts,
        ),
        "image": (
            ImageEncoder(image_model, device="cpu"),
            [noise_picture(i) for i in range(9)],
        ),
        "sound": (
            AudioEncoder("MobileNetV1", pretrained=False, device="cpu"),
            [tone(200 + 40 * i, 0.5 + 0.2 * i) for i in range(9)],
        ),
    }[request.param]


def check_compiled(encoder, column, caplog):
    plain = clone(encoder).fit(["any"])
    expected = plain.transform(column)
    with caplog.at_level(logging.INFO, "skmmrec.runtime"):
        compiled = clone(encoder).set_params(compile=True).fit(["any"])
    assert "compiled" in caplog.text
    assert compiled._model is not plain._model
    found = compiled.transform(column)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(plain.transform(column), expected)
    copy = pickle.loads(pickle.dumps(compiled))
    assert copy.compile
    np.testing.assert_allclose(copy.transform(column), found, rtol=1e-3, atol=1e-4)


def test_a_compiled_network_gives_the_same_vectors(case, traced, caplog):
    if torch.__version__.startswith("2.6") and not isinstance(case[0], ImageEncoder):
        pytest.skip("torch 2.6 cannot compile functions that transformers 5 wraps")
    check_compiled(*case, caplog)


@pytest.mark.slow
def test_a_network_compiled_to_machine_code_gives_the_same_vectors(case, caplog):
    torch._dynamo.reset()
    check_compiled(*case, caplog)


def test_a_model_without_a_network_is_not_compiled(text_model):
    """Static embeddings are looked up."""
    with pytest.raises(ValueError, match="no network that could be compiled"):
        TextEncoder(text_model, compile=True).fit(["any"])
