"""Prompts as a language model reads them: the turns of a chat, as tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_SAID = "x0"
"""What an assistant says in a chat that only shows how a turn ends."""


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """Return the ids of all special tokens, with those that have no role in its names.

    The marks of turns often are among the latter, as ``<|start_header_id|>`` of Llama.
    """
    names = tokenizer.all_special_tokens
    named = dict(zip(names, tokenizer.convert_tokens_to_ids(names), strict=True))
    added = tokenizer.added_tokens_decoder.items()
    return named | {token.content: code for code, token in added if token.special}


def without_special(text: str, tokenizer: Any) -> str:
    """Replace special tokens in a text by spaces, the longest first."""
    for token in sorted(special_tokens(tokenizer), key=len, reverse=True):
        text = text.replace(token, " ") if token.strip() else text
    return text


def chat_tokens(tokenizer: Any, prompt: str, system: str | None) -> list[int]:
    """Return the tokens of a chat up to where the model is to speak.

    Where the chat template refuses a system message, or leaves it out, it is put before
    the prompt.
    """
    if system is not None:
        text = _with_system(tokenizer, prompt, system)
    else:
        text = _render(tokenizer, [_turn("user", prompt)])
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def plain_tokens(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text that goes on: without a mark of its end."""
    ids = list(tokenizer(text)["input_ids"])
    special = {*special_tokens(tokenizer).values()}
    while ids and ids[-1] in special:
        ids.pop()
    return ids


def turn_ends(tokenizer: Any, named: int | Sequence[int] | None) -> list[int]:
    """Return the tokens that end what a model says.

    They are the special tokens with a role, those `named` by the model, and the one
    that follows what an assistant says in the chat template, which files of tuned
    models may forget to name.
    """
    more = [named] if isinstance(named, int) else [*(named or [])]
    ends = {*tokenizer.all_special_ids, *more}
    return sorted(ends | {*_end_of_turn(tokenizer)})


def pad_left(
    rows: Sequence[Sequence[int]], fill: int, device: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask of shape (n, longest), padded on the left."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[fill] * (longest - len(row)) + [*row] for row in rows])
    lengths = torch.tensor([[len(row)] for row in rows])
    mask = torch.arange(longest) >= longest - lengths
    return ids.to(device), mask.long().to(device)


def _with_system(tokenizer: Any, prompt: str, system: str) -> str:
    from jinja2 import TemplateError

    try:
        said = [_turn("system", system), _turn("user", prompt)]
        text = _render(tokenizer, said)
    except TemplateError:
        text = ""
    if system.strip() in text:
        return text
    return _render(tokenizer, [_turn("user", f"{system}\n\n{prompt}")])


def _end_of_turn(tokenizer: Any) -> list[int]:
    """Return the special token after what an assistant says, if there is one."""
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        return []
    said = [_turn("user", "x"), _turn("assistant", _SAID)]
    try:
        text = _render(tokenizer, said, add_generation_prompt=False)
    except TemplateError:  # it takes other chats alone, and names its end itself
        return []
    after = tokenizer(text.rpartition(_SAID)[2], add_special_tokens=False)["input_ids"]
    special = {*special_tokens(tokenizer).values()}
    return [code for code in after if code in special][:1]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _render(
    tokenizer: Any, said: list[dict[str, str]], add_generation_prompt: bool = True
) -> str:
    """Write a chat by the model's template; one that lets it think aloud does not."""
    return tokenizer.apply_chat_template(
        said,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        enable_thinking=False,
    )
