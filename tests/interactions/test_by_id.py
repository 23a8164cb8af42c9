"""What callers say of each id, in a Series indexed by it."""

import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import (
    EmbeddingMapDisplay,
    ModalityContributionDisplay,
    explain,
)
from skmmrec.llm import LLMReranker
from skmmrec.metrics import group_exposure
from skmmrec.retrieval import cap_groups

N_ITEMS = 12


@pytest.fixture(scope="module")
def items():
    """Item 1 is in row 0."""
    table = pd.DataFrame({"item_id": range(1, N_ITEMS + 1)})
    table["title"] = [f"title {item}" for item in table.item_id]
    return table.assign(a__0=table.item_id % 3 + 1.0, a__1=1.0)


@pytest.fixture(scope="module")
def fitted(items):
    pairs = [
        (user, (user * item) % N_ITEMS + 1) for user in range(1, 8) for item in range(4)
    ]
    X = pd.DataFrame(pairs, columns=["user_id", "item_id"]).drop_duplicates()
    rec = MultimodalFusionRecommender(ItemCatalog(items), n_factors=4, random_state=0)
    return rec.set_params(training__max_epochs=1).fit(X)


USES = {
    "titles": lambda rec, lists, by_id: explain(rec, lists, by_id),
    "tags": lambda rec, lists, by_id: explain(
        rec, lists, tags={"a": pd.get_dummies(by_id).astype(float)}
    ),
    "map": lambda rec, lists, by_id: EmbeddingMapDisplay.from_estimator(
        rec, groups=by_id
    ),
    "bars": lambda rec, lists, by_id: ModalityContributionDisplay.from_estimator(
        rec, list(lists.user_id.unique()), groups=by_id
    ),
    "exposure": lambda rec, lists, by_id: group_exposure(lists, by_id),
    "merit": lambda rec, lists, by_id: group_exposure(
        lists, pd.Series("one", rec.item_index_), merit=by_id.str.len()
    ),
    "cap": lambda rec, lists, by_id: cap_groups(lists, by_id),
    "texts": lambda rec, lists, by_id: LLMReranker(
        lambda messages: ["{}"] * len(messages)
    ).rerank(lists, by_id),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_rows_do_not_pass_for_ids(fitted, items, use):
    """Each item would get what is said of the next one."""
    lists = fitted.recommend([1, 2], k=2)
    long = pd.concat([items.title] * 2, ignore_index=True)
    with pytest.raises(ValueError, match="no ids in its index, which is"):
        use(fitted, lists, long)


def test_rows_that_are_ids_are_said_to_be(fitted, items):
    lists = fitted.recommend([1, 2], k=2)
    titles = items.title.reindex(range(N_ITEMS + 1)).fillna("none")
    assert isinstance(titles.index, pd.RangeIndex)
    capped = cap_groups(lists, titles.rename_axis("item_id"), max_per_list=1)
    assert len(capped) == len(lists)
