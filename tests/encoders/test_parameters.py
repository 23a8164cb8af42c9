"""An encoder of one's own says its own parameters only, and has the common ones too."""

import inspect
import pickle
import subprocess
import sys
from dataclasses import KW_ONLY
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import clone

import skmmrec
from skmmrec.encoders import (
    AudioEncoder,
    BaseEncoder,
    ContentError,
    ImageEncoder,
    MultimodalEncoder,
    TextEncoder,
    VideoEncoder,
)
from skmmrec.testing import EncoderTests

COMMON = {
    "device": "auto",
    "precision": "auto",
    "batch_size": "auto",
    "cache": None,
    "missing": "zero",
    "normalize": True,
    "compile": False,
    "n_components": None,
    "on_error": "raise",
    "verbose": "auto",
}


class LetterCounts:
    identity = b"how often each letter occurs, and how long a text is"

    def __init__(self, letters, lower):
        self.letters, self.lower, self.dim = letters, lower, len(letters) + 1

    def prepare(self, item):
        text = item.lower() if self.lower else item
        return [len(text), *map(text.count, self.letters)]

    def encode(self, contents):
        return np.array(contents, np.float32)


class LetterEncoder(BaseEncoder):
    """Count letters.

    Parameters
    ----------
    letters : str, default="aeiou"
        What is counted.
    lower : bool, default=True
        Whether capitals count as well.

    Notes
    -----
    Nothing is learned.
    """

    letters: str = "aeiou"
    _: KW_ONLY
    lower: bool = True

    _parameter_constraints: ClassVar[dict] = {"letters": [str], "lower": ["boolean"]}
    _items_are_paths: ClassVar[bool] = False

    def _load_model(self, device):
        return LetterCounts(self.letters, self.lower)

    def _model_key(self):
        return self.letters, self.lower

    def _content_key(self, item):
        if not isinstance(item, str):
            raise ContentError(f"expected a text, got {type(item).__name__}")
        return item


class TestLetterEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self):
        return LetterEncoder()

    @pytest.fixture
    def items(self):
        return ["Ada", "Grace Hopper", "Emmy", "abba"]


def test_it_has_the_common_settings():
    assert LetterEncoder().get_params() == {"letters": "aeiou", "lower": True, **COMMON}
    parameters = inspect.signature(LetterEncoder).parameters
    assert {name: p.default for name, p in parameters.items() if name in COMMON} == (
        COMMON
    )
    positional = [n for n, p in parameters.items() if p.kind != p.KEYWORD_ONLY]
    assert positional == ["letters"]


def test_settings_are_stored_set_cloned_and_pickled(tmp_path):
    encoder = LetterEncoder("ab", lower=False, batch_size=4, cache=tmp_path)
    encoder.set_params(missing="nan", lower=True)
    assert repr(encoder).startswith("LetterEncoder(batch_size=4,")
    for copy in (clone(encoder), pickle.loads(pickle.dumps(encoder))):
        assert copy.get_params() == encoder.get_params()
        vectors = copy.fit_transform(["abba", None])
        assert np.isnan(vectors[1]).all()
    assert LetterEncoder.batch_size == "auto"


def test_what_is_no_parameter_is_refused():
    with pytest.raises(TypeError, match="unexpected keyword argument 'no_such'"):
        LetterEncoder(no_such=1)
    with pytest.raises(TypeError, match="positional"):
        LetterEncoder("ab", True)


@pytest.mark.parametrize(
    "wrong", [{"letters": 3}, {"lower": "yes"}, {"batch_size": 0}, {"missing": "mean"}]
)
def test_constraints_are_those_of_both(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"The '{name}' parameter of LetterEncoder"):
        LetterEncoder(**wrong).fit(["a"])


def test_the_docstring_names_every_parameter_once():
    doc = inspect.getdoc(LetterEncoder)
    assert doc.index("letters : str") < doc.index("device : str") < doc.index("Notes\n")
    for encoder in (
        LetterEncoder,
        TextEncoder,
        ImageEncoder,
        AudioEncoder,
        MultimodalEncoder,
        VideoEncoder,
    ):
        names = inspect.signature(encoder).parameters
        doc = inspect.getdoc(encoder)
        assert [doc.count(f"\n{name} : ") for name in names] == [1] * len(names)
        assert "\n\nAttributes\n---" in doc or encoder is LetterEncoder


class Shorter(LetterEncoder):
    """Count letters of the beginning."""

    first: int = 3

    def _content_key(self, item):
        return super()._content_key(item)[: self.first]


def test_parameters_add_up_along_bases():
    encoder = Shorter("ab", first=2, normalize=False)
    assert encoder.get_params().keys() == {*LetterEncoder().get_params(), "first"}
    assert encoder.fit_transform(["abba"]).shape == (1, 3)
    assert "letters : str" in Shorter.__doc__


class ByHand(LetterEncoder):
    def __init__(self, letters="xyz", batch_size=2):
        super().__init__(letters, batch_size=batch_size)


class Below(ByHand):
    pass


def test_an_init_that_is_written_by_hand_stays():
    for encoder in (ByHand("q"), Below("q")):
        assert encoder.get_params() == {"letters": "q", "batch_size": 2}
    with pytest.raises(TypeError, match="Idle declares first, but its inherited"):
        type("Idle", (ByHand,), {"__annotations__": {"first": int}, "first": 3})


def test_a_parameter_can_be_left_out():
    """A VideoEncoder computes where its encoders do."""
    assert not {"device", "precision"} & VideoEncoder().get_params().keys()
    with pytest.raises(TypeError, match="device"):
        VideoEncoder(device="cpu")


TYPED = """
from skmmrec.encoders import AudioEncoder, BaseEncoder, TextEncoder, VideoEncoder

class MyEncoder(BaseEncoder):
    letters: str = "aeiou"
    def _load_model(self, device: object) -> object: ...  # type: ignore
    def _model_key(self) -> str: return self.letters
    def _content_key(self, item: object) -> str: return str(item)

MyEncoder(batch_size=4)
MyEncoder("ab", cache="folder", on_error="missing").fit(["a"]).transform(["b"])
TextEncoder("folder", prompt="query: ", verbose=True)
AudioEncoder("Cnn14", False, window=5.0)
VideoEncoder(None, "drop", batch_size=2)
MyEncoder(no_such=1)  # wrong
MyEncoder(letters=3)  # wrong
MyEncoder("ab", "cpu")  # wrong
TextEncoder(window=1.0)  # wrong
VideoEncoder(device="cpu")  # wrong
TextEncoder().embeding_dim_  # wrong
"""


@pytest.mark.slow
def test_type_checkers_know_the_parameters(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "typed.py"
    file.write_text(TYPED)
    root = Path(skmmrec.__file__).parents[1]
    options = ["--config-file", root / "pyproject.toml", "--cache-dir", tmp_path]
    command = [sys.executable, "-m", "mypy", *options, file]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, check=False
    )
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines()[:-1]}
    lines = enumerate(TYPED.splitlines(), 1)
    assert found == {number for number, line in lines if line.endswith("# wrong")}
