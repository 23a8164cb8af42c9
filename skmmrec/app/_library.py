"""All that a page needs: one or two models, and the table of items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skmmrec.app._ids import TextSearch
from skmmrec.app._items import Coverage, ItemTable, open_items
from skmmrec.app._saved import SavedModel
from skmmrec.app._settings import Settings, read_objects
from skmmrec.app._sources import Source, kind_of_folder
from skmmrec.catalog import ItemCatalog
from skmmrec.datasets import TableFiles
from skmmrec.interactions import ITEM
from skmmrec.recommender import load_model

# What is wrong with data, files or a store, and can be said on the page.
EXPECTED = (ValueError, TypeError, LookupError, OSError, RuntimeError)


def message(error: BaseException) -> str:
    """Return what an error says; a KeyError puts quotes around it."""
    is_quoted = isinstance(error, KeyError) and len(error.args) == 1
    return str(error.args[0] if is_quoted else error) or type(error).__name__


class Library:
    """Models and items, shared by all who look.

    Parameters
    ----------
    main : Source
    other : Source or None
        To compare with.
    items : ItemTable
    record : bool
        Whether likes are written.
    """

    def __init__(
        self,
        main: Source,
        other: Source | None,
        items: ItemTable,
        record: bool,
    ) -> None:
        self.main = main
        self.other = other
        self.items = items
        self.record = record
        self._searches: dict[str, tuple[Any, TextSearch]] = {}

    @property
    def users(self) -> TextSearch:
        """Users by their ids."""
        ids = self.main.user_ids
        return self._search("users", ids, None)

    @property
    def named_items(self) -> TextSearch:
        """Items by their ids and titles."""
        return self._search("items", self.main.item_ids, self.items)

    def coverage(self) -> Coverage:
        """Compare the table of items with the model."""
        return self.items.coverage(self.main.item_ids)

    def _search(
        self, what: str, ids: Sequence[Any], items: ItemTable | None
    ) -> TextSearch:
        """Prepare a search once, and again when another model is served."""
        known = self._searches.get(what)
        if known is None or known[0] is not ids:
            labels = None if items is None else items.all_titles(ids)
            known = self._searches[what] = ids, TextSearch(ids, labels)
        return known[1]


def open_library(settings: Settings) -> Library:
    """Load what `browse` was given.

    Raises FileNotFoundError, ValueError, LookupError or TypeError where a model or a
    table cannot be read.
    """
    objects = read_objects(settings.objects)
    catalog = objects.get("catalog")
    main = _open(settings.model, objects.get("model"), catalog)
    other = None
    if settings.compare is not None or "compare" in objects:
        other = _open(settings.compare, objects.get("compare"), None)
    items = _items(settings, objects, main, catalog)
    return Library(main, other, items, settings.record)


def _open(folder: str | None, model: Any, catalog: ItemCatalog | None) -> Source:
    if folder is None:
        if catalog is not None and model.catalog is None:
            model.catalog = catalog
        return SavedModel(model, type(model).__name__)
    path = Path(folder)
    if kind_of_folder(path) == "saved model":
        return SavedModel(load_model(path, catalog), path.name)
    from skmmrec.app._store import Store  # Feast takes seconds to import

    return Store(path, path.name, catalog)


def _items(
    settings: Settings, objects: Any, main: Source, catalog: ItemCatalog | None
) -> ItemTable:
    """Open the table that is given, or else that of the catalogue."""
    root = None if settings.media is None else Path(settings.media)
    given = objects.get("items")
    if settings.items is not None:
        given = TableFiles(Path(settings.items), settings.sep, settings.encoding)
    if given is not None:
        return open_items(given, [*main.key_names, ITEM], root, settings.key)
    catalog = catalog or getattr(getattr(main, "recommender", None), "catalog", None)
    if catalog is None or len(catalog.items) == 0:
        return ItemTable.without()
    return ItemTable(catalog.items, catalog.key, root)
