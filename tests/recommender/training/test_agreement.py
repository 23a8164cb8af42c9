"""Processes that were given different things are told so, all of them."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmmrec import ItemCatalog
from skmmrec.catalog import Blocks
from skmmrec.recommender import EarlyStopping
from skmmrec.recommender.training import _agreement
from skmmrec.recommender.training._agreement import check_agreement
from tests.recommender.training.team import Team


@pytest.fixture
def given(make, catalog, X, y):
    rec = make(catalog, training__max_epochs=0).fit(X, y)
    data = rec.model_.data
    return rec.model_.problem(), rec._plan(), (data.items, data.users)


def check(monkeypatch, parts):
    """Errors of all processes, of which each has its part."""

    def work(rank):
        try:
            check_agreement(*parts[rank])
        except ValueError as error:
            return str(error)

    return Team(len(parts)).run(work, monkeypatch)


def test_equal_processes_agree(monkeypatch, given):
    assert check(monkeypatch, [given] * 3) == [None] * 3


def test_alone_nothing_is_compared(given):
    check_agreement(*given)


def swapped(values, axis=0):
    return np.flip(values, axis).copy()


def other_ids(problem, plan, ids):
    return problem, plan, (ids[0], ids[1][::-1])


def other_items(problem, plan, ids):
    items = swapped(problem.seen.items)
    return replace(problem, seen=replace(problem.seen, items=items)), plan, ids


def other_answers(problem, plan, ids):
    values = problem.seen.values + np.float32(1e-3)
    return replace(problem, seen=replace(problem.seen, values=values)), plan, ids


def content_of(problem, change):
    content = problem.content
    values = {name: change(block) for name, block in content.values.items()}
    return replace(problem, content=replace(content, values=values))


def other_axes(problem, plan, ids):
    return content_of(problem, np.negative), plan, ids


def other_order(problem, plan, ids):
    return content_of(problem, swapped), plan, ids


def other_masks(problem, plan, ids):
    content = problem.content
    changed = replace(content, mask=~content.mask)
    return replace(problem, content=changed), plan, ids


def no_content(problem, plan, ids):
    content = Blocks.without_content(len(problem.content))
    return replace(problem, content=content), plan, ids


def other_batches(problem, plan, ids):
    training = type(plan.training)(batch_size=3)
    return problem, replace(plan, training=training), ids


def other_stopping(problem, plan, ids):
    return problem, replace(plan, early_stopping=EarlyStopping()), ids


def other_objective(problem, plan, ids):
    tasks = [replace(problem.tasks[0], objective="bpr"), *problem.tasks[1:]]
    return replace(problem, tasks=tasks), plan, ids


def other_propagation(problem, plan, ids):
    return replace(problem, propagation=0.5), plan, ids


def other_memory(problem, plan, ids):
    return problem, replace(plan, memory=0.5), ids


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (other_ids, "ids"),
        (other_items, "interactions"),
        (other_answers, "answers or weights"),
        (other_axes, "content of items in"),
        (other_order, "content of items in"),
        (other_masks, "content of items"),
        (no_content, "content of items"),
        (other_batches, "parameters"),
        (other_stopping, "parameters"),
        (other_objective, "parameters"),
        (other_propagation, "parameters"),
        (other_memory, "parameters"),
    ],
)
@pytest.mark.parametrize("rank", [1, 2])
def test_each_process_is_told_who_differs_in_what(
    monkeypatch, given, change, name, rank
):
    parts = [given] * 3
    parts[rank] = change(*given)
    errors = check(monkeypatch, parts)
    assert errors == errors[:1] * 3
    assert errors[0].startswith(f"process {rank} of 3 was given other {name}")
    assert "than process 0" in errors[0]


def test_rounding_and_seeds_may_differ(monkeypatch, given):
    problem, plan, ids = given
    rounded = content_of(problem, lambda block: block * np.float32(1 + 1e-6))
    mine, yours = (
        clone(plan.training).set_params(checkpoint_dir=folder, max_time=seconds)
        for folder, seconds in (("here", 3.0), ("there", 4.0))
    )
    one = problem, replace(plan, training=mine), ids
    other = replace(plan, random_state=7, device="cpu", training=yours)
    assert check(monkeypatch, [one, (rounded, other, ids)]) == [None, None]
    assert "other parameters" in check(monkeypatch, [one, given])[0]


def test_sums_are_made_in_parts(monkeypatch):
    block = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    whole = _agreement._sums(block)
    monkeypatch.setattr(_agreement, "AT_ONCE", 7)
    np.testing.assert_allclose(_agreement._sums(block), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [object, "string", "category", "int64"])
def test_ids_of_every_kind_are_compared(monkeypatch, given, dtype):
    problem, plan, _ = given
    ids = pd.Index([3, 1, 2] if dtype == "int64" else ["a", "b", "c"], dtype=dtype)
    other = pd.Index(ids[::-1])
    same, differ = (problem, plan, (ids, ids)), (problem, plan, (ids, other))
    assert check(monkeypatch, [same, same]) == [None, None]
    assert "other ids" in check(monkeypatch, [same, differ])[1]


def test_networks_to_start_from_are_compared(monkeypatch, make, catalog, X, given):
    one = make(catalog, training__max_epochs=1).fit(X).model_.networks
    other = make(catalog, training__max_epochs=2).fit(X).model_.networks
    assert check(monkeypatch, [(*given, one), (*given, deepcopy(one))]) == [None, None]
    error = check(monkeypatch, [(*given, one), (*given, other)])[0]
    assert "other networks to start from" in error


def test_content_of_users_is_compared(monkeypatch, make, catalog, X, given):
    users = pd.DataFrame({"user_id": X.user_id.unique()})
    users["age__0"] = np.arange(len(users), dtype=float)
    rec = make(
        catalog,
        user_catalog=ItemCatalog(users, key="user_id"),
        training__max_epochs=0,
    ).fit(X)
    problem, plan = rec.model_.problem(), rec._plan()
    content = problem.user_content
    values = {name: -block for name, block in content.values.items()}
    other = replace(problem, user_content=replace(content, values=values))
    parts = [(problem, plan, given[2]), (other, plan, given[2])]
    assert "content of users in 'age'" in check(monkeypatch, parts)[0]
