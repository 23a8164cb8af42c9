"""Reasons as sentences: from a template, or in a language model's words."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from skmmrec.recommender import format_share

# What items are called, by their ids.
Titles: TypeAlias = pd.Series | Mapping[Any, str] | None

_WORDS, _PICTURE, _SOUND = (
    "its words are like those of",
    "its picture is like that of",
    "its sound is like that of",
)
# Names of modalities of which the sense is plain. Others may be in any language and
# number, so that no grammar fits them: they are quoted.
_PHRASES = {
    "text": _WORDS,
    "words": _WORDS,
    "image": _PICTURE,
    "picture": _PICTURE,
    "audio": _SOUND,
    "sound": _SOUND,
    "video": "its video is like that of",
    # What a catalogue makes of a VideoEncoder.
    "video_image": "its pictures are like those of",
    "video_sound": _SOUND,
}
# Characters of an explanation: two sentences.
_LONGEST = 240
# Characters of a fact that a model is told: about thirty words.
_LONGEST_LINE = 160


class Reason(NamedTuple):
    """What speaks most for an item.

    Parameters
    ----------
    item : object
        Id of the item.
    modality : str
        What adds most to its score.
    share : float
        The modality's share in what speaks for the item.
    other : object
        Id of the item of the user's history that is most alike in it.
    tags : list of str
        What both have in common.
    """

    item: Any
    modality: str
    share: float
    other: Any
    tags: list[str]


def sentence(reason: Reason, titles: Titles) -> str:
    """Put a reason into the usual sentence."""
    tags = f": {', '.join(reason.tags)}" if reason.tags else ""
    phrase = _phrase(reason.modality)
    return (
        f"{phrase[0].upper()}{phrase[1:]} {_title(reason.other, titles)}, which you "
        f"liked ({format_share(reason.share)} of what speaks for it){tags}."
    )


def rewrite(
    reasons: list[Reason | None],
    otherwise: list[str],
    titles: Titles,
    llm: Any,
    prompt: str | os.PathLike | None,
    show_history: bool,
    *,
    on_error: str,
    cache: Any,
) -> pd.DataFrame:
    """Have reasons told by a model; what it cannot tell stays as it was.

    Where there is no reason, no model is asked. `otherwise` are the usual sentences;
    all else is as `explain` takes it. Returns the columns ``reason``, ``source`` and
    ``is_generated``.
    """
    from skmmrec.llm import Task, as_writer, fence, read_prompt, read_text, write_texts

    file = read_prompt(prompt, "explanation", ["facts"])
    tasks = []
    for reason, usual in zip(reasons, otherwise, strict=True):
        facts = None if reason is None else _facts(reason, titles, show_history)
        asked = None if facts is None else file.fill(facts=fence(facts, "facts"))
        read = partial(
            read_text, max_length=_LONGEST, key="explanation", facts=facts or ""
        )
        tasks.append(Task(asked, read, usual))
    writer = as_writer(llm, cache)
    texts = write_texts(tasks, writer, name="explain", on_error=on_error)
    return texts.rename(columns={"text": "reason"})


def _facts(reason: Reason, titles: Titles, show_history: bool) -> str:
    """Return what a model is told, line by line; nothing of it names a user."""
    from skmmrec.llm import as_lines

    title = None if titles is None else titles.get(reason.item)
    other = _title(reason.other, titles) if show_history else "something"
    told = {
        "item": "" if title is None or pd.isna(title) else str(title),
        "reason": f"{_phrase(reason.modality)} {other} which the reader liked",
        "weight": f"{format_share(reason.share)} of what speaks for it",
        "in common": ", ".join(reason.tags),
    }
    return as_lines(told, _LONGEST_LINE)


def _phrase(modality: str) -> str:
    usual = _PHRASES.get(modality.lower())
    shown = " ".join(modality.replace("_", " ").split()) or modality
    return usual or f"in \u201c{shown}\u201d it is like"


def _title(item: Any, titles: Titles) -> str:
    title = None if titles is None else titles.get(item)
    return str(item) if title is None or pd.isna(title) else f"\u201c{title}\u201d"
