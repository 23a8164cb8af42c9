"""What a type checker or an editor makes of the public names."""

import ast
import subprocess
import sys

import pytest

from tests.test_architecture import defining_module, is_package, modules

pytest.importorskip("mypy")

WRONG = """\
import pandas as pd
from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.feature_store import OnlineRecommender, publish
from skmmrec.metrics import catalog_coverage, ndcg_at_k
from skmmrec.recommender import EarlyStopping, Training
from skmmrec import NoSuchThing  # error
catalog = ItemCatalog(pd.DataFrame(), encod=None)  # error
rec = MultimodalFusionRecommender(catalog, no_such=1)  # error
rec = MultimodalFusionRecommender(catalog, random_state=0)
rec.erly_stopping  # error
rec.recomend(["a"])  # error
rec.model_.histry  # error
catalog.encod(pd.DataFrame())  # error
Training(max_epochs="many")  # error
EarlyStopping(patience=3)  # error
TextEncoder(batch_sizes=3)  # error
rec.recommend(["a"], k="ten")  # error
publish(rec)  # error
catalog_coverage(rec.recommend(), ["a"]).gaps  # error
OnlineRecommender("repo").record_feedback()  # error
"""

RIGHT = """\
import pandas as pd
from sklearn.model_selection import GridSearchCV
from skmmrec import ItemCatalog, MultimodalFusionRecommender, TextEncoder
from skmmrec.metrics import catalog_coverage, gini_exposure, intra_list_diversity
from skmmrec.metrics import novelty, popularity_bias
from skmmrec.recommender import EarlyStopping, EASERecommender
from skmmrec.recommender import PopularityRecommender, SequenceTower, Training
items = pd.DataFrame({"item_id": ["a"], "title": ["A comet"]})
catalog = ItemCatalog(items, TextEncoder("model", batch_size=4), key="item_id")
rec = MultimodalFusionRecommender(
    catalog,
    user_tower=SequenceTower(max_history=50),
    objective=["softmax", "mse"],
    training=Training(max_epochs=3, batch_size="auto"),
    early_stopping=EarlyStopping(metric="loss"),
)
table: pd.DataFrame = rec.fit(items).recommend(["a"], k=3)
search = GridSearchCV(rec, {"training__learning_rate": [0.01]})
width: int = rec.model_.item_vectors.shape[1]
for baseline in [PopularityRecommender(), EASERecommender(), rec]:
    table = baseline.fit(items).recommend(["a"], k=3)
share: float = round(catalog_coverage(table, ["a"]), 2) + gini_exposure(table, ["a"])
per_user = novelty(table, items).mean(), intra_list_diversity(table, items).mean()
groups = pd.Series({"a": "old"}).rename_axis("item_id")
gaps = popularity_bias(table, items, by=groups).gaps
"""

# Only this package is followed: to read torch and its like takes minutes.
CONFIG = """\
[mypy]
ignore_missing_imports = true
follow_imports = skip
pretty = false
cache_dir = {cache}
[mypy-skmmrec.*]
follow_imports = silent
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory, pytestconfig):
    """Lines of each snippet on which mypy finds an error, and all that it says.

    What mypy has read of the package is kept for the next run of the tests.
    """
    folder = tmp_path_factory.mktemp("types")
    paths = {"wrong": folder / "wrong.py", "right": folder / "right.py"}
    paths["wrong"].write_text(WRONG)
    paths["right"].write_text(RIGHT)
    config = folder / "mypy.ini"
    config.write_text(CONFIG.format(cache=pytestconfig.cache.mkdir("mypy")))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", f"--config-file={config}", *paths.values()],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    lines = {
        name: sorted({int(e.split(":")[1]) for e in errors if path.name in e})
        for name, path in paths.items()
    }
    return lines, done.stdout


def test_wrong_uses_are_errors(found):
    lines, said = found
    expected = [n for n, line in enumerate(WRONG.splitlines(), 1) if "# error" in line]
    assert len(expected) >= 10
    assert lines["wrong"] == expected, said


def test_right_uses_are_not(found):
    lines, said = found
    assert lines["right"] == [], said


# What depends on `set_output`, or is a scorer of scikit-learn, which has no types.
UNNAMED = {
    "BaseContentTransformer.transform",
    "ItemDescriber.transform",
    "get_scorer",
}
# Their functions take what a library below takes; `testing` takes any recommender.
INTERNAL = ("skmmrec.runtime", "skmmrec.testing", "skmmrec.feature_store.backends")


def public_functions():
    """Qualified names and definitions of what faces offer to users."""
    for package in filter(is_package, modules()):
        stub = modules()[package].with_suffix(".pyi")
        if package.startswith(INTERNAL) or not stub.exists():
            continue
        offered = stub.read_text().partition("# isort: split")[0]
        for name in {a.name for n in ast.walk(ast.parse(offered)) for a in names_in(n)}:
            defined = defining_module(package, name)
            for node in ast.parse(modules()[defined].read_text()).body:
                if getattr(node, "name", None) == name:
                    yield from functions_in(node)


def names_in(node):
    return node.names if isinstance(node, ast.ImportFrom) else []


def functions_in(node):
    if isinstance(node, ast.FunctionDef):
        yield node.name, node
    elif isinstance(node, ast.ClassDef):
        for part in node.body:
            is_method = isinstance(part, ast.FunctionDef)
            if is_method and (part.name == "__init__" or part.name[0] != "_"):
                yield f"{node.name}.{part.name}", part


def test_public_functions_name_their_types():
    """Any would let every mistake pass."""
    found = dict(public_functions())
    assert len(found) > 200
    blind = set()
    for name, function in found.items():
        arguments = [*function.args.args, *function.args.kwonlyargs]
        types = [a.annotation for a in arguments] + [function.returns]
        if any(t is not None and ast.unparse(t) == "Any" for t in types):
            blind.add(name)
    assert blind == UNNAMED
