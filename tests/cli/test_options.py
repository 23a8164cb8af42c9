"""Options have the names and defaults of the Python API."""

import inspect

import click
import pytest
from hypothesis import given, strategies as st

from skmmrec import (
    ItemCatalog,
    MultimodalFusionRecommender,
    batch,
    feature_store,
    recommender,
)
from skmmrec.cli._evaluate import BASELINES
from skmmrec.cli._main import cli
from skmmrec.cli._options import (
    COMMON,
    MODEL_DEFAULTS,
    MODELS,
    Setting,
    SettingType,
    check_names,
    encoder_settings,
    parse_value,
)
from skmmrec.cli._recipe import Recipe
from skmmrec.encoders import (
    AudioEncoder,
    BaseEncoder,
    ImageEncoder,
    TextEncoder,
    make_encoder,
)
from skmmrec.recommender import BaseRecommender


def default_of(function, name):
    return inspect.signature(function).parameters[name].default


def option(command, name):
    return next(p for p in cli.commands[command].params if p.name == name)


@pytest.mark.parametrize("name", [*MODEL_DEFAULTS, "device"])
@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_options_of_the_recommender_are_its_own(command, name):
    wanted = default_of(MultimodalFusionRecommender, name)
    assert option(command, name).default == wanted


@pytest.mark.parametrize(
    ("command", "function", "names"),
    [
        ("encode", batch.encode, ["rows_per_part"]),
        ("init-repo", feature_store.init_repo, ["project", "online_store", "auth"]),
        ("publish", feature_store.publish, ["keep"]),
        ("recommend", MultimodalFusionRecommender.recommend, ["k", "exclude_seen"]),
        ("similar", MultimodalFusionRecommender.similar_items, ["k"]),
    ],
)
def test_options_of_functions_are_their_parameters(command, function, names):
    for name in names:
        assert option(command, name).default == default_of(function, name)


@pytest.mark.parametrize(
    ("command", "room", "names"),
    [
        ("serve", "service", ["host", "port", "workers", "log_level"]),
        ("browse", "app", ["media", "record", "host", "port", "open_browser"]),
    ],
)
def test_options_of_optional_rooms_are_their_parameters(command, room, names):
    function = getattr(pytest.importorskip(f"skmmrec.{room}"), command)
    for name in names:
        assert option(command, name).default == default_of(function, name)


@pytest.mark.parametrize("command", ["fit", "evaluate"])
def test_items_without_content_are_treated_as_in_a_catalogue(command):
    assert option(command, "on_empty").default == default_of(ItemCatalog, "on_empty")


@pytest.mark.parametrize("name", [*MODELS, *COMMON])
def test_options_of_encoders_are_their_parameters(name):
    kinds = {"text": TextEncoder, "image": ImageEncoder, "audio": AudioEncoder}
    kind, _, parameter = name.rpartition("__")
    wanted = default_of(kinds.get(kind, TextEncoder), parameter)
    assert {**MODELS, **COMMON}[name][1] == wanted
    assert option("encode", name).default is None  # what is not given is not passed on


def test_columns_of_interactions_are_called_as_in_python():
    assert option("fit", "user").default == default_of(
        MultimodalFusionRecommender, "user_key"
    )
    assert option("fit", "item").default == "item_id"


def test_baselines_are_recommenders():
    for name in BASELINES.values():
        assert issubclass(getattr(recommender, name), BaseRecommender)


def test_objectives_are_those_that_there_are():
    from typing import get_args

    from skmmrec.recommender.network import Objective

    assert set(option("fit", "objective").type.choices) == set(get_args(Objective))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1e-3", 0.001),
        ("true", True),
        ("False", False),
        ("None", None),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("ndcg@10", "ndcg@10"),
        ("007", "007"),
        ("a=b", "a=b"),
        ("", ""),
        ("C:\\models\\new", "C:\\models\\new"),
    ],
)
def test_values_are_json_python_or_text(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


@given(st.text(max_size=20))
def test_any_text_is_some_value(text):
    parse_value(text)


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(st.integers(), max_size=3)
)
def test_a_value_comes_back_from_how_python_writes_it(value):
    assert parse_value(repr(value)) == value


def test_a_setting_has_a_name_and_a_value():
    read = SettingType().convert("a__b=[1]", None, None)
    assert read == Setting("a__b", [1])
    for wrong in ("a", "=3", ""):
        with pytest.raises(click.BadParameter, match="NAME=VALUE"):
            SettingType().convert(wrong, None, None)


def test_a_typo_names_the_nearest():
    with pytest.raises(click.BadParameter, match="did you mean 'max_epochs'"):
        check_names(["max_epoch"], ["max_epochs", "metric"], "it")
    with pytest.raises(click.BadParameter, match=r"they are \['max_epochs'\]"):
        check_names(["zzz"], ["max_epochs"], "it")


def test_settings_reach_the_encoder_that_they_name():
    found = encoder_settings(
        {
            "text__model": "m",
            "audio__pretrained": "false",
            "on_error": "missing",
            "device": "cpu",
            "settings": [Setting("text__truncate_dim", 8), Setting("n_factors", 3)],
        }
    )
    common = {"on_error": "missing", "device": "cpu"}
    assert found["text"] == {**common, "model": "m", "truncate_dim": 8}
    assert found["audio"] == {**common, "pretrained": False}
    assert found["image"] == common


def test_all_encoders_take_the_common_options():
    assert set(COMMON) <= set(inspect.signature(BaseEncoder).parameters)


def recipe(kinds, *settings, **given):
    given |= {"settings": [SettingType().convert(s, None, None) for s in settings]}
    return Recipe.of_options(kinds, encoder_settings(given))


def test_frames_and_sound_of_videos_are_read_as_pictures_and_sounds_are():
    chosen = recipe(
        {"video": ["clip"]},
        "image__model=tf_efficientnet_lite0",
        "video__n_frames=2",
        "video__audio_encoder__pretrained=false",
        audio__model="Cnn6",
        audio__pretrained="true",
        device="cpu",
    )
    ((name, encoder, column),) = [each.step() for each in chosen.columns]
    assert (name, column, encoder.n_frames) == ("clip", "clip", 2)
    assert encoder.image_encoder.model == "tf_efficientnet_lite0"
    assert encoder.image_encoder.device == encoder.audio_encoder.device == "cpu"
    assert (encoder.audio_encoder.model, encoder.audio_encoder.pretrained) == (
        "Cnn6",
        False,
    )


def test_a_part_of_videos_may_be_dropped():
    chosen = recipe({"video": ["clip"]}, "video__audio_encoder=drop", device="cpu")
    ((_, encoder, _),) = [each.step() for each in chosen.columns]
    assert encoder.audio_encoder == "drop"
    assert encoder.image_encoder.device == "cpu"


def test_modalities_are_called_by_their_columns():
    chosen = recipe({"text": ["title", "meta__plot"], "number": ["price"]})
    assert [each.step()[0] for each in chosen.columns] == [
        "title",
        "meta_plot",
        "price",
    ]


def test_both_vectors_of_a_video_can_be_asked_by():
    settings = ["video__n_frames=2", "video__audio_encoder__pretrained=false"]
    made = recipe({"video": ["clip"]}, *settings, device="cpu").encoders()
    assert list(made) == ["clip_image", "clip_sound"]
    for entry, dropped, kept in [
        (made["clip_image"], "audio_encoder", "image_encoder"),
        (made["clip_sound"], "image_encoder", "audio_encoder"),
    ]:
        params = {name: value for name, value in entry.items() if name != "kind"}
        encoder = make_encoder(entry["kind"], params)
        assert encoder.n_frames == 2
        assert getattr(encoder, dropped) == "drop"
        assert getattr(encoder, kept).device == "cpu"
    assert encoder.audio_encoder.pretrained is False
    silent = recipe({"video": ["clip"]}, "video__audio_encoder=drop", device="cpu")
    assert list(silent.encoders()) == ["clip"]
