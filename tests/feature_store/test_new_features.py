"""Features that a publication brings can be asked for at once."""

import pandas as pd

from skmmrec.feature_store import OnlineRecommender, publish

from .conftest import make_recommender


def test_a_reader_knows_the_features_of_a_new_publication_at_once(repo, recommender):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    assert len(online.recommend(["100"], k=5)) == 5
    prices = pd.DataFrame({"price": range(30)}, index=range(30))
    publish(make_recommender(version="v2"), repo, features=prices)
    found = online.recommend(["100"], k=30, where="price < 10", exclude_seen=False)
    assert sorted(found["item_id"]) == list(range(10))
    words = prices.astype({"price": str})
    publish(make_recommender(version="v3"), repo, features=words)
    found = online.recommend(["100"], k=30, where="price == '7'", exclude_seen=False)
    assert found["item_id"].tolist() == [7]
