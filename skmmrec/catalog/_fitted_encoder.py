"""An encoder as it was fitted, and what its output is made of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer

from skmmrec.catalog._blocks import Blocks, ColumnGroups, group_columns, to_blocks
from skmmrec.catalog._encoding import (
    Output,
    encode_some,
    find_outputs,
    labels_of,
    names_of,
    numbers_of,
    outputs_at,
    readable_names,
    ready_encoder,
    split_parts,
)
from skmmrec.catalog._fit_transform import fit_transform
from skmmrec.catalog._readers import check_rows, dense


@dataclass(frozen=True)
class FittedEncoder:
    """Makes blocks of tables, as it was fitted on one.

    Attributes
    ----------
    encoder : transformer
        Fitted.
    outputs : list of Output or None
        What the transformers of a `ColumnTransformer` give; None: it is none.
    names : list of str or None
        Names of the columns of the output, where the encoder says them.
    groups : dict of str to ndarray
        Columns of the output by modality.
    numbers : set of str
        Modalities that are numbers, whose size counts.
    """

    encoder: Any
    outputs: list[Output] | None
    names: list[str] | None
    groups: ColumnGroups
    numbers: set[str]

    @classmethod
    def fit(
        cls,
        encoder: Any,
        table: pd.DataFrame,
        key: str,
        target: str | None,
        modalities: Mapping[str, Any] | None,
    ) -> tuple[Self, Blocks]:
        """Fit a clone of an encoder to a table, and encode the table.

        Parameters
        ----------
        encoder : transformer
            Not changed.
        table : DataFrame of n rows
            The key column and the raw content.
        key : str
            Column of the ids.
        target : str or None
            Column that the encoder gets as `y`.
        modalities : mapping of str to slice, positions or column names, or None
            Columns of the output that form each modality; None: names tell.
        """
        encoder = ready_encoder(encoder, key)
        matrix = dense(fit_transform(encoder, table, target))
        check_rows(matrix, len(table))
        outputs = find_outputs(encoder, table)
        names = names_of(encoder, outputs)
        groups = group_columns(names, matrix.shape[1], modalities)
        if modalities is None and outputs is not None:
            groups = _readable(groups, outputs)
        if outputs is None:
            numbers = numbers_of(encoder, groups)
        else:
            numbers = _numeric(groups, outputs)
        fitted = cls(encoder, outputs, names, groups, numbers)
        return fitted, fitted._blocks(matrix)

    def encode(
        self,
        table: pd.DataFrame,
        absent: Collection[Any],
        modalities: Sequence[str] | None,
    ) -> Blocks:
        """Encode a table with the columns of that of `fit`.

        Parameters
        ----------
        table : DataFrame of n rows
            The transformers of a `ColumnTransformer` do not run if all of their columns
            are `absent`.
        absent : collection
            Columns that say nothing.
        modalities : sequence of str or None
            Those that are asked for; None: all. Others may say nothing.
        """
        if self.outputs is None or not isinstance(self.encoder, ColumnTransformer):
            return self._blocks(dense(self.encoder.transform(table)))
        idle: set[str] = set()
        if modalities is not None:
            asked = {o.name for name in modalities for o in self.outputs_of(name)}
            idle = {output.name for output in self.outputs} - asked
        matrix = encode_some(self.encoder, self.outputs, table, absent, idle)
        return self._blocks(matrix)

    def outputs_of(self, modality: str) -> list[Output]:
        """List what a modality is made of; nothing where that is not known."""
        return outputs_at(self.outputs or [], self.groups[modality])

    def reads(self, column: Any) -> bool:
        """Tell whether a transformer is known to read a column."""
        return any(column in output.columns for output in self.outputs or ())

    def _blocks(self, matrix: NDArray) -> Blocks:
        labels = labels_of(self.names, self.outputs)
        return to_blocks(matrix, self.groups, self.numbers, labels)


def _readable(groups: ColumnGroups, outputs: list[Output]) -> ColumnGroups:
    """Call modalities by the raw column where their names were generated.

    Parts that an encoder tells apart become modalities of their own.
    """
    names = readable_names(outputs, groups)
    named = {names.get(name, name): columns for name, columns in groups.items()}
    return split_parts(named, outputs)


def _numeric(groups: ColumnGroups, outputs: list[Output]) -> set[str]:
    """Modalities of which all columns are numbers."""
    numeric = np.repeat(
        [output.is_number for output in outputs], [output.width for output in outputs]
    )
    return {name for name, columns in groups.items() if numeric[columns].all()}
