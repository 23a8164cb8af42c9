"""Commands that make, fill and check a feature store."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import click

from skmmrec.cli._command import (
    DONE,
    WRONG,
    as_json,
    command,
    note,
    option,
    show,
)
from skmmrec.cli._options import PATH, csv_options, key_option

repo_argument = click.argument("repo", type=PATH)


@command(
    epilog="""
Examples:
  skmmrec init-repo shop
  skmmrec init-repo shop --online-store redis --auth
"""
)
@repo_argument
@option(
    "--project",
    default=None,
    help="Feast's name of the project: letters, digits and underscores.",
    show_default="name of the folder",
)
@option(
    "--online-store",
    type=click.Choice(["sqlite", "postgres", "redis"]),
    default="sqlite",
    help="Where vectors are served from: a file in REPO, or a server, whose address is "
    "set in feature_store.yaml (extras 'postgres', 'redis').",
)
@option(
    "--auth/--no-auth",
    default=False,
    help="Have 'feast serve' ask for tokens of OpenID Connect (extra 'auth').",
)
def init_repo(repo: Path, **given: Any) -> None:
    """Make a feature store to publish to.

    REPO is a folder that does not exist yet, or is empty. It becomes an ordinary Feast
    repository, with a README about serving.
    """
    from skmmrec.feature_store import init_repo

    note(f"{init_repo(repo, **given)}: publish to it by 'skmmrec publish MODEL {repo}'")


@command(
    epilog="""
Examples:
  skmmrec publish model shop
  skmmrec publish model shop --items items.csv --feature price --feature brand
"""
)
@click.argument("model", type=PATH)
@repo_argument
@option(
    "--items",
    type=PATH,
    help="Table of items, CSV or parquet, for --feature and --category.",
)
@key_option
@option(
    "--feature",
    "features",
    multiple=True,
    metavar="COLUMN",
    help="Column of --items to filter by when serving, as in 'price < 30'. In a CSV "
    "file it is numbers if all its values are. May be repeated.",
)
@option(
    "--category", metavar="COLUMN", help="Column of --items with the item's category."
)
@option(
    "--vectors",
    type=PATH,
    help="What 'skmmrec encode' wrote: a vector of each modality is published beside "
    "the model's own, to search for similar items by. Their encoders are added to "
    "feature_store.yaml, so that a service can search by words and files.",
)
@option(
    "--feedback",
    type=click.IntRange(0),
    metavar="EVENT",
    help="Number of the last event that the fit has learned from, of those that "
    "OnlineRecommender.feedback() and a service's GET /feedback list. Without it, they "
    "list the same events again.",
)
@option(
    "--keep",
    type=click.IntRange(1),
    default=3,
    help="Publications that stay, this one among them, for 'skmmrec rollback'.",
)
@csv_options
@as_json
def publish(
    model: Path,
    repo: Path,
    feedback: int | None,
    keep: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Put a model into service.

    MODEL is what 'skmmrec fit' wrote, REPO what 'skmmrec init-repo' made. Readers see
    the old model or the new one, never a mixture. If a run is killed, the old one stays
    in service, and the next run goes on from there.
    """
    from skmmrec import ItemCatalog
    from skmmrec.feature_store import publish
    from skmmrec.recommender import load_model

    categories, features = _of_items(given)
    folder = given["vectors"]
    vectors = None if folder is None else ItemCatalog.from_parquet(folder)
    done = publish(
        load_model(model),
        repo,
        categories=categories,
        features=features,
        vectors=vectors,
        feedback=feedback,
        keep=keep,
    )
    show(done._asdict(), as_json)
    _tell_of_events(repo)
    if vectors is not None:
        _name_encoders(repo, folder, vectors.blocks.modalities)


def _tell_of_events(repo: Path) -> None:
    """Say that lists show nothing of events that the model has not taken in."""
    from skmmrec.feature_store import OnlineRecommender

    waiting = OnlineRecommender(repo, index=None).feedback(limit=1)
    if len(waiting):
        note(
            f"Events were recorded, from number {waiting.index[0]} on, and nothing "
            "says that this model has learned from them: they do not count in its "
            "lists. Add them to the rows of the next fit, then publish with --feedback "
            "and the number of the last one."
        )


def _name_encoders(repo: Path, vectors: Path, published: Collection[str]) -> None:
    """Let services know what made the vectors that are published, if that is known."""
    from skmmrec.cli._recipe import FILE, Recipe
    from skmmrec.feature_store import encoder_lines, name_encoders

    if not (vectors / FILE).is_file():
        return
    made_by = Recipe.read(vectors).encoders()
    encoders = {name: each for name, each in made_by.items() if name in published}
    try:
        done = name_encoders(repo, encoders)
    except ValueError as error:
        warnings.warn(f"published, but {error}", stacklevel=2)
        return
    file = repo / "feature_store.yaml"
    if done.added:
        note(
            f"{file} now names the encoders of {', '.join(done.added)}. A service that "
            "is started from now on can search by such content."
        )
    if done.other:
        lines = encoder_lines({name: encoders[name] for name in done.other})
        warnings.warn(
            f"{file} names another encoder for {', '.join(done.other)} than the one "
            f"that made {vectors}. A service would compare vectors of different "
            f"encoders. Correct it to\n{lines}",
            stacklevel=2,
        )


def _of_items(given: dict[str, Any]) -> tuple[Any, Any]:
    """Read the categories and features that options name."""
    features = list(dict.fromkeys(given["features"]))
    category = [given["category"]] if given["category"] else []
    names = list(dict.fromkeys([*features, *category]))
    if bool(names) != (given["items"] is not None):
        raise click.UsageError("--items goes together with --feature or --category")
    if not names:
        return None, None
    from skmmrec.datasets import TableFiles, read_features

    source = TableFiles(given["items"], given["sep"], given["encoding"])
    table = read_features(source, given["key"] or "item_id", names)
    categories = table[given["category"]].dropna() if given["category"] else None
    return categories, table[features] if features else None


@command(
    epilog="""
Examples:
  skmmrec verify shop
  skmmrec verify shop --model model || echo "the store does not serve this model"
"""
)
@repo_argument
@option(
    "--model",
    type=PATH,
    help="Compare with this model, vector by vector, in place of what was recorded "
    "when it was published.",
)
@as_json
def verify(repo: Path, model: Path | None, as_json: bool) -> None:
    """Check that what is served is what was published.

    The exit code is 1 if it is not.
    """
    from skmmrec.feature_store import verify
    from skmmrec.recommender import load_model

    report: Any = verify(repo) if model is None else verify(load_model(model), repo)
    record = {"ok": report.ok, "version": report.version, "compared": report.n_compared}
    if model is None:
        for damage in report.damage:
            note(f"{damage.view}: {damage.message}")
        record["damage"] = len(report.damage)
    else:
        record |= {n: len(getattr(report, n)) for n in ("missing", "extra", "changed")}
    show(record, as_json)
    click.get_current_context().exit(DONE if report.ok else WRONG)


@command(
    epilog="""
Example:
  skmmrec publications shop
"""
)
@repo_argument
@as_json
def publications(repo: Path, as_json: bool) -> None:
    """List the models that can be served."""
    from skmmrec.feature_store import publications

    table = publications(repo)
    if as_json:
        click.echo(table.to_json(orient="records", date_format="iso"))
    elif len(table):
        click.echo(table.to_string(index=False))
    else:
        note(f"Nothing is published in {repo}.")


@command(
    epilog="""
Examples:
  skmmrec rollback shop
  skmmrec rollback shop 3
"""
)
@repo_argument
@click.argument("version", required=False)
@as_json
def rollback(repo: Path, version: str | None, as_json: bool) -> None:
    """Serve an earlier model again, at once.

    VERSION is the number of a publication, or else the version of a model, as 'skmmrec
    publications' lists them; by default the one that was served before.
    """
    from skmmrec.feature_store import publications, rollback

    numbers = {str(number): int(number) for number in publications(repo)["number"]}
    wanted = None if version is None else numbers.get(version, version)
    show(rollback(repo, wanted)._asdict(), as_json)
