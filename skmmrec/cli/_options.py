"""Options that several commands have."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from skmmrec.cli._command import option

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

# Options that name columns, and what such a column becomes.
ENCODED = ("text", "image", "audio", "video")
PLAIN = ("number", "category", "date")
_HELP = {
    "text": "Column of texts, read by TextEncoder.",
    "image": "Column of pictures: paths, relative to the table's folder, or bytes.",
    "audio": "Column of sounds, likewise.",
    "video": "Column of videos, likewise. Needs the extra 'video'.",
    "number": "Column of numbers, such as prices.",
    "category": "Column of categories, such as brands.",
    "date": "Column of dates; text in ISO 8601, such as 2026-11-27.",
}
# Options that set one parameter of an encoder, and its default there.
MODELS: dict[str, tuple[str, Any]] = {
    "text__model": ("Model of the texts.", "sentence-transformers/all-MiniLM-L6-v2"),
    "image__model": ("Model of the pictures, and of frames of videos.", "ViT-B-32"),
    "image__pretrained": ("Its weights: a name, or a file.", "laion2b_s34b_b79k"),
    "audio__model": ("Model of the sounds, and of the sound of videos.", "Cnn14"),
    "audio__pretrained": (
        "Its weights: a file, true for those that are downloaded, or false for none.",
        True,
    ),
}
# Parameters that all encoders have, and their defaults.
COMMON: dict[str, tuple[str, Any]] = {
    "precision": ("Arithmetic: auto, fp32, bf16, fp16 or int8.", "auto"),
    "cache": ("Folder that keeps vectors between runs.", None),
    "on_error": (
        "What an item that cannot be read does: 'raise', or count as 'missing'.",
        "raise",
    ),
}


@dataclass(frozen=True)
class Setting:
    """``NAME=VALUE`` as it was given."""

    name: str
    value: Any


class SettingType(click.ParamType):
    """``NAME=VALUE``, where the value is JSON, a literal of Python, or else text."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Setting:
        """Split and read."""
        if isinstance(value, Setting):
            return value
        name, equals, text = value.partition("=")
        if not (name and equals):
            self.fail(f"{value!r} is not of the form NAME=VALUE", param, ctx)
        return Setting(name.strip(), parse_value(text))


def parse_value(text: str) -> Any:
    """Read a value: JSON (``5``, ``true``, ``["a"]``), Python (``None``), or text."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError):
            continue
    return text


def check_names(names: Iterable[str], known: Iterable[str], what: str) -> None:
    """Refuse names of parameters that there are not, and say which is near.

    The BadParameter names the first.
    """
    known = sorted(known)
    for name in names:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        advice = f": did you mean {near[0]!r}?" if near else f"; they are {known}"
        raise click.BadParameter(f"{what} has no parameter {name!r}{advice}")


def _stacked(options: Iterable[Callable[[F], F]]) -> Callable[[F], F]:
    """Put several options on a command, in this order."""
    chosen = list(options)

    def decorate(function: F) -> F:
        for each in reversed(chosen):
            function = each(function)
        return function

    return decorate


def _flag(name: str) -> str:
    return "--" + name.replace("__", "-").replace("_", "-")


def _setting_option(name: str, help_: str, default: Any) -> Callable[[F], F]:
    # None as the default: what is not given is not passed on.
    shown = str(default).lower() if isinstance(default, bool) else default
    return option(
        _flag(name),
        name,
        default=None,
        help=help_,
        show_default=str(shown) if shown else False,
    )


def settings_option(help_: str) -> Callable[[F], F]:
    """Make the option that sets what has no option of its own."""
    return option("--set", "settings", type=SettingType(), multiple=True, help=help_)


set_option = settings_option(
    "Any other parameter, by its name in Python, such as training__max_epochs=5 or "
    "text__truncate_dim=256. May be repeated."
)
csv_options = _stacked(
    [
        option(
            "--sep",
            help="Separator of CSV files: one character, or 'tab'.",
            show_default="tab for .tsv, comma otherwise",
        ),
        option(
            "--encoding", default="utf-8", help="Encoding of CSV files, such as cp1252."
        ),
    ]
)
on_empty_option = option(
    "--on-empty",
    type=click.Choice(["raise", "ignore"]),
    default="raise",
    help="Whether items without any content are an error, or are ranked by their "
    "interactions alone.",
)

key_option = option(
    "--key",
    default=None,
    help="Column of the item ids in the table of items.",
    show_default="item_id, or what the vectors say",
)
device_option = option(
    "--device", default="auto", help="Device of torch: auto, cpu, cuda, mps."
)

content_options = _stacked(
    [
        *(
            option(
                f"--{kind}",
                kind,
                multiple=True,
                metavar="COLUMN",
                help=_HELP[kind] + " May be repeated.",
            )
            for kind in (*ENCODED, *PLAIN)
        ),
        *(_setting_option(name, *rest) for name, rest in MODELS.items()),
        *(_setting_option(name, *rest) for name, rest in COMMON.items()),
    ]
)

interaction_options = _stacked(
    [
        option("--user", default="user_id", help="Column of the user ids."),
        option("--item", default="item_id", help="Column of the item ids."),
        option(
            "--rating",
            help="Column of the strengths of interactions, such as stars or 0 and 1.",
            show_default="every row is a like",
        ),
        option(
            "--neutral",
            type=float,
            default=0.0,
            help="The rating that means indifference, and is subtracted: what is above "
            "counts as liked, the rest as seen and not liked.",
        ),
        option(
            "--weights",
            help="Column of how much each row counts, such as plays or minutes; rows "
            "of 0 are left out.",
            show_default="all the same",
        ),
        option(
            "--time",
            help="Column of the times: numbers, dates, or text in ISO 8601.",
            show_default="timestamp, if there is one",
        ),
    ]
)

# Named as in `MultimodalFusionRecommender`, with its defaults.
MODEL_DEFAULTS = {
    "fusion": "gated",
    "objective": "softmax",
    "n_factors": 64,
    "n_members": 1,
    "random_state": None,
}
model_options = _stacked(
    [
        option(
            "--fusion",
            default=MODEL_DEFAULTS["fusion"],
            help="How an item's modalities become one vector: concat, weighted, gated, "
            "attention, bilinear, transformer, cross_attention, late, ...",
        ),
        option(
            "--objective",
            type=click.Choice(["softmax", "bpr", "bce", "mse"]),
            default=MODEL_DEFAULTS["objective"],
            help="What is learned: to rank likes (softmax, bpr), the probability of a "
            "like (bce), or the rating (mse).",
        ),
        option(
            "--n-factors",
            type=click.IntRange(1),
            default=MODEL_DEFAULTS["n_factors"],
            help="Width of item and user vectors.",
        ),
        option(
            "--n-members",
            type=click.IntRange(1),
            default=MODEL_DEFAULTS["n_members"],
            help="Networks that are trained and averaged: two are up to 3 % better, in "
            "1.5 to 2 times the time.",
        ),
        option(
            "--random-state",
            type=int,
            default=MODEL_DEFAULTS["random_state"],
            help="Seed; with one, the same model comes out each time.",
            show_default="another one each time",
        ),
        device_option,
        set_option,
    ]
)


# What it takes to fit a model, beside the table of items.
fit_options = _stacked(
    [
        key_option,
        on_empty_option,
        interaction_options,
        model_options,
        content_options,
        csv_options,
    ]
)


def is_of_encoder(name: str) -> bool:
    """Tell whether a setting is one of an encoder, like ``text__model``."""
    return name.partition("__")[0] in ENCODED and "__" in name


def encoder_settings(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Collect the parameters of each kind of encoder from a command's options.

    `given` are options by name: those of `content_options`, ``device`` and
    ``settings``. Returns parameters by the kind of content.
    """
    common = {name: given[name] for name in COMMON if given.get(name) is not None}
    if given.get("device", "auto") != "auto":
        common["device"] = given["device"]
    found: dict[str, dict[str, Any]] = {kind: dict(common) for kind in ENCODED}
    for name in MODELS:
        if given.get(name) is not None:
            kind, _, parameter = name.partition("__")
            is_flag = isinstance(MODELS[name][1], bool)
            found[kind][parameter] = (
                parse_value(given[name]) if is_flag else given[name]
            )
    for setting in given.get("settings", ()):
        if is_of_encoder(setting.name):
            kind, _, parameter = setting.name.partition("__")
            found[kind][parameter] = setting.value
    return found
