"""The whole estimator on vectors that a SoftTokenFuser has fused."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.fusion import ConcatFusion
from skmmrec.inspection import (
    ModalityAblationDisplay,
    explain,
    modality_contributions,
    nearest_in_history,
)
from skmmrec.llm import SoftTokenFuser, load_language_model
from skmmrec.llm._soft_model import SoftTokenModel
from skmmrec.model_selection import LeaveLastOut
from skmmrec.recommender import ContentRecommender, Regularization, Training
from skmmrec.testing import RecommenderTests
from tests.llm.conftest import save_causal_model
from tests.recommender.saved import editing

load = MultimodalFusionRecommender.load
TITLES = ["rain", "wind", "snow", "sun", "fog", "hail", "storm", "frost"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of a tiny language model, which stays loaded meanwhile."""
    folder = save_causal_model(tmp_path_factory.mktemp("models") / "tiny")
    held = load_language_model(folder, "cpu", generates=False)
    yield folder
    del held


@pytest.fixture
def table(items):
    """Vectors of three modalities, and words in a column beside them."""
    titles = [f"{TITLES[n % 8]} {n}" for n in range(len(items))]
    return items.assign(title=titles)


@pytest.fixture
def catalog(table):
    return ItemCatalog(table)


@pytest.fixture
def read(monkeypatch):
    """Items that went through the network so far."""
    items = []
    encode = SoftTokenModel.encode

    def counting(self, contents):
        items.extend(contents)
        return encode(self, contents)

    monkeypatch.setattr(SoftTokenModel, "encode", counting)
    return items


@pytest.fixture
def fitted(make, catalog, model, X):
    return make(catalog, fusion=SoftTokenFuser(model)).fit(X)


@pytest.fixture
def no_encoding(monkeypatch):
    def refuse(self, contents):
        raise AssertionError("the language model was asked")

    def forbid():
        monkeypatch.setattr(SoftTokenModel, "encode", refuse)

    return forbid


# -- the language model is asked once ------------------------------------------------


def test_one_call_for_each_item_and_none_again(make, catalog, model, X, read):
    recommender = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    assert len(read) == len(catalog)
    assert recommender.model_.content.modalities == ["llm"]
    recommender.fit(X)
    recommender.set_params(n_factors=4).fit(X)
    clone(recommender).fit(X)
    pickle.loads(pickle.dumps(recommender)).fit(X)
    recommender.predict(X)
    recommender.recommend(k=2)
    recommender.similar_items(["i00"])
    assert len(read) == len(catalog)


def test_items_with_the_same_content_are_one(make, table, model, X, read):
    twins = table.assign(item_id=table.item_id + "b")
    both = ItemCatalog(pd.concat([table, twins], ignore_index=True))
    recommender = make(both, fusion=SoftTokenFuser(model)).fit(X)
    assert len(read) == len(table)
    vectors = recommender.model_.content.values["llm"]
    np.testing.assert_array_equal(vectors[::2], vectors[1::2])


def test_a_search_over_fusions_asks_once(make, catalog, model, X, read):
    search = GridSearchCV(
        make(catalog, training__max_epochs=1),
        {"fusion": [SoftTokenFuser(model), "concat"], "n_factors": [2, 3]},
        cv=LeaveLastOut(),
    )
    search.fit(X)
    assert len(read) == len(catalog)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_a_search_over_the_settings_of_the_fuser(make, catalog, model, X, read):
    fuser = SoftTokenFuser(model, device="cpu")
    search = GridSearchCV(
        make(catalog, fusion=fuser, training__max_epochs=1),
        {"fusion__pooling": ["last", "mean"], "n_factors": [2, 3]},
        cv=LeaveLastOut(),
    )
    search.fit(X)
    assert len(read) == 2 * len(catalog)


def test_a_pickle_for_other_processes_has_the_vectors(make, catalog, model, X, read):
    recommender = make(catalog, fusion=SoftTokenFuser(model))
    copies = [pickle.loads(pickle.dumps(recommender)) for _ in range(3)]
    assert len(read) == len(catalog)
    for copied in copies:
        copied.fit(X)
    recommender.fit(X)
    assert len(read) == len(catalog)


def test_a_pickle_of_what_cannot_be_read_is_no_error(make, catalog, X):
    recommender = make(catalog, fusion=SoftTokenFuser("./no-such-model"))
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        pickle.loads(pickle.dumps(recommender)).fit(X)


def test_threads_read_each_item_once(make, catalog, model, X, read):
    fits = [make(catalog, fusion=SoftTokenFuser(model)) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        fitted = list(pool.map(lambda recommender: recommender.fit(X), fits))
    assert len(read) == len(catalog)
    scores = [recommender.predict(X) for recommender in fitted]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_a_cache_serves_other_catalogues(make, table, model, X, read, tmp_path):
    fuser = SoftTokenFuser(model, cache=tmp_path / "cache")
    make(ItemCatalog(table), fusion=fuser).fit(X)
    assert len(read) == len(table)
    new = table.tail(1).assign(item_id="new", title="dew")
    more = ItemCatalog(pd.concat([table, new], ignore_index=True))
    make(more, fusion=clone(fuser)).fit(X)
    assert len(read) == len(table) + 1


# -- what it learns from -------------------------------------------------------------


def test_words_and_vectors_count(make, catalog, table, model, X):
    def content_of(table):
        recommender = make(ItemCatalog(table), fusion=SoftTokenFuser(model))
        return (
            recommender.set_params(regularization__n_components=None)
            .fit(X)
            .model_.content.values["llm"]
        )

    before = content_of(table)
    for changed in (
        table.assign(title=table.title.replace("rain 0", "drizzle")),
        table.assign(image__0=table.image__0.where(table.item_id != "i00", 9.0)),
    ):
        after = content_of(changed)
        assert np.abs(after[0] - before[0]).max() > 1e-3


def test_it_is_the_recommender_on_the_fused_vectors(make, catalog, table, model, X):
    """Nothing but the vectors is different from a plain fusion of one modality."""
    recommender = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    fuser = SoftTokenFuser(model)
    words = table.drop(columns="item_id")
    fused = fuser.fit(catalog.blocks, words=words).transform(
        catalog.blocks, words=words
    )
    ready = pd.DataFrame(fused.values["llm"]).add_prefix("llm__")
    plain = make(ItemCatalog(ready.assign(item_id=table.item_id)), fusion="concat")
    np.testing.assert_allclose(
        recommender.predict(X), plain.fit(X).predict(X), atol=1e-5
    )


def test_numbers_are_read_by_their_size(make, table, model, X, tmp_path):
    """And by the scale of the fit, in queries, in explanations and after loading."""
    table = table[["item_id", "title"]].assign(price__x=np.arange(float(len(table))))
    catalog = ItemCatalog(table)
    recommender = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    query = pd.DataFrame({"price__x": [0.0, 4.0, 8.0, 13.0]})
    vectors = recommender.transform(query)
    apart = np.abs(vectors[:, None] - vectors).max(axis=2)
    assert apart[np.triu_indices(4, 1)].min() > 1e-5
    assert {"price", "words"} <= set(
        modality_contributions(recommender, [100], ["i00"]).columns
    )
    found = nearest_in_history(recommender, [100], ["i00"])
    assert found.similarity.abs().max() <= 1 + 1e-6
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model", catalog=catalog)
    np.testing.assert_array_equal(loaded.transform(query), vectors)


def test_the_same_seed_gives_the_same_model(make, catalog, table, model, X):
    one, other = (
        make(ItemCatalog(table), fusion=SoftTokenFuser(model)).fit(X) for _ in range(2)
    )
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


# -- new content ---------------------------------------------------------------------


def test_new_content_is_read_as_that_of_the_catalogue(fitted, table, no_encoding):
    raw = table.drop(columns="item_id")
    no_encoding()
    assert fitted.similar_items(raw.head(3), k=1).item_id.tolist() == [
        "i00",
        "i01",
        "i02",
    ]
    assert fitted.transform(raw).shape == (len(table), 6)


def test_some_columns_are_enough(fitted, table):
    asked = table[["image__0", "image__1", "image__2"]].head(2)
    found = fitted.similar_items(asked, k=3)
    assert np.isfinite(found.score).all()
    other = fitted.transform(asked.assign(title="rain"))
    assert np.abs(other - fitted.transform(asked)).max() > 1e-4


def test_add_items(fitted, table, read):
    new = table.head(2).assign(item_id=["new0", "new1"], title=["rain 0", "sleet"])
    n_before = len(read)
    fitted.add_items(new)
    assert len(read) == n_before + 1
    content = fitted.model_.content.values["llm"]
    np.testing.assert_array_equal(content[-2], content[0])
    assert not np.allclose(content[-1], content[1], atol=1e-4)
    feedback = pd.DataFrame({"user_id": ["somebody"], "item_id": ["new1"]})
    fitted.partial_fit(feedback.assign(user_id=[7]))
    assert "new0" in fitted.recommend([7], k=99).item_id.to_numpy()


def test_partial_fit_does_not_ask(fitted, X, no_encoding):
    no_encoding()
    fitted.partial_fit(X.head(5).assign(user_id=999))
    assert len(fitted.recommend([999], k=3)) == 3


# -- the flat form -------------------------------------------------------------------


def test_the_flat_form_has_no_words(make, items, model, flat, X):
    plain = make(ItemCatalog(items), fusion=SoftTokenFuser(model)).fit(X)
    recommender = make(fusion=SoftTokenFuser(model)).fit(flat)
    np.testing.assert_allclose(recommender.predict(flat), plain.predict(X), atol=1e-5)
    assert recommender.model_.fuser.columns_ == []


def test_an_item_that_a_flat_table_brings_along(make, model, flat):
    recommender = make(fusion=SoftTokenFuser(model)).fit(flat)
    new = flat.head(2).assign(item_id="new")
    assert recommender.transform(new).shape == (2, 6)
    recommender.partial_fit(new)
    assert "new" in recommender.item_index_


def test_a_fuser_keeps_what_folds_of_a_flat_table_share(make, model, flat, read):
    fuser = SoftTokenFuser(model)
    for n_factors in (2, 3):
        clone(make(fusion=fuser, n_factors=n_factors)).fit(flat.iloc[5:])
    clone(make(fusion=fuser)).fit(flat)
    assert len(read) == flat.item_id.nunique()


# -- keeping -------------------------------------------------------------------------


@pytest.mark.parametrize("configured", [False, True])
def test_save_and_load(make, catalog, table, model, X, tmp_path, configured):
    settings = {"max_tokens": 9, "cache": tmp_path} if configured else {}
    recommender = make(catalog, fusion=SoftTokenFuser(model, **settings)).fit(X)
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model", catalog=ItemCatalog(table))
    np.testing.assert_array_equal(loaded.predict(X), recommender.predict(X))
    raw = table.drop(columns="item_id").assign(title="squall")
    np.testing.assert_allclose(
        loaded.transform(raw), recommender.transform(raw), atol=1e-5
    )
    assert isinstance(loaded.fusion, SoftTokenFuser)
    expected = {**recommender.fusion.get_params(), "cache": None, "model": str(model)}
    assert loaded.fusion.get_params() == expected
    assert expected["max_tokens"] == (9 if configured else 128)
    loaded.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_without_the_language_model_known_items_are_served(
    make, catalog, table, X, tmp_path
):
    folder = save_causal_model(tmp_path / "tiny")
    recommender = make(catalog, fusion=SoftTokenFuser(folder)).fit(X)
    recommender.save(tmp_path / "model")
    (tmp_path / "tiny").rename(tmp_path / "gone")
    loaded = load(tmp_path / "model", catalog=ItemCatalog(table))
    pd.testing.assert_frame_equal(loaded.recommend(k=3), recommender.recommend(k=3))
    with pytest.raises(FileNotFoundError, match="tiny"):
        loaded.transform(table.drop(columns="item_id"))
    save_causal_model(tmp_path / "tiny", seed=1)
    with pytest.raises(ValueError, match="is not the one of fit"):
        loaded.transform(table.drop(columns="item_id"))


def test_a_device_is_not_kept(make, catalog, model, X, tmp_path):
    recommender = make(catalog, fusion=SoftTokenFuser(model, device="cpu")).fit(X)
    assert recommender.model_.fuser.device == "cpu"
    recommender.save(tmp_path / "model")
    assert load(tmp_path / "model").model_.fuser.device == "auto"


def test_no_pretrained_weights_are_kept(fitted, model, tmp_path):
    fitted.save(tmp_path / "model")
    weights = load_language_model(model, "cpu", generates=False).network.parameters()
    size = sum(weight.nbytes for weight in weights)
    kept = sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
    assert kept < size / 2
    assert len(pickle.dumps(fitted)) < size


def test_warm_start_and_pretrained_take_the_fuser_along(
    make, catalog, model, X, tmp_path
):
    recommender = make(catalog, fusion=SoftTokenFuser(model), warm_start=True).fit(X)
    fuser = recommender.model_.fuser
    assert recommender.fit(X).model_.fuser is fuser
    recommender.save(tmp_path / "model")
    other = make(
        catalog, fusion=SoftTokenFuser(model), pretrained=tmp_path / "model"
    ).fit(X)
    np.testing.assert_array_equal(
        other.model_.content.values["llm"], recommender.model_.content.values["llm"]
    )
    with pytest.raises(ValueError, match="earlier fit had the modalities"):
        make(catalog, pretrained=tmp_path / "model").fit(X)


# -- adapters ------------------------------------------------------------------------


def test_adapters_are_trained_on_the_likes_and_kept(
    make, catalog, table, model, X, tmp_path
):
    fuser = SoftTokenFuser(
        model, lora={"r": 2}, n_steps=3, n_pairs=4, learning_rate=0.01
    )
    recommender = make(catalog, fusion=fuser).fit(X)
    frozen = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    assert len(recommender.model_.fuser.loss_curve_) == 3
    content = recommender.model_.content.values["llm"]
    assert not np.allclose(content, frozen.model_.content.values["llm"], atol=1e-3)
    again = make(catalog, fusion=fuser).fit(X)
    np.testing.assert_array_equal(again.predict(X), recommender.predict(X))
    recommender.save(tmp_path / "model")
    loaded = load(tmp_path / "model", catalog=ItemCatalog(table))
    raw = table.drop(columns="item_id")
    np.testing.assert_allclose(
        loaded.transform(raw), recommender.transform(raw), atol=1e-5
    )


def test_settings_of_peft_are_kept(make, catalog, model, X, tmp_path):
    from peft import LoraConfig

    lora = LoraConfig(r=3, target_modules=["q_proj", "v_proj"], lora_dropout=0.1)
    fuser = SoftTokenFuser(model, lora=lora, n_steps=1, n_pairs=2)
    make(catalog, fusion=fuser).fit(X).save(tmp_path / "model")
    kept = load(tmp_path / "model").fusion.lora
    assert kept["r"] == 3
    assert kept["target_modules"] == ["q_proj", "v_proj"]


# -- inspection ----------------------------------------------------------------------


def test_contributions_of_what_was_fused(fitted, X, read):
    pairs = X.head(3)
    found = modality_contributions(fitted, pairs.user_id, pairs.item_id)
    assert list(found.columns[2:]) == ["interactions", "text", "image", "audio"]
    total = found.drop(columns=["user_id", "item_id"]).sum(axis=1)
    np.testing.assert_allclose(total, fitted.predict(pairs), atol=1e-5)
    assert found[["text", "image", "audio"]].abs().to_numpy().max() > 1e-4
    n_before = len(read)
    modality_contributions(fitted, pairs.user_id, pairs.item_id)
    assert len(read) == n_before


def test_words_without_a_modality_of_text_are_one_of_their_own(make, table, model, X):
    table = table.rename(columns=lambda c: c.replace("text__", "lyrics__"))
    fitted = make(ItemCatalog(table), fusion=SoftTokenFuser(model)).fit(X)
    found = modality_contributions(fitted, X.user_id, X.item_id)
    assert list(found.columns[3:]) == ["lyrics", "image", "audio", "words"]
    total = found.drop(columns=["user_id", "item_id"]).sum(axis=1)
    np.testing.assert_allclose(total, fitted.predict(X), atol=1e-5)
    assert found.words.abs().max() > 1e-4
    assert explain(fitted, fitted.recommend(k=2)).reason.str.len().gt(0).all()


def test_contributions_where_only_the_fused_content_is_left(fitted, X, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    found = modality_contributions(loaded, X.user_id, X.item_id)
    assert list(found.columns[2:]) == ["interactions", "llm"]
    total = found.interactions + found.llm
    np.testing.assert_allclose(total, fitted.predict(X), atol=1e-5)


def test_contributions_of_an_added_item(fitted, table):
    """The catalogue tells them, unless it is one from before."""
    fitted.add_items(table.head(1).assign(item_id="new"))
    found = modality_contributions(fitted, [100], ["new"])
    total = found[list(found.columns[2:])].sum(axis=1)
    pair = pd.DataFrame({"user_id": [100], "item_id": ["new"]})
    np.testing.assert_allclose(total, fitted.predict(pair), rtol=1e-5, atol=1e-5)
    fitted.set_params(catalog=ItemCatalog(table))
    with pytest.raises(ValueError, match="'new' is not in the catalogue"):
        modality_contributions(fitted, [100], ["new"])
    assert len(modality_contributions(fitted, [100], ["i00"])) == 1
    assert explain(fitted, fitted.recommend(k=1, items=["i03", "i04"])).reason.all()


def test_neighbours_and_ablation(fitted, X):
    near = nearest_in_history(fitted, X.user_id.head(2), X.item_id.head(2))
    assert near.modality.tolist() == ["text", "image", "audio"] * 2
    unseen = fitted.recommend(k=2)[["user_id", "item_id"]]
    display = ModalityAblationDisplay.from_estimator(fitted, unseen)
    assert "without image" in display.values.index
    assert display.values["mean"].iloc[0] == pytest.approx(1.0, abs=1e-9)


# -- parameters ----------------------------------------------------------------------


def test_a_name_stands_for_no_language_model(make, catalog, X):
    with pytest.raises(ValueError, match=r"fusion=SoftTokenFuser\(model\)"):
        make(catalog, fusion="llm").fit(X)
    for fusion in (3, ConcatFusion([2], 4), PCA()):
        with pytest.raises(InvalidParameterError, match="'fusion' parameter"):
            make(catalog, fusion=fusion).fit(X)


def test_settings_of_the_fuser_are_checked(make, catalog, model, X):
    recommender = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    before = recommender.recommend()
    with pytest.raises(InvalidParameterError, match="'pooling' parameter"):
        recommender.set_params(fusion__pooling="first").fit(X)
    pd.testing.assert_frame_equal(recommender.recommend(), before)


def test_without_fusion_by_it_no_model_is_loaded(make, catalog, X):
    assert make(catalog).fit(X).model_.fuser is None
    assert ContentRecommender(catalog).fit(X).model_.fuser is None
    with pytest.raises(FileNotFoundError, match="absent"):
        make(catalog, fusion=SoftTokenFuser("./absent")).fit(X)


def test_the_estimator_given_is_left_unfitted(make, catalog, model, X):
    fuser = SoftTokenFuser(model)
    recommender = make(catalog, fusion=fuser).fit(X)
    assert not hasattr(fuser, "columns_")
    assert recommender.model_.fuser is not fuser


def test_set_output(fitted, X):
    frame = clone(fitted).set_output(transform="pandas").fit(X).transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (len(X), 6)


class TestContract(RecommenderTests):
    @pytest.fixture
    def recommender(self, model):
        return MultimodalFusionRecommender(
            fusion=SoftTokenFuser(model),
            n_factors=3,
            random_state=1,
            training=Training(max_epochs=1),
            regularization=Regularization(n_components=2),
        )

    @pytest.mark.filterwarnings("ignore:no interaction has y above 0:UserWarning")
    def test_it_passes_the_checks_of_scikit_learn(self, recommender):
        """Some bring no content; what could have no effect there would be refused."""
        super().test_it_passes_the_checks_of_scikit_learn(
            recommender.set_params(regularization=None)
        )


def test_polars_content_is_read_too(fitted, table):
    polars = pytest.importorskip("polars")
    raw = table.drop(columns="item_id").head(3).assign(title="squall")
    found = fitted.transform(polars.from_pandas(raw))
    np.testing.assert_allclose(found, fitted.transform(raw), atol=1e-5)


def test_a_notebook_shows_the_model_and_what_it_reads_with(make, catalog, model, X):
    recommender = make(catalog, fusion=SoftTokenFuser(model)).fit(X)
    html = recommender._repr_html_()
    assert "SoftTokenFuser" in html
    assert "SoftTokenFuser, vectors of 6" in html


@pytest.mark.slow
def test_a_search_in_several_processes(make, catalog, model, X):
    search = GridSearchCV(
        make(catalog, fusion=SoftTokenFuser(model), training__max_epochs=1),
        {"n_factors": [2, 3]},
        cv=LeaveLastOut(),
        n_jobs=2,
    )
    assert np.isfinite(search.fit(X).cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("params", "max_tokens", -1),
        ("params", "learning_rate", float("nan")),
        ("params", "pooling", "first"),
        ("params", "no_such", 1),
        ("params", "cache", "/somewhere"),
        ("fitted", "widths_", {"text": 0}),
        ("fitted", "widths_", ["text"]),
        ("fitted", "columns_", [1]),
        ("fitted", "template_", None),
        ("fitted", "precision_", "fp8"),
        ("fitted", "language_model_", 7),
        ("fitted", "embedding_dim_", 0),
        ("fitted", "embedding_dim_", 7),
        ("fitted", "loss_curve_", [float("inf")]),
        ("fitted", "no_such_", 1),
        ("numbers", "text", [[1.0], []]),
    ],
)
def test_a_saved_fuser_that_cannot_be(fitted, tmp_path, part, name, value):
    fitted.save(tmp_path / "model")
    with editing(tmp_path / "model") as (record, _):
        record["fuser"][part][name] = value
    with pytest.raises(ValueError, match=r"is damaged.*whole folder"):
        load(tmp_path / "model")


@pytest.mark.parametrize("change", ["zero", "NaN", "long"])
def test_a_saved_scale_that_cannot_be(fitted, tmp_path, change):
    fitted.save(tmp_path / "model")
    with editing(tmp_path / "model") as (_, tensors):
        scale = tensors["fuser.scale"]
        scale[0] = {"zero": 0.0, "NaN": np.nan, "long": 1.0}[change]
        if change == "long":
            tensors["fuser.scale"] = np.append(scale, np.float32(1))
    with pytest.raises(ValueError, match=r"fuser\.scale must be"):
        load(tmp_path / "model")
