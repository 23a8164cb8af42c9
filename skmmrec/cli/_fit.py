"""``skmmrec fit``: from vectors and interactions to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skmmrec.cli._command import command, note, option
from skmmrec.cli._options import (
    MODEL_DEFAULTS,
    PATH,
    check_names,
    fit_options,
    is_of_encoder,
)

if TYPE_CHECKING:
    from skmmrec import ItemCatalog, MultimodalFusionRecommender
    from skmmrec.cli._interactions import Rows

items_option = option(
    "--items",
    required=True,
    type=PATH,
    help="The vectors that 'skmmrec encode' wrote; or a table of items, with --text, "
    "--image and so on to say what is to be encoded.",
)


@command(
    epilog="""
Examples:
  skmmrec fit likes.csv model --items vectors --random-state 0
  skmmrec fit ratings.parquet model --items vectors --rating stars --neutral 3 \\
      --time when --fusion attention --set training__max_epochs=5
  skmmrec fit plays.csv model --items vectors --weights plays
  skmmrec fit likes.csv model --items items.csv --text title --number price
"""
)
@click.argument("interactions", type=PATH)
@click.argument("model", type=PATH)
@items_option
@fit_options
def fit(interactions: Path, model: Path, **given: Any) -> None:
    """Learn who likes what, and what that has to do with content.

    INTERACTIONS is a CSV or parquet file with one row for each interaction of a user
    with an item, or a folder of such files. MODEL becomes a folder of safetensors and
    JSON; an earlier model there is replaced once the new one is complete.

    To go on after a kill, to the same result, give a folder for checkpoints, and a
    seed: --set training__checkpoint_dir=checkpoints --random-state 0.
    """
    catalog, rows = read_inputs(interactions, given)
    recommender = fitted(catalog, rows, given)
    recommender.save(model)
    note(
        f"{model}: {len(recommender.user_vectors_)} users, "
        f"{len(recommender.item_vectors_)} items, "
        f"content: {', '.join(catalog.blocks.modalities)}"
    )


def read_inputs(interactions: Path, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Read the items and interactions that options name, and see that they match."""
    from skmmrec.cli._interactions import read_rows
    from skmmrec.cli._items import check_ids_meet, open_catalog, recipe_of
    from skmmrec.datasets import TableFiles

    csv = given["sep"], given["encoding"]
    items, source = TableFiles(given["items"], *csv), TableFiles(interactions, *csv)
    new_recommender(given)  # a mistyped parameter is found before long reading
    recipe = recipe_of(given)
    rows = read_rows(source, given)
    catalog = open_catalog(items, given["key"], recipe, given["on_empty"])
    check_ids_meet(catalog.ids, items, rows.X.iloc[:, 1], source)
    return catalog, rows


def fitted(
    catalog: ItemCatalog, rows: Rows, given: Mapping[str, Any]
) -> MultimodalFusionRecommender:
    """Fit the recommender that options describe."""
    from skmmrec.interactions import ITEM

    recommender = new_recommender(given).set_params(catalog=catalog)
    user, item = rows.X.columns[:2]
    if item not in (ITEM, catalog.key):
        rows = rows.named(user, catalog.key)
    return recommender.fit(rows.X, rows.y, rows.weights)


def new_recommender(given: Mapping[str, Any]) -> MultimodalFusionRecommender:
    """Make the recommender that options describe, without its catalogue."""
    from skmmrec import MultimodalFusionRecommender

    recommender = MultimodalFusionRecommender(
        user_key=given["user"],
        device=given["device"],
        **{name: given[name] for name in MODEL_DEFAULTS},
    )
    settings = {s.name: s.value for s in given["settings"] if not is_of_encoder(s.name)}
    check_names(settings, _known_names(), "the recommender")
    return recommender.set_params(**settings)


def _known_names() -> list[str]:
    """Names of all parameters, also of those objects that are not there by default."""
    from skmmrec import MultimodalFusionRecommender
    from skmmrec.recommender import (
        AttentionTower,
        EarlyStopping,
        MeanTower,
        Propagation,
        Regularization,
        SequenceTower,
        Training,
    )

    names: set[str] = set()
    for tower in (MeanTower(), AttentionTower(), SequenceTower()):
        full = MultimodalFusionRecommender(
            user_tower=tower,
            training=Training(),
            regularization=Regularization(),
            early_stopping=EarlyStopping(),
            propagation=Propagation(),
        )
        names.update(full.get_params(deep=True))
    # Tables, and what options of their own say.
    return sorted(names - {"catalog", "user_catalog", "modalities", "user_key"})
