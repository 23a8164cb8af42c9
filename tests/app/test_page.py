"""The page's views, run without a browser."""

from html import escape

import pandas as pd
import pytest

pytest.importorskip("streamlit")

from streamlit.testing.v1 import AppTest

from skmmrec.app import _launch
from skmmrec.app._settings import Settings, write_objects
from skmmrec.app._widgets import plain

from .conftest import EVIL, SCRIPTS


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Run the page with settings; returns what draws it."""
    import streamlit as st

    def open_page(view="For a user", objects=None, **options):
        if objects:
            write_objects(objects, tmp_path / "objects")
            options["objects"] = str(tmp_path / "objects")
        settings = tmp_path / "settings.json"
        Settings(**options).write(settings)
        monkeypatch.setattr("sys.argv", ["page", str(settings)])
        page = AppTest.from_file(str(_launch._SCRIPT), default_timeout=60)
        page.session_state["view"] = view
        page.run()
        assert not page.exception
        return page

    st.cache_resource.clear()
    yield open_page
    st.cache_resource.clear()


KINDS = ("info", "error", "warning", "markdown", "text", "caption", "subheader")


def texts(page):
    """Everything that is written on the page."""
    found = page.get("html")
    parts = [element.proto.body for element in found]
    for kind in KINDS:
        parts += [element.value for element in getattr(page, kind)]
    return "\n".join(map(str, parts))


def paths(saved, folder, **others):
    return {"model": str(saved), "items": str(folder / "items.csv"), **others}


def like(page, n=0):
    [button] = [b for b in page.button if b.label == "Like"][n : n + 1]
    button.click().run()
    assert not page.exception


def test_a_user_is_shown(opened, saved, folder, rec):
    page = opened(**paths(saved, folder))
    shown = texts(page)
    user = page.selectbox(key="chosen_user")
    assert user.options[0] == rec.user_index_[0]
    assert len([b for b in page.button if b.label == "Like"]) == 12
    assert "History: " in shown
    assert "What adds to the score" in shown
    assert "data:image/webp" in shown


def test_more_cards_are_shown(opened, saved, folder, rec):
    page = opened(**paths(saved, folder))
    [more] = [b for b in page.button if b.label == "More"]
    more.click().run()
    n_left = len(rec.item_index_) - rec.seen_.lengths[0]
    n_likes = len([b for b in page.button if b.label == "Like"])
    assert n_likes == min(24, n_left) > 12


def test_a_like_moves_the_list_and_undo_brings_it_back(opened, saved, folder):
    page = opened(**paths(saved, folder))
    before = texts(page)
    like(page, 5)
    after = texts(page)
    assert "Liked: " in after
    assert "→" in after
    assert "→" not in before
    [undo] = [b for b in page.button if b.label == "Undo"]
    undo.click().run()
    assert texts(page) == before


def test_a_new_user_starts_from_nothing(opened, saved, folder):
    page = opened(**paths(saved, folder))
    page.text_input(key="user").set_value("somebody new").run()
    assert page.selectbox(key="chosen_user").options == ["somebody new (a new user)"]
    assert "that of a new user" in texts(page)
    like(page)
    assert "History: 1 item" in texts(page)


def test_users_are_found_by_a_part_of_their_ids(opened, saved, folder):
    page = opened(**paths(saved, folder))
    page.text_input(key="user").set_value("0007").run()
    assert page.selectbox(key="chosen_user").options[0] == "user-0007"
    [anyone] = [b for b in page.button if b.label == "Anyone"]
    anyone.click().run()
    assert page.text_input(key="user").value.startswith("user-")


def test_two_models_are_compared(opened, saved, folder):
    page = opened("Compare", **paths(saved, folder, compare=str(saved)))
    shown = texts(page)
    assert "**10** in both, **0** only on the left" in shown
    assert "1 in the other" in shown


def test_without_a_second_model_it_is_said_how_to_give_one(opened, saved, folder):
    assert "compare=other" in texts(opened("Compare", **paths(saved, folder)))


def test_items_like_another_are_found(opened, saved, folder, shown):
    page = opened("Search", **paths(saved, folder))
    page.text_input(key="item").set_value("item-0003").run()
    assert page.selectbox(key="chosen_item").options[0].endswith("item-0003")
    assert shown.title("item-0003") in texts(page)
    page.text_input(key="item").set_value("no such item").run()
    assert "No item is called like that" in texts(page)


def test_what_a_model_lacks_for_a_search_is_said(opened, saved, folder):
    page = opened("Search", **paths(saved, folder))
    page.session_state["by"] = "Like words or files"
    page.run()
    assert "browse(model, catalog=catalog)" in texts(page)


def test_words_find_items(opened, rec, table):
    words = table["description"][4]
    [best] = rec.similar_items(pd.DataFrame({"description": [words]}), k=1)["item_id"]
    page = opened("Search", objects={"model": rec})
    page.text_input(key="words").set_value(words).run()
    cards = [body for body in texts(page).split("\n") if 'class="sk-rank">1<' in body]
    described = table.set_index("item_id")["description"][best]
    assert escape(described) in cards[0]


def test_the_model_is_described(opened, saved, folder):
    shown = texts(opened("The model", **paths(saved, folder, compare=str(saved))))
    assert "40 items, 30 users" in shown
    assert "The table has 40 of 40 items" in shown
    assert "picture: image" in shown


def test_a_catalogue_without_rows_is_shown_by_ids(opened, saved, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("item_id,title\n")
    page = opened(model=str(saved), items=str(path))
    assert "item-00" in texts(page)
    assert "no table of items" in texts(opened("The model", model=str(saved)))


def test_a_table_of_other_items_is_told(opened, saved, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("item_id,title\nx,One\nitem-0001,Two\n")
    shown = texts(opened("The model", model=str(saved), items=str(path)))
    assert "1 of 40 items" in shown
    assert "39 items are not in it" in shown
    assert "1 of its rows are no items" in shown


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": "/none"}, "is no folder"),
        ({"items": "/none.csv"}, "no file"),
    ],
)
def test_what_cannot_be_loaded_is_said(opened, saved, options, problem):
    assert problem in texts(opened(**{"model": str(saved), **options}))


def test_somebody_who_met_everything_gets_nothing(opened, catalog):
    from skmmrec import MultimodalFusionRecommender
    from skmmrec.recommender import Training

    ids = catalog.ids.tolist()
    X = pd.DataFrame(
        {"user_id": ["all"] * len(ids) + ["one"], "item_id": [*ids, ids[0]]}
    )
    training = Training(max_epochs=1)
    rec = MultimodalFusionRecommender(catalog, training=training, random_state=0)
    page = opened(objects={"model": rec.fit(X)})
    assert "Nothing is left to recommend" in texts(page)


@pytest.mark.parametrize("title", [EVIL, SCRIPTS])
def test_titles_are_never_markup(opened, saved, title, tmp_path, rec):
    table = pd.DataFrame({"item_id": rec.item_index_, "title": title})
    table.to_csv(tmp_path / "items.csv", index=False)
    page = opened(model=str(saved), items=str(tmp_path / "items.csv"))
    like(page)
    for kind in ("markdown", "info", "caption", "subheader"):
        for element in getattr(page, kind):
            assert title not in element.value
    assert "<script" not in texts(page).replace(page.text[0].value, "")


@pytest.mark.parametrize("text", [EVIL, "# a", "1. b", "* c", "a & b", "\\"])
def test_messages_are_not_markup(text):
    from markdown_it import MarkdownIt

    [block] = [t for t in MarkdownIt().parse(plain(text)) if t.type == "inline"]
    assert "".join(part.content for part in block.children) == text
    assert {part.type for part in block.children} <= {"text", "text_special"}
