"""Feast's offline stores and engines on Ray and Spark, with what is published here."""

import shutil
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from skmmrec.feature_store import (
    FeastFeatures,
    LostRowsError,
    OnlineRecommender,
    publications,
    publish,
    verify,
)

from .conftest import make_recommender
from .test_engines import (
    COUNTED,
    LATER,
    NOW,
    configure,
    materialize,
    online_prices,
    priced,
)

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Feast and both engines warn of much
]
ON_THE_SECOND = datetime(2026, 6, 1, 12, tzinfo=UTC)
ITEMS = ["item_embeddings:item_vector"]


@pytest.fixture(scope="module")
def spark():
    """Give the settings of Feast's store on a Spark of this machine."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        builder = sql.SparkSession.builder.master("local[2]")
        session = builder.config("spark.ui.enabled", "false").getOrCreate()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        yield {"type": "spark"}
        session.stop()


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """Give the settings of Feast's store on a Ray of this machine."""
    cluster = pytest.importorskip("ray")
    yield {"type": "ray", "storage_path": str(tmp_path_factory.mktemp("ray"))}
    cluster.shutdown()


@pytest.fixture(params=["spark", "ray"])
def offline(request):
    return request.getfixturevalue(request.param)


def test_features_are_those_of_their_time(repo, offline):
    """Two publications; rows from before, between and after, some of them twice."""
    configure(repo, offline_store=offline)
    models = [make_recommender(version=f"v{i}", seed=i) for i in range(2)]
    when = [ON_THE_SECOND, ON_THE_SECOND + timedelta(days=1)]
    for model, time in zip(models, when, strict=True):
        publish(model, repo, timestamp=time)
    assert OnlineRecommender(repo).model_version == "v1"
    assert verify(models[1], repo).ok
    asked = pd.DataFrame(
        {
            "item_id": [3, 4, 3, 3, 9, 1000],
            "when": [when[0], when[1], when[0], when[1], when[1], when[1]]
            + np.array([0, -1, 0, 1, 0, 0]) * timedelta(hours=1),
        }
    )
    found = FeastFeatures(repo, ITEMS, timestamp="when").fit_transform(asked)
    first, second = (model.vectors.items for model in models)
    wanted = [first.loc[3], first.loc[4], first.loc[3], second.loc[3], second.loc[9]]
    np.testing.assert_array_equal(found[:5], wanted)
    assert np.isnan(found[5]).all()


def test_a_repository_may_go_to_spark_and_back(repo, spark):
    publish(make_recommender(), repo, timestamp=NOW)
    store = configure(repo, offline_store=spark)
    publish(make_recommender(version="v2", seed=1), repo, timestamp=LATER)
    kind = type(store.get_feature_view("item_embeddings").batch_source).__name__
    assert kind == "SparkSource"
    store = configure(repo, offline_store={"type": "dask"})
    publish(
        make_recommender(version="v3", seed=2), repo, timestamp=LATER + (LATER - NOW)
    )
    kind = type(store.get_feature_view("item_embeddings").batch_source).__name__
    assert kind == "FileSource"
    assert OnlineRecommender(repo).model_version == "v3"


def test_a_copied_repository_reads_its_own_files_by_spark(repo, spark, tmp_path):
    configure(repo, offline_store=spark)
    publish(make_recommender(), repo, timestamp=ON_THE_SECOND)
    copied = shutil.copytree(repo, tmp_path / "copy")
    shutil.rmtree(repo)
    asked = pd.DataFrame({"item_id": [3, 4], "when": LATER})
    found = FeastFeatures(copied, ITEMS, timestamp="when").fit_transform(asked)
    wanted = make_recommender().vectors.items.loc[[3, 4]]
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_a_spark_with_another_clock_is_refused(repo, recommender, spark, zone):
    from pyspark.sql import SparkSession

    conf = SparkSession.getActiveSession().conf
    configure(repo, offline_store=spark)
    publish(recommender, repo, timestamp=ON_THE_SECOND)
    conf.set("spark.sql.session.timeZone", zone)
    try:
        with pytest.raises(LostRowsError, match=f"timeZone is '{zone}'.*: UTC` under"):
            publish(make_recommender(version="v2"), repo, timestamp=LATER)
        features = FeastFeatures(repo, ITEMS, timestamp="when")
        with pytest.raises(LostRowsError, match=f"timeZone is '{zone}'"):
            features.fit(pd.DataFrame({"item_id": [3], "when": LATER}))
    finally:
        conf.set("spark.sql.session.timeZone", "UTC")
    assert publications(repo)["version"].tolist() == ["v1"]


def test_ray_cuts_times_to_seconds_and_is_refused_for_it(repo, recommender, ray):
    configure(repo, offline_store=ray)
    with pytest.raises(LostRowsError, match=r"0 of the 12 rows .* of whole seconds"):
        publish(recommender, repo, timestamp=NOW)
    assert not len(publications(repo))


@pytest.mark.parametrize("engine", ["spark", "ray"])
def test_rows_that_an_engine_writes_are_counted(repo, request, engine):
    store = priced(
        repo,
        [ON_THE_SECOND] * 50,
        range(50),
        offline_store=request.getfixturevalue(engine),
        batch_engine={"type": f"{engine}.engine"},
    )
    materialize(store)
    assert online_prices(store, 50) == list(range(50))


def test_ray_writes_no_vectors_of_a_declared_length(repo, ray):
    """Its worker logs that Ray made tensors of the lists; Feast reports success."""
    batch_engine = {"type": "ray.engine"}
    store = priced(repo, [NOW] * 50, range(50), vectors=True, batch_engine=batch_engine)
    with pytest.raises(LostRowsError, match=r"'ray\.engine' reported success, and 0"):
        materialize(store)
    materialize(configure(repo, provider="local"))  # Feast alone is silent
    assert online_prices(store, 50) == [None] * 50
    materialize(configure(repo, batch_engine={"type": "local"}, provider=COUNTED))
    assert online_prices(store, 50) == list(range(50))
