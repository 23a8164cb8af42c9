"""``skmmrec serve`` and ``skmmrec browse``: the service, and the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from skmmrec.cli._command import command, note, option
from skmmrec.cli._options import (
    PATH,
    Setting,
    csv_options,
    key_option,
    settings_option,
)

host_option = option(
    "--host",
    default="127.0.0.1",
    help="Address to listen at; by default, this machine alone reaches it.",
)


def _port_option(port: int) -> Any:
    return option(
        "--port", type=click.IntRange(0, 65535), default=port, help="Port to listen at."
    )


@command(
    epilog="""
Examples:
  skmmrec serve shop
  skmmrec serve shop --workers 4 --host 0.0.0.0 --tokens-file tokens.txt
  skmmrec serve shop --set unknown=popular --set rate=20 --set max_k=100
"""
)
@click.argument("repo", type=PATH)
@host_option
@_port_option(8000)
@option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    help="Processes that answer; each has the items in its memory.",
)
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    help="What is logged, in lines of JSON; 'info' has every request.",
)
@option(
    "--tokens-file",
    type=PATH,
    help="Who may ask: a line name:role:token for each, where role is read or write.",
)
@option(
    "--model",
    type=PATH,
    help="Folder of the model that is published, to explain it and read sequences.",
)
@settings_option("Any other field of ServiceSettings. May be repeated.")
def serve(repo: Path, settings: Sequence[Setting], **given: Any) -> None:
    """Answer requests for recommendations over HTTP, until Ctrl-C.

    REPO is what 'skmmrec publish' filled; what is published later is served from then
    on. GET /openapi.json tells what can be asked. Settings also come from variables of
    the environment, such as SKMMREC_SERVICE_RATE. Needs the extra 'service'.
    """
    from skmmrec.service import ServiceSettings, serve

    named = {name: given.pop(name) for name in ("tokens_file", "model")}
    named |= {setting.name: setting.value for setting in settings}
    # As text, as variables are: a number may be a token or a path.
    texts = {name: str(each) for name, each in named.items() if each is not None}
    chosen = ServiceSettings.from_environment(**texts)
    note(f"Reading {repo}; a line will tell where the service listens, until Ctrl-C.")
    serve(repo, settings=chosen, **given)


@command(
    epilog="""
Examples:
  skmmrec browse model --items items.csv
  skmmrec browse model --items items.csv --vectors vectors --compare older-model
  skmmrec browse shop --items items.csv --record
"""
)
@click.argument("model", metavar="MODEL|REPO", type=PATH)
@option(
    "--items",
    type=PATH,
    help="Table of items to show: CSV or parquet, or a folder of such files.",
)
@key_option
@option(
    "--vectors",
    type=PATH,
    help="What 'skmmrec encode' made of --items, to search by words, pictures and "
    "sounds.",
)
@option(
    "--compare",
    type=PATH,
    help="A second model, to look at side by side.",
)
@option(
    "--media",
    type=PATH,
    default=None,
    help="Folder of the pictures, sounds and videos.",
    show_default="that of --items",
)
@option(
    "--record/--no-record",
    default=False,
    help="Write likes to REPO; otherwise they last as long as the visit.",
)
@host_option
@_port_option(8501)
@option(
    "--open-browser/--no-open-browser",
    default=True,
    help="Show the page in a browser of this machine.",
)
@csv_options
def browse(
    model: Path,
    items: Path | None,
    vectors: Path | None,
    key: str | None,
    sep: str | None,
    encoding: str,
    **given: Any,
) -> None:
    """Look at a model in a browser: users, recommendations, and why.

    MODEL is what 'skmmrec fit' wrote, REPO what 'skmmrec publish' filled. The page is
    there until Ctrl-C. Needs the extra 'app'.
    """
    from skmmrec.app import browse

    catalog = None
    if vectors is not None:
        if items is None:
            raise click.UsageError("--vectors needs --items, of which they were made")
        from skmmrec.cli._items import encoded_catalog
        from skmmrec.datasets import TableFiles

        catalog = encoded_catalog(TableFiles(items, sep, encoding), vectors, key)
    given |= {"items": items, "key": key, "sep": sep, "encoding": encoding}
    browse(model, catalog=catalog, **given)
