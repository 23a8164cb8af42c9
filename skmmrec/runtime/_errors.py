"""The error that one unreadable item raises."""


class ContentError(ValueError):
    """An item's content cannot be read or encoded.

    Its message does not name the row; the encoder adds it.
    """
