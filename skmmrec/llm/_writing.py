"""Let a model write texts, and fall back on a template where that fails."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skmmrec.llm._generator import LanguageModel
from skmmrec.llm._services import CalledModel, as_writer, can_write

GENERATED = "generated"
TEMPLATE = "template"


class Task(NamedTuple):
    """A text that is to be written.

    Parameters
    ----------
    prompt : str or None
        The prompt for the model; None if no model should write the text.
    read : callable
        Maps the model's answer to the text, or to None if it cannot be used.
    template : str or None
        The text without a usable answer; None for no text.
    """

    prompt: str | None
    read: Callable[[str], str | None]
    template: str | None


class Held(NamedTuple):
    """An object made from parameters, which is kept while they stay the same.

    Parameters
    ----------
    made : object
        The object.
    parameters : tuple
        All that it depends on.
    """

    made: Any = None
    parameters: tuple = ()

    def or_new(self, parameters: tuple, make: Callable[[], Any]) -> Held:
        """Return this if the parameters are the same, else make a new object.

        Texts, paths and integers are compared by equality, other objects by identity,
        since equality may overlook a change in them. A new object shares the answers of
        the old one, if it can tell them from its own.
        """
        is_same = len(parameters) == len(self.parameters) and all(
            map(_are_same, parameters, self.parameters)
        )
        if is_same:
            return self
        made = make()
        if hasattr(made, "share") and type(made) is type(self.made):
            made.share(self.made)
        return Held(made, parameters)


class WritesTexts:
    """Hold the writer of an estimator with the parameters llm, cache and verbose.

    Clones with the same parameters share the writer. So no text is written twice, even
    if a call ended in an error.
    """

    llm: Any
    cache: Any
    verbose: Any
    _writer = Held()

    def _as_writer(self) -> LanguageModel | CalledModel | None:
        self._writer = self._writer.or_new(self._writer_parameters(), self._new_writer)
        writer = self._writer.made
        if writer is not None and writer is not self.llm:
            writer.verbose = bool(self.verbose)
        return writer

    def _writer_parameters(self) -> tuple:
        """Return all that a writer depends on, without `verbose`, which may change."""
        return (self.llm, self.cache)

    def _new_writer(self) -> LanguageModel | CalledModel | None:
        return None if self.llm is None else as_writer(self.llm, self.cache)

    def __sklearn_clone__(self) -> Any:
        twin = super().__sklearn_clone__()  # type: ignore[misc]
        if can_write(self.llm, self.cache):
            self._as_writer()
            twin._writer = self._writer
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the writer, which is made again on first use."""
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_writer"}


def _are_same(one: Any, other: Any) -> bool:
    is_value = isinstance(one, str | int | os.PathLike)
    return one is other or (is_value and one == other)


def write_texts(
    tasks: Sequence[Task],
    writer: LanguageModel | CalledModel | None,
    *,
    name: str,
    on_error: str = "raise",
) -> pd.DataFrame:
    """Return a text for each task, and its source.

    Parameters
    ----------
    tasks : sequence of Task, of length n
        The texts to write.
    writer : LanguageModel, CalledModel or None
        The model that writes; None for templates only.
    name : str
        The name of the caller, for messages.
    on_error : {"raise", "template"}, default="raise"
        Whether an error of the writer is raised, or the remaining tasks use their
        templates.

    Returns
    -------
    DataFrame of shape (n, 3)
        ``text`` (str or None), ``source`` ("generated", "template" or None where there
        is no text) and ``is_generated`` (bool).
    """
    answers: dict[str, str] = {}
    prompts = [task.prompt for task in tasks if task.prompt is not None]
    if writer is not None and prompts:
        try:
            writer.collect(prompts, answers)
        except Exception as error:
            _report(error, name, len(answers), len(set(prompts)), on_error)
    pairs = [_text(task, answers) for task in tasks]
    return as_table([text for text, _ in pairs], [known for _, known in pairs])


def as_table(texts: Sequence[str | None], is_generated: Sequence[bool]) -> pd.DataFrame:
    """Return texts with their sources."""
    generated = np.array(is_generated, dtype=bool)
    source = np.where(generated, GENERATED, TEMPLATE).astype(object)
    source[[text is None for text in texts]] = None
    return pd.DataFrame(
        {
            "text": pd.Series(list(texts), dtype=object),
            "source": pd.Series(source, dtype=object),
            "is_generated": generated,
        }
    )


def answer_to(prompt: str | None, answers: dict[str, str]) -> str | None:
    """Return the answer to a prompt, without the prompt that some models repeat."""
    answer = None if prompt is None else answers.get(prompt)
    return None if answer is None else answer.removeprefix(str(prompt))


def _text(task: Task, answers: dict[str, str]) -> tuple[str | None, bool]:
    answer = answer_to(task.prompt, answers)
    text = None if answer is None else task.read(answer)
    return (task.template, False) if text is None else (text, True)


def _report(
    error: Exception, name: str, n_done: int, n_prompts: int, on_error: str
) -> None:
    """Report how many texts were finished; they are kept in any case."""
    far = f"{name}: {n_done} of {n_prompts} texts were finished and are kept"
    if on_error == "raise":
        error.add_note(f"{far}; the same call continues from there")
        raise error
    what: Any = f"{far}; the others come from the template, because of: {error!r}"
    warnings.warn(what, UserWarning, stacklevel=4)
