"""What a `ColumnTransformer` gives of a table, and of some of its columns."""

from __future__ import annotations

import re
from collections.abc import Collection
from copy import copy
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline

from skmmrec._sklearn import clone
from skmmrec.catalog._blocks import ColumnGroups, modality_name, single_columns
from skmmrec.catalog._readers import (
    ColumnReader,
    dense,
    gives_numbers,
    is_encoder,
    is_readable,
    parts_of,
    steps_of,
)

# What `make_column_transformer` appends to the names of several of one class.
NUMBER = r"-\d+$"


def ready_encoder(encoder: Any, key: str) -> Any:
    """Clone an encoder; in a `ColumnTransformer`, readers stand before sklearn's own.

    It is fitted only if frozen. The column of ids, `key`, is no content where columns
    that remain are.
    """
    if isinstance(encoder, type) or not hasattr(encoder, "get_params"):
        raise TypeError(
            "encoder must be a transformer of scikit-learn, such as TextEncoder() or "
            f"make_column_transformer(...), got {encoder!r:.100}"
        )
    if isinstance(encoder, FrozenEstimator) and isinstance(
        encoder.estimator, ColumnTransformer
    ):
        encoder = _thawed(encoder.estimator)
    if isinstance(encoder, Pipeline):
        name, last = encoder.steps[-1]
        encoder = clone(encoder)
        encoder.steps[-1] = (name, ready_encoder(last, key))
        return encoder
    if not isinstance(encoder, ColumnTransformer):
        return clone(encoder)
    # A clone keeps what `set_output` said, which a new instance would not.
    encoder = clone(encoder)
    return encoder.set_params(
        transformers=[
            (name, _with_reader(transformer), columns)
            for name, transformer, columns in encoder.transformers
        ],
        remainder=_with_reader(encoder.remainder, key),
    )


def _thawed(encoder: ColumnTransformer) -> ColumnTransformer:
    """Freeze each transformer instead of the whole."""
    parts = [
        (name, part if isinstance(part, str) else FrozenEstimator(part), columns)
        for name, part, columns in encoder.transformers_
    ]
    rest = [part for name, part, _ in parts if name == "remainder"]
    return copy(encoder).set_params(
        transformers=[part for part in parts if part[0] != "remainder"],
        remainder=rest[0] if rest else "drop",
    )


def _with_reader(transformer: Any, ignored: str | None = None) -> Any:
    is_dropped = isinstance(transformer, str) and transformer == "drop"
    if is_dropped or not is_readable(transformer):
        return transformer
    return ColumnReader(transformer, ignored)


@dataclass(frozen=True)
class Output:
    """What one transformer of a fitted `ColumnTransformer` gives.

    Attributes
    ----------
    name : str
        The transformer's.
    transformer : transformer
        Fitted.
    columns : list of str
        Columns of the table that it reads, without those that it ignores.
    is_scalar : bool
        Whether it reads a Series and not a table.
    places : slice
        Columns of the output.
    is_number : bool
        Whether these are numbers, whose size counts.
    """

    name: str
    transformer: Any
    columns: list[Any]
    is_scalar: bool
    places: slice
    is_number: bool

    @property
    def width(self) -> int:
        """Number of columns of the output."""
        return int(self.places.stop - self.places.start)

    @property
    def modality(self) -> str:
        """What the modality is called by default."""
        return modality_name(self.name)

    @property
    def readable_name(self) -> str:
        """The column's name in place of a generated one, if there is one column.

        An encoder of content says what kind it is: ``text`` stays, while ``text-1`` and
        ``pipeline`` become the column's.
        """
        part = self.transformer
        while isinstance(part, FrozenEstimator):
            part = part.estimator
        is_own = not isinstance(part, ColumnReader | Pipeline)
        says_kind = is_own and not self.is_number and not self._is_numbered
        if len(self.columns) != 1 or says_kind or not self._is_generated:
            return self.modality
        return str(self.columns[0])

    @property
    def parts(self) -> dict[str, NDArray[np.intp]]:
        """Columns of the output, from 0, of the parts that an encoder tells apart."""
        return getattr(steps_of(self.transformer)[-1], "parts_", {})

    @property
    def _is_generated(self) -> bool:
        """Whether `make_column_transformer` gave the name: a class, and perhaps -2."""
        part, kinds = self.transformer, {"remainder"}
        while isinstance(part, ColumnReader | FrozenEstimator):
            part = parts_of(part)[0]
            kinds.add(part if isinstance(part, str) else type(part).__name__.lower())
        kinds.add(type(part).__name__.lower())
        return re.sub(NUMBER, "", self.name) in kinds

    @property
    def _is_numbered(self) -> bool:
        """Whether several transformers of one class share the name but for a number."""
        return re.search(NUMBER, self.name) is not None


def find_outputs(encoder: Any, table: pd.DataFrame) -> list[Output] | None:
    """Describe a `ColumnTransformer`, or one that ends a `Pipeline`; else None."""
    last = encoder[-1] if isinstance(encoder, Pipeline) else encoder
    if not isinstance(last, ColumnTransformer):
        return None
    if last is not encoder and len(encoder) > 1:
        table = encoder[:-1].transform(table)
    return outputs_of(last, table) if isinstance(table, pd.DataFrame) else None


def outputs_of(encoder: ColumnTransformer, table: pd.DataFrame) -> list[Output]:
    """Describe what each transformer of a fitted encoder gives."""
    outputs = []
    for name, transformer, spec in encoder.transformers_:
        places = encoder.output_indices_.get(name, slice(0, 0))
        if places.start == places.stop:
            continue
        is_scalar = isinstance(spec, str | Integral)
        columns = _columns(table, [spec] if is_scalar else spec)
        if isinstance(transformer, ColumnReader):
            is_number = transformer.is_number_
            columns = [c for c in columns if c != transformer.ignored]
        else:
            width = places.stop - places.start
            is_number = gives_numbers(transformer, table[columns], width)
        outputs.append(Output(name, transformer, columns, is_scalar, places, is_number))
    return outputs


def _columns(table: pd.DataFrame, spec: Any) -> list[Any]:
    """Names of columns that a `ColumnTransformer` takes by name, place or mask."""
    if not isinstance(spec, slice) and len(spec) == 0:
        return []
    by_name = [spec.start, spec.stop] if isinstance(spec, slice) else list(spec)
    if any(isinstance(part, str) for part in by_name):
        return list(table.loc[:, spec].columns)
    return list(table.columns[spec if isinstance(spec, slice) else np.asarray(spec)])


def numbers_of(encoder: Any, groups: ColumnGroups) -> set[str]:
    """Modalities of one column that do not come from an encoder of content."""
    last = encoder.steps[-1][1] if isinstance(encoder, Pipeline) else encoder
    if not isinstance(last, FeatureUnion):
        return set() if is_encoder(last) else single_columns(groups)
    parts = last.transformer_list
    vectors = {modality_name(name) for name, part in parts if is_encoder(part)}
    return single_columns(groups) - vectors


def labels_of(names: list[str] | None, outputs: list[Output] | None) -> Any:
    """Say what errors call the columns of the output.

    Those that are passed through as they are have the names of the raw columns.
    """
    if names is None or outputs is None:
        return names
    labels: list[Any] = [*names]
    for output in outputs:
        part = output.transformer
        if isinstance(part, ColumnReader) and part.transformer == "passthrough":
            labels[output.places] = output.columns
    return labels


def names_of(encoder: Any, outputs: list[Output] | None) -> list[str] | None:
    """Names of the columns of the output, numbered where a transformer has none.

    One without a prefix gets that of its transformer. None if all comes from one
    transformer that does not say.
    """
    try:
        names = [str(name) for name in encoder.get_feature_names_out()]
        for output in outputs or ():
            for place in range(output.places.start, output.places.stop):
                if "__" not in names[place]:
                    names[place] = f"{output.name}__{names[place]}"
        return names
    except AttributeError:
        last = encoder.steps[-1][1] if isinstance(encoder, Pipeline) else encoder
        if outputs is None and parts_of(last):
            raise
    if outputs is None:
        return None
    return [f"{o.name}__{number}" for o in outputs for number in range(o.width)]


def outputs_at(outputs: list[Output], places: NDArray[np.intp]) -> list[Output]:
    """Return the outputs of which some columns are at these places."""
    wanted = set(places)
    return [
        output
        for output in outputs
        if not wanted.isdisjoint(range(output.places.start, output.places.stop))
    ]


def readable_names(outputs: list[Output], taken: Collection[str]) -> dict[str, str]:
    """Names of modalities to be renamed, and their new names, which are unique.

    Several transformers of one column are numbered, as in ``price-1`` and ``price-2``.
    """
    better = {o.modality: o.readable_name for o in outputs}
    new: dict[str, str] = {}
    for wanted in {name: None for name in better.values() if name not in taken}:
        same = [name for name in taken if better.get(name) == wanted]
        numbered = [f"{wanted}-{number + 1}" for number in range(len(same))]
        names = numbered if len(same) > 1 else [wanted]
        if not set(names) & {*taken, *new.values()}:
            new |= zip(same, names, strict=True)
    return new


def split_parts(groups: ColumnGroups, outputs: list[Output]) -> ColumnGroups:
    """Make a modality of each part, where an encoder gives several.

    Raises ValueError if another transformer has the name of a part.
    """
    parts = {o.places.start: o.parts for o in outputs if len(o.parts) > 1}
    split: ColumnGroups = {}
    for name, columns in groups.items():
        found = parts.get(columns[0], {})
        if sum(map(len, found.values())) != len(columns):
            split[name] = columns
            continue
        named = {f"{name}_{part}": columns[places] for part, places in found.items()}
        if taken := named.keys() & {*groups, *split}:
            raise ValueError(
                f"encoder: {min(taken)!r} is a part of {name!r} and also a transformer "
                "of its own: give one of them another name"
            )
        split |= named
    return split


def encode_some(
    encoder: ColumnTransformer,
    outputs: list[Output],
    table: pd.DataFrame,
    absent: Collection[Any],
    idle: Collection[str],
) -> NDArray:
    """Run the transformers whose columns are there.

    `table` has n rows and all columns that the encoder was fitted on; those in `absent`
    say nothing. Outputs in `idle` are not asked for. Returns shape (n, n_outputs): the
    numbers of transformers that did not run are NaN, their vectors 0. A ValueError says
    that a transformer lacks some of its columns and cannot do without them.
    """
    weights, parts = encoder.transformer_weights or {}, []
    for output in outputs:
        lacking = [column for column in output.columns if column in absent]
        is_absent = lacking and len(lacking) == len(output.columns)
        if is_absent or output.name in idle:
            gap = np.nan if output.is_number else 0.0
            parts.append(np.full((len(table), output.width), gap))
            continue
        _check_complete(output, lacking)
        read = table[output.columns[0] if output.is_scalar else output.columns]
        part = dense(output.transformer.transform(read))
        parts.append(part * weights[output.name] if output.name in weights else part)
    return np.hstack(parts) if parts else np.empty((len(table), 0))


def _check_complete(output: Output, lacking: list[Any]) -> None:
    """Let those do without some columns that are made for gaps, or a user's own."""
    transformer = output.transformer
    if not lacking or not isinstance(transformer, ColumnReader):
        return
    if not transformer.fills_gaps:
        raise ValueError(
            f"content lacks the column {lacking[0]!r}, which the transformer "
            f"{output.name!r} reads together with others: {output.columns}. Give all "
            "or none of them, or make a transformer for each column."
        )
