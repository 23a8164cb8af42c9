"""``skmmrec encode``: from content to vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skmmrec.cli._command import as_json, command, note, option, show
from skmmrec.cli._options import (
    PATH,
    content_options,
    csv_options,
    device_option,
    key_option,
    set_option,
)

if TYPE_CHECKING:
    import pandas as pd

    from skmmrec.batch import BatchReport
    from skmmrec.cli._recipe import Recipe
    from skmmrec.datasets import TableFiles


@command(
    epilog="""
Examples:
  skmmrec encode items.csv vectors --text title --text description --number price
  skmmrec encode films.parquet vectors --key film --text plot --image poster \\
      --image-model tf_efficientnet_lite0 --image-pretrained package:efficientnet-lite0
"""
)
@click.argument("items", type=PATH)
@click.argument("out", type=PATH)
@key_option
@content_options
@device_option
@set_option
@option(
    "--rows-per-part",
    type=click.IntRange(1),
    default=10_000,
    help="The most rows of a file of OUT; what a killed run may lose.",
)
@csv_options
@as_json
def encode(
    items: Path, out: Path, rows_per_part: int, as_json: bool, **given: Any
) -> None:
    """Turn the content of items into vectors.

    ITEMS is a CSV or parquet file with one row per item, or a folder of such files. OUT
    becomes a folder of parquet files, which ItemCatalog.from_parquet and the other
    commands read; _encoder.json in it says how they were made. OUT appears only once it
    is complete. After a kill, call again with the same arguments: what was finished
    stays.

    Say what the columns hold, by --text, --image, --audio, --video, --number,
    --category and --date; others are not read.
    """
    from skmmrec.cli._items import is_streamed, recipe_of
    from skmmrec.cli._recipe import read_items
    from skmmrec.datasets import TableFiles
    from skmmrec.interactions import ITEM

    source = TableFiles(items, given["sep"], given["encoding"])
    recipe = recipe_of(given)
    if not recipe.columns:
        raise click.UsageError(
            "no content is named: give --text COLUMN, --image COLUMN, --number COLUMN "
            f"or others; the columns of {items} are {source.columns()}"
        )
    _refuse_learning(recipe)
    key, table = given["key"] or ITEM, None
    if is_streamed(source, recipe):
        recipe = recipe.learned(source)
    else:
        table = read_items(source, recipe, key)
        recipe = recipe.with_categories(table)
    report = _encoded(source, table, recipe, out, key, rows_per_part)
    recipe.write(out)
    _tell(report, out, as_json)


def _refuse_learning(recipe: Recipe) -> None:
    for column in recipe.columns:
        if column.params.get("n_components") is not None:
            raise click.UsageError(
                f"{column.kind}__n_components learns from items, and encoding goes "
                "item by item: give 'skmmrec fit' regularization__n_components"
            )


def _encoded(
    source: TableFiles,
    table: pd.DataFrame | None,
    recipe: Recipe,
    out: Path,
    key: str,
    rows_per_part: int,
) -> BatchReport:
    """Encode a table that was read, or else the files as they are."""
    from skmmrec.batch import encode

    items: Any = source.path if table is None else table
    try:
        return encode(
            items, recipe.transformer(), out, key=key, rows_per_part=rows_per_part
        )
    except ValueError as error:
        where = "" if str(source.path) in str(error) else f"{source.path}: "
        raise ValueError(f"{where}{error}{_advice(error)}") from error


def _advice(error: ValueError) -> str:
    """Say how to go on where an item is broken, which the first of many may be."""
    from skmmrec.encoders import ContentError

    if not isinstance(error, ContentError):
        return ""
    return (
        ". Mend it, or give --on-error missing: then what cannot be read counts as "
        "missing, and is listed"
    )


def _tell(report: BatchReport, out: Path, as_json: bool) -> None:
    if report.n_found:
        note(f"{report.n_found} of {report.n_parts} files were there already.")
    for failure in report.failures.itertuples(index=False):
        source = f"{failure.source}: " if failure.source else ""
        note(f"Missing: {failure[0]}: {source}{failure.problem}")
    show({"folder": str(out), "items": report.n_rows, **report.encoded}, as_json)
