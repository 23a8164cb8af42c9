"""`serve` and `browse` hand over to rooms that need an extra."""

import os
import sys

import numpy as np
import pandas as pd
import pytest

from skmmrec.catalog import ItemCatalog
from skmmrec.cli._items import encoded_catalog
from skmmrec.datasets import TableFiles
from skmmrec.service import ServiceSettings
from tests.cli.conftest import CONTENT, run


@pytest.fixture
def published_repo(tmp_path):
    """A folder that is taken for a repository."""
    (tmp_path / "feature_store.yaml").write_text("project: shop\n")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """What the rooms are called with, in place of serving."""
    made = []
    for name in ("skmmrec.service.serve", "skmmrec.app.browse"):
        monkeypatch.setattr(name, lambda *a, **k: made.append((a, k)))
    return made


def test_serve_passes_on_what_it_was_told(calls, tmp_path, monkeypatch):
    monkeypatch.setenv("SKMMREC_SERVICE_RATE", "5")
    monkeypatch.setenv("SKMMREC_SERVICE_MAX_K", "7")
    before = dict(os.environ)
    run("serve", tmp_path, "--port", 81, "--workers", 2, "--set", "max_k=9")
    ((args, options),) = calls
    assert args == (tmp_path,)
    assert options == {
        "host": "127.0.0.1",
        "port": 81,
        "workers": 2,
        "log_level": "warning",
        "settings": ServiceSettings(rate=5, max_k=9),
    }
    assert dict(os.environ) == before


def test_serve_knows_who_may_ask(calls, tmp_path):
    run("serve", tmp_path, "--tokens-file", "tokens.txt", "--model", "1")
    settings = calls[0][1]["settings"]
    assert settings == ServiceSettings(tokens_file="tokens.txt", model="1")


def test_settings_are_named_as_they_were_given(calls, tmp_path, monkeypatch):
    error = run("serve", tmp_path, "--set", "max_l=9", code=3).stderr
    assert error.startswith("Error: max_l: ")
    monkeypatch.setenv("SKMMREC_SERVICE_MAX_L", "9")
    error = run("serve", tmp_path, code=3).stderr
    assert error.startswith("Error: SKMMREC_SERVICE_MAX_L: ")
    assert calls == []


def test_browse_passes_on_what_it_was_told(calls, tables, tmp_path):
    items = tables / "items.csv"
    args = ["--items", items, "--compare", "older", "--no-open-browser", "--record"]
    run("browse", tmp_path, *args, "--sep", ";")
    ((given, options),) = calls
    assert given == (tmp_path,)
    assert str(options.pop("compare")) == "older"
    assert options == {
        "items": items,
        "key": None,
        "sep": ";",
        "encoding": "utf-8",
        "catalog": None,
        "media": None,
        "record": True,
        "host": "127.0.0.1",
        "port": 8501,
        "open_browser": False,
    }


def test_browse_searches_by_the_vectors_of_the_items(calls, tables, model, vectors):
    run("browse", model, "--items", tables / "items.csv", "--vectors", vectors)
    catalog = calls[0][1]["catalog"]
    assert isinstance(catalog, ItemCatalog)
    assert catalog.encode(pd.DataFrame({"price": [1.0]})).modalities == [
        "price",
        "brand",
        "released",
    ]
    error = run("browse", model, "--vectors", vectors, code=2).stderr
    assert "--vectors needs --items" in error


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("serve", "uvicorn", "service"), ("browse", "streamlit", "app")],
)
def test_a_library_that_is_not_installed_names_the_extra(
    name, library, extra, published_repo, monkeypatch
):
    monkeypatch.setitem(sys.modules, library, None)
    error = run(name, published_repo, code=3).stderr
    assert f"pip install 'skmmrec[{extra}]'" in error


def test_serve_says_what_it_waits_for(calls, tmp_path):
    assert f"Reading {tmp_path}" in run("serve", tmp_path).stderr
    assert run("serve", tmp_path, "--quiet").stderr == ""


def test_raw_items_and_their_vectors_are_one_catalogue(tables, vectors, item_table):
    """Nothing is encoded anew, and what is asked for is encoded as the items were."""
    stored = ItemCatalog.from_parquet(vectors)
    joined = encoded_catalog(TableFiles(tables / "items.csv"), vectors, None)
    assert sorted(joined.ids) == sorted(stored.ids)
    rows = joined.ids.get_indexer(stored.ids)
    for name in stored.blocks.modalities:
        ours = np.asarray(joined.blocks.values[name])[rows]
        np.testing.assert_allclose(
            ours, np.asarray(stored.blocks.values[name]), rtol=1e-12, atol=1e-12
        )
    assert joined.items.columns.tolist() == item_table.columns.tolist()


def test_items_without_vectors_are_told(vectors, item_table, tmp_path):
    more = pd.concat([item_table, item_table.tail(1).assign(item_id="new")])
    more.to_csv(tmp_path / "items.csv", index=False)
    with pytest.raises(ValueError, match="the item 'new'"):
        encoded_catalog(TableFiles(tmp_path / "items.csv"), vectors, None)


def test_a_catalogue_of_the_first_rows_alone(tmp_path):
    (tmp_path / "items.csv").write_text(
        "item_id,price,brand,released\na,1,x,2026-01-01\n"
    )
    run("encode", tmp_path / "items.csv", tmp_path / "v", *CONTENT)
    items = TableFiles(tmp_path / "items.csv")
    assert len(encoded_catalog(items, tmp_path / "v", None)) == 1
