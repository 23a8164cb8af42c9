"""scikit-learn's own checks, through encoders that turn rows of numbers into content.

`check_estimator` runs one check only on an estimator of raw columns.
"""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder


class _NumericMixin:
    """Validate a numeric table as scikit-learn does, then make content of its rows."""

    def _items(self, X, reset):
        X = validate_data(self, X, reset=reset)
        return [self._content(row) for row in X]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = False
        tags.input_tags.string = False
        tags.input_tags.allow_nan = False
        return tags


class NumbersAsText(_NumericMixin, TextEncoder):
    @staticmethod
    def _content(row):
        return " ".join(f"{value:.6g}" for value in row)


class NumbersAsPicture(_NumericMixin, ImageEncoder):
    @staticmethod
    def _content(row):
        grey = 255 / (1 + np.exp(-row.astype(np.float64) / 10))
        return np.repeat(grey.astype(np.uint8)[None, :, None], 3, axis=2)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
@pytest.mark.parametrize("encoder", [TextEncoder(), ImageEncoder(), AudioEncoder()])
def test_raw_column_encoders_pass(encoder):
    check_estimator(encoder, on_skip=None)


@pytest.mark.parametrize(
    ("encoder", "model"),
    [(NumbersAsText, "text_model"), (NumbersAsPicture, "image_model")],
)
def test_numeric_subclasses_pass_every_check(encoder, model, request):
    path = request.getfixturevalue(model)
    results = check_estimator(encoder(path), on_skip=None)
    assert sum(result["status"] == "passed" for result in results) >= 40
    assert not [result for result in results if result["status"] == "xfail"]
