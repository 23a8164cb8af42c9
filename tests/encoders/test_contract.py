"""What every encoder must keep."""

import pytest

from skmmrec.encoders import (
    AudioEncoder,
    ImageEncoder,
    TextEncoder,
    VideoEncoder,
)
from skmmrec.testing import EncoderTests

from .conftest import noise_picture, tone
from .test_video import make_video, two_colors


class TestTextEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self, text_model):
        return TextEncoder(text_model)

    @pytest.fixture
    def other_encoder(self, text_model):
        return TextEncoder(text_model, prompt="puppy ")

    @pytest.fixture
    def items(self):
        return ["a dog barks", "puppy", "stock market"]


class TestImageEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self, image_model):
        return ImageEncoder(image_model)

    @pytest.fixture
    def other_encoder(self, image_model):
        return ImageEncoder(image_model, preprocess={"mean": (0.1, 0.2, 0.3)})

    @pytest.fixture
    def items(self):
        return [noise_picture(seed) for seed in range(3)]

    @pytest.fixture
    def bad_item(self):
        return b"no picture"


class TestAudioEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self, sound_encoder):
        return AudioEncoder("MobileNetV1", pretrained=False)

    @pytest.fixture
    def other_encoder(self, sound_encoder):
        return AudioEncoder("MobileNetV1", pretrained=False, random_state=7)

    @pytest.fixture
    def items(self):
        return [tone(frequency) for frequency in (220, 440, 880)]

    @pytest.fixture
    def bad_item(self):
        return b"no sound"


class TestVideoEncoder(EncoderTests):
    @pytest.fixture
    def encoder(self, image_model):
        return VideoEncoder(ImageEncoder(image_model), "drop", window=1.0)

    @pytest.fixture
    def other_encoder(self, image_model):
        return VideoEncoder(ImageEncoder(image_model), "drop", window=1.2)

    @pytest.fixture
    def items(self):
        return [make_video(two_colors(change, 1.3)) for change in (0.3, 0.6, 0.9)]

    @pytest.fixture
    def bad_item(self):
        return b"no video"
