"""What the site says is so: its code runs, and every public name has a page."""

import importlib
import re
import runpy
from pathlib import Path

import pandas as pd
import pytest

import skmmrec
from skmmrec import ImageEncoder, TextEncoder
from tests.markdown import run_page, without_numbers
from tests.returned import returned_types

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    page
    for page in sorted([*DOCS.glob("*.md"), *DOCS.glob("guide/*.md")])
    if "```python" in page.read_text()
]
EXAMPLES = sorted(ROOT.glob("examples/gallery/*.py"))
# What encoders of one's own run on; users get its public parts from `encoders`.
NOT_FOR_USERS = {"runtime"}
# Whose methods other parts of the package call: a store, a tower, a model's inside.
INNER = re.compile(
    r"feature_store\.Exact|recommender\.(\w+Tower|Tower\w+|FittedModel)\."
)
# Names from here on are for other rooms.
SPLIT = "# isort: split"


@pytest.fixture(scope="module")
def networks():
    """The packaged networks: while these are held, pages need not load them anew."""
    words = TextEncoder("package:all-MiniLM-L6-v2")
    pictures = ImageEncoder("tf_efficientnet_lite0", "package:efficientnet-lite0")
    return [encoder.fit(["any"]) for encoder in (words, pictures)]


@pytest.mark.pages
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.usefixtures("networks")
def test_a_page_runs_and_gives_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in run_page(page, {}):
        if given.shown is None:
            is_empty = isinstance(given.value, pd.DataFrame) and given.value.empty
            assert not is_empty, f"line {given.line} of {page.name} shows nothing"
        else:
            value = without_numbers(repr(given.value))
            where = f"{page.name}, line {given.line}"
            assert value == without_numbers(given.shown), where


def test_every_page_of_the_guide_has_code():
    assert {*DOCS.glob("guide/*.md")} - {*PAGES} == {DOCS / "guide" / "index.md"}


def test_the_costs_of_sizes_are_those_that_are_computed():
    computed = runpy.run_path(str(ROOT / "benchmarks" / "scale.py"))["page"]()
    assert computed in (DOCS / "scale.md").read_text()


@pytest.mark.pages
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_of_the_gallery_draws_pictures(example, tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    plt.close("all")
    runpy.run_path(str(example))
    assert plt.get_fignums()
    plt.close("all")


def public_names():
    """Names of the faces that are for users, by room; "" for the package itself."""
    folder = Path(skmmrec.__file__).parent
    faces = [folder / "__init__.pyi", *folder.glob("*/__init__.pyi")]
    return {
        "" if face.parent == folder else face.parent.name: set(
            re.findall(r"\bas (\w+)", face.read_text().split(SPLIT)[0])
        )
        for face in faces
        if face.parent.name not in NOT_FOR_USERS
    }


def documented_names():
    """Names that the reference makes pages of."""
    pages = [*DOCS.glob("reference/*.rst"), DOCS / "reference" / "index.md"]
    text = "\n".join(page.read_text() for page in pages)
    own = re.findall(r"^   ~skmmrec\.([\w.]+)$", text, re.M)
    top = re.findall(r"^   ([A-Z]\w+)$", text, re.M)
    return set(own) | set(top)


def test_every_public_name_has_a_page():
    public, documented = public_names(), documented_names()
    without = {
        f"{room}.{name}"
        for room, names in public.items()
        for name in names
        if f"{room}.{name}".strip(".") not in documented and name not in public[""]
    }
    assert len(public) > 12
    assert without == set()
    assert public[""] <= documented


def test_what_a_public_function_returns_has_a_page():
    public, documented = public_names(), documented_names()
    for room in filter(None, public):
        importlib.import_module(f"skmmrec.{room}")
    pages = {name.split(".")[-1] for name in documented}
    returned = list(returned_types(public))
    without = {
        f"{who} returns {kind}"
        for who, kind, _ in returned
        if kind not in pages and not INNER.match(who)
    }
    assert {kind for _, kind, _ in returned} > {"RankingEvaluation", "CacheInfo"}
    assert without == set()


def test_the_reference_has_no_other_names():
    known = {
        f"{room}.{name}".strip(".")
        for room, names in public_names().items()
        for name in names
    }
    assert documented_names() <= known
