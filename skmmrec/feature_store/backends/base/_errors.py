"""What can be wrong with an online store, each an error of its own."""


class StoreError(RuntimeError):
    """An online store cannot do what was asked of it."""


class DamagedStoreError(StoreError):
    """What is stored cannot be read, or is not what was written."""


class FullStoreError(StoreError):
    """There is no room left; what was served before is still served."""


class ReadOnlyStoreError(StoreError):
    """What is stored can be read, but not changed from here."""


class BusyStoreError(StoreError, TimeoutError):
    """Others have held the store for longer than this one was to wait."""


class LostRowsError(StoreError):
    """Feast did not give back, or did not write, all rows that it was given."""


class UnknownIdError(KeyError):
    """A user or an item that the served model has no vector of.

    Parameters
    ----------
    *args : object
        What is wrong, in words.
    advice : str, default=""
        What to do about it in Python; whoever asks by other means is told otherwise.
    """

    def __init__(self, *args: object, advice: str = "") -> None:
        super().__init__(*args)
        self.advice = advice

    def __str__(self) -> str:
        # A KeyError quotes its message, as if that were the key.
        told = str(self.args[0]) if len(self.args) == 1 else super().__str__()
        return f"{told}; {self.advice}" if self.advice else told
