"""Rows that an engine brings, of which some must be seen before workers start."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pandas as pd


class EngineRows(ABC):
    """The rows of an engine's table."""

    @abstractmethod
    def count(self) -> int:
        """Count the rows."""

    @abstractmethod
    def first_row(self, present: str | None = None) -> pd.DataFrame:
        """Return the first row, of those with a value in a column if one is named."""

    def first_rows(self) -> pd.DataFrame:
        """Return some rows in which every column that has values has one."""
        rows = self.first_row()
        if rows.empty:
            return rows
        for name in rows.columns:
            if not rows[name].notna().any():
                rows = pd.concat([rows, self.first_row(name)], ignore_index=True)
        return rows
