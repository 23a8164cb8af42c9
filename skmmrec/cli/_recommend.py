"""``skmmrec recommend`` and ``skmmrec similar``: ask a saved model."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from skmmrec.cli._command import command, option
from skmmrec.cli._options import PATH, parse_value

if TYPE_CHECKING:
    import pandas as pd

k_option = option(
    "-k", "--k", type=click.IntRange(1), default=10, help="Length of each list."
)
# The id of a query that is encoded; no column of a table is called so.
_QUERY = "\0query"
as_json = option("--json", "as_json", is_flag=True, help="Print JSON, not CSV.")


@command(
    epilog="""
Examples:
  skmmrec recommend model --user user-0001 --user user-0002 -k 5
  skmmrec recommend model --fresh 0.1 > lists.csv
"""
)
@click.argument("model", type=PATH)
@option(
    "--user",
    "users",
    multiple=True,
    help="Id of a user. May be repeated.",
    show_default="all users",
)
@k_option
@option(
    "--exclude-seen/--include-seen",
    default=True,
    help="Leave out items that the user has interacted with.",
)
@option(
    "--fresh",
    metavar="PLACES",
    default="0",
    help="Places of each list for new items: 2, or a share such as 0.1.",
)
@option(
    "--fresh-met",
    type=click.IntRange(0),
    default=0,
    help="An item is new while at most so many users have interacted with it.",
)
@as_json
def recommend(
    model: Path, users: tuple[str, ...], fresh: str, as_json: bool, **asked: Any
) -> None:
    """Print the best items of each user, as CSV.

    MODEL is what 'skmmrec fit' wrote. The columns are user_id, item_id, rank and score.
    """
    from skmmrec.cli._items import as_ids
    from skmmrec.recommender import load_model

    recommender = load_model(model)
    ids = as_ids(users, recommender.user_vectors_.index) if users else None
    found = recommender.recommend(ids, fresh=parse_value(fresh), **asked)
    _print(found, as_json)


@command(
    epilog="""
Examples:
  skmmrec similar model --item item-0001
  skmmrec similar model --items vectors --content title="a storm at sea"
  skmmrec similar model --items vectors --content poster=upload.png --content price=30
"""
)
@click.argument("model", type=PATH)
@option("--item", "ids", multiple=True, help="Id of an item. May be repeated.")
@option(
    "--content",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Content to search by: a text, a path, a number or a date. May be repeated "
    "for other columns.",
)
@option(
    "--items",
    type=PATH,
    help="For --content: the vectors that 'skmmrec encode' wrote.",
)
@k_option
@as_json
def similar(
    model: Path,
    ids: tuple[str, ...],
    content: tuple[str, ...],
    items: Path | None,
    k: int,
    as_json: bool,
) -> None:
    """Print the items that are most like others, or like words, pictures and sounds.

    MODEL is what 'skmmrec fit' wrote. The columns are query, item_id, rank and score.
    """
    from skmmrec.cli._items import as_ids
    from skmmrec.recommender import load_model

    if bool(ids) == bool(content):
        raise click.UsageError("give either --item or --content")
    if content and items is None:
        raise click.UsageError("--content needs --items, whose encoder reads it")
    if ids:
        recommender = load_model(model)
        query: Any = as_ids(ids, recommender.item_vectors_.index)
    else:
        assert items is not None
        query, catalog = _encoded(items, [_pair(text) for text in content])
        recommender = load_model(model, catalog)
    _print(recommender.similar_items(query, k=k), as_json)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--content {text!r} is not of the form COLUMN=VALUE")
    return name, value


def _encoded(vectors: Path, content: list[tuple[str, str]]) -> tuple[pd.DataFrame, Any]:
    """Encode a query as the items in a folder were encoded."""
    import pandas as pd

    from skmmrec import ItemCatalog
    from skmmrec.batch import encode
    from skmmrec.cli._items import content_of
    from skmmrec.cli._recipe import Recipe, located

    recipe = Recipe.read(vectors)
    row = content_of(content, recipe)
    files = [name for name in recipe.files if name in row]
    table = located(pd.DataFrame(row), files, Path()).assign(**{_QUERY: 0})
    with TemporaryDirectory() as folder:
        out = Path(folder, "query")
        encode(table, recipe.only(row).transformer(), out, key=_QUERY)
        query = pd.read_parquet(out).drop(columns=_QUERY)
    return query, ItemCatalog.from_parquet(vectors)


def _print(table: pd.DataFrame, as_json: bool) -> None:
    if as_json:
        click.echo(
            table.to_json(orient="records", force_ascii=False, double_precision=15)
        )
        return
    # Line ends of CSV are those of the system, as of any text on stdout.
    table.to_csv(sys.stdout, index=False, lineterminator="\n")
