import pytest
from feast import FeatureService, FeatureView, OnDemandFeatureView

from skmmrec.feature_store import (
    embedding_definitions,
    embedding_permissions,
    open_store,
    publish,
)

from .conftest import make_recommender


def test_permissions_cover_all_that_is_defined_and_no_more():
    """Readers: all but events. Writers: events alone. Publishers: everything."""
    definitions = embedding_definitions(2, versions=["v1", "0a"])
    kinds = (FeatureView, OnDemandFeatureView, FeatureService)
    every = {each.name: each for each in definitions if isinstance(each, kinds)}
    other = FeatureService(name="others", features=[])
    granted = {
        permission.name: {
            name
            for name, resource in {**every, "others": other}.items()
            if permission.match_resource(resource)
        }
        for permission in embedding_permissions(definitions)
    }
    assert granted == {
        "embedding_readers": set(every) - {"feedback_events"},
        "embedding_writers": {"feedback_events"},
        "embedding_publishers": set(every),
    }


def test_permissions_do_not_change_with_the_versions_that_are_published():
    one, other = (
        embedding_permissions(embedding_definitions(2, versions=versions))
        for versions in ([], ["v1"])
    )
    assert one == other


def test_publishing_again_leaves_permissions_registered(repo, recommender):
    publish(recommender, repo)
    store = open_store(repo)
    store.apply(embedding_permissions(embedding_definitions(5)))
    publish(make_recommender(version="v2"), repo)
    assert len(open_store(repo).list_permissions()) == 3


def test_who_has_no_role_has_no_permission():
    definitions = embedding_definitions(2)
    found = embedding_permissions(definitions, readers=["a", "b"], writers=())
    assert [each.name for each in found] == [
        "embedding_readers",
        "embedding_publishers",
    ]
    assert found[0].policy.roles == ["a", "b"]
    with pytest.raises(ValueError, match=r"all empty: .* name at least one role"):
        embedding_permissions(definitions, readers=(), writers=(), publishers=())


@pytest.mark.parametrize("name", ["readers", "writers", "publishers"])
def test_roles_that_are_no_list_of_names_are_refused(name):
    definitions = embedding_definitions(2)
    for roles in ("reader", None, 3, [1], ["a", None]):
        with pytest.raises(TypeError, match=f"{name} must be a sequence of strings"):
            embedding_permissions(definitions, **{name: roles})
    with pytest.raises(ValueError, match=f"{name} holds an empty role"):
        embedding_permissions(definitions, **{name: ["a", " "]})
