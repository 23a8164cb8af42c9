"""Items of a column that cannot be read."""

from __future__ import annotations

from collections.abc import Callable

from skmmrec.runtime import ContentError, Distinct, Failure, report_failures


class FailedItems:
    """Raises for the first item that cannot be read, or keeps all to report them.

    Parameters
    ----------
    describe : callable
        Says what went wrong, given a distinct item, one of its rows and the error.
    on_error : {"raise", "missing"}
        As the parameter of an encoder.
    """

    def __init__(
        self, describe: Callable[[Distinct, int, ContentError], Failure], on_error: str
    ) -> None:
        self._describe = describe
        self._raises = on_error == "raise"
        self._kept: list[tuple[Distinct, ContentError]] = []

    def add(self, distinct: Distinct, error: ContentError) -> None:
        """Take note of an item; a ContentError names its first row."""
        if self._raises:
            failure = self._describe(distinct, distinct.rows[0], error)
            raise ContentError(
                f'{failure} (on_error="missing" treats such rows as missing)'
            ) from error
        self._kept.append((distinct, error))

    def report(self, n_rows: int) -> None:
        """Warn of the rows that became missing, of so many, if there are any."""
        rows = [
            self._describe(distinct, row, error)
            for distinct, error in self._kept
            for row in distinct.rows
        ]
        report_failures(rows, n_rows)
