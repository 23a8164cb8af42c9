"""A recommender small enough to be fitted in every test."""

import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from tests.recommender.two_tastes import make_tastes


@pytest.fixture(scope="session")
def make():
    """Unfitted recommender: few factors, few epochs, a seed."""

    def make(catalog=None, **params):
        small = {
            "n_factors": 6,
            "training__max_epochs": 3,
            "training__n_negatives": 8,
            "random_state": 0,
        }
        return MultimodalFusionRecommender(catalog).set_params(**{**small, **params})

    return make


@pytest.fixture(scope="session")
def catalog(items):
    return ItemCatalog(items)


@pytest.fixture(scope="session")
def y(ratings):
    return ratings.rating - 2


@pytest.fixture
def pairs(X):
    """Rows without times."""
    return X[["user_id", "item_id"]]


@pytest.fixture
def stars(ratings):
    """Ratings as people give them, all above 0."""
    return ratings.rating.to_numpy()


@pytest.fixture(scope="session")
def fitted(make, catalog, X, y):
    return make(catalog).fit(X, y)


@pytest.fixture(scope="session")
def fitted_flat(make, flat, y):
    return make().fit(flat, y)


@pytest.fixture(scope="session")
def all_pairs(fitted):
    """Every user of `fit`, and one who is new, with every item."""
    return fitted.item_index_.to_frame(index=False, name="item_id").merge(
        fitted.user_index_.insert(0, 1).to_frame(index=False, name="user_id"),
        how="cross",
    )[["user_id", "item_id"]]


@pytest.fixture(scope="session")
def tastes():
    """Items and likes of users of two kinds."""
    return make_tastes()
