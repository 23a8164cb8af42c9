"""The error that one unreadable item raises."""


class ContentError(ValueError):
    """An item's content cannot be read or encoded.

    Raised without the row, which the encoder adds.
    """
