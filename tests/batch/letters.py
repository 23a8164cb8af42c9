"""An encoder without weights, that writes down what it does in a file of a process."""

import os
from pathlib import Path

import numpy as np

from skmmrec.encoders import BaseEncoder, ContentError


class LetterModel:
    def __init__(self, letters, log):
        self.letters, self.dim, self.log = letters, len(letters), log
        self.identity = f"letters {letters}".encode()
        note(log, "load")

    def prepare(self, item):
        if item == "bad":
            raise ContentError("cannot be spelt")
        if item == "die once" and not Path(self.log + ".died").exists():
            Path(self.log + ".died").touch()
            os._exit(7)
        return [item.count(letter) + 0.1 for letter in self.letters]

    def encode(self, contents):
        for _ in contents:
            note(self.log, "encode")
        return np.array(contents, np.float32)


class LetterEncoder(BaseEncoder):
    """Counts letters."""

    letters: str = "abc"
    log: str = os.devnull
    _items_are_paths = False

    def _load_model(self, device):
        return LetterModel(self.letters, self.log)

    def _model_key(self):
        return self.letters, self.log

    def _content_key(self, item):
        return item


def note(log, what):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {what}\n")


def noted(log, what):
    """Processes that did something, as often as they did it."""
    lines = Path(log).read_text().split("\n") if Path(log).exists() else []
    return [line.split()[0] for line in lines if line.endswith(f" {what}")]
