"""Encoders that feature_store.yaml names."""

import numpy as np
import pytest
import yaml
from encoders.conftest import text_model  # noqa: F401

from skmmrec.encoders import ImageEncoder, TextEncoder
from skmmrec.feature_store import content_encoders


def with_settings(repo, **online_store):
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["online_store"] |= online_store
    path.write_text(yaml.safe_dump(settings))
    return repo


def test_a_repository_names_none_by_default(repo):
    assert content_encoders(repo) == {}


def test_encoders_are_made_by_name(repo, text_model):  # noqa: F811
    encoders = {
        "words": {"kind": "text", "model": text_model, "normalize": False},
        "picture": {"kind": "image", "model": "tf_efficientnet_lite0"},
    }
    made = content_encoders(with_settings(repo, encoders=encoders))
    assert {*made} == {"words", "picture"}
    assert isinstance(made["picture"], ImageEncoder)
    assert made["words"].normalize is False
    own = TextEncoder(text_model, normalize=False).fit_transform(["a comet"])
    np.testing.assert_allclose(
        made["words"].fit(["x"]).transform(["a comet"]), own, rtol=1e-6, atol=1e-6
    )


def test_the_text_encoder_is_one_of_them(repo, text_model):  # noqa: F811
    settings = {"model": text_model, "feature": "words_vector"}
    made = content_encoders(with_settings(repo, text_encoder=settings))
    assert [*made] == ["words"]
    assert isinstance(made["words"], TextEncoder)


def test_files_may_be_relative_to_the_repository(repo):
    (repo / "weights").mkdir()
    encoders = {
        "words": {"kind": "text", "model": "weights"},
        "picture": {"kind": "image", "pretrained": "weights"},
        "clip": {"kind": "video", "audio_encoder__pretrained": "weights"},
    }
    made = content_encoders(with_settings(repo, encoders=encoders))
    assert made["words"].model == str(repo / "weights")
    assert made["picture"].pretrained == str(repo / "weights")
    assert made["clip"].audio_encoder.pretrained == str(repo / "weights")
    assert made["clip"].image_encoder is None


def test_parts_of_a_video_encoder_are_as_strict(repo):
    encoders = {"clip": {"kind": "video", "image_encoder__n_components": 3}}
    with pytest.raises(ValueError, match="may not have 'image_encoder__n_components'"):
        content_encoders(with_settings(repo, encoders=encoders))


def test_a_part_is_given_whole_or_by_its_parameters(repo):
    clip = {"kind": "video", "audio_encoder__pretrained": False}
    both = {"clip": {**clip, "audio_encoder": "drop"}}
    message = (
        "encoders.clip in feature_store.yaml: audio_encoder__pretrained has no effect "
        "beside audio_encoder='drop'"
    )
    with pytest.raises(ValueError, match=message):
        content_encoders(with_settings(repo, encoders=both))
    for others in ({"audio_encoder": None}, {"image_encoder": "drop"}):
        encoders = {"clip": {**clip, **others}}
        made = content_encoders(with_settings(repo, encoders=encoders))["clip"]
        assert made.audio_encoder.pretrained is False
        assert made.image_encoder == others.get("image_encoder")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"no_such": 1}, "encoders.words in feature_store.yaml has 'no_such'; TextEnc"),
        ({"n_components": 3}, "may not have 'n_components'"),
        ({"on_error": "missing"}, "may not have 'on_error'"),
    ],
)
def test_parameters_that_cannot_be_are_refused(repo, parameters, message):
    encoders = {"words": {"kind": "text", **parameters}}
    with pytest.raises(ValueError, match=message):
        content_encoders(with_settings(repo, encoders=encoders))
