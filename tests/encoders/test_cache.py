"""Encoders with a cache: nothing is encoded twice, nor lost by a kill."""

import multiprocessing
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skmmrec.encoders import EmbeddingCache, ImageEncoder, TextEncoder

from .conftest import noise_picture
from .test_base import count_encoded


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


@pytest.fixture
def cached(text_model, cache):
    return TextEncoder(text_model, cache=cache).fit(["any"])


def test_only_new_content_is_encoded(cached, monkeypatch):
    seen = count_encoded(cached, monkeypatch)
    first = cached.transform(["a", "b", "a", None])
    again = cached.transform(["c", "b", "b", "a"])
    assert sorted(seen) == ["a", "b", "c"]
    np.testing.assert_array_equal(again[[3, 1, 2]], first[[0, 1, 1]])


def test_vectors_are_the_same_with_and_without(cached, text_model):
    texts = [f"text {i}" for i in range(50)]
    plain = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_array_equal(cached.transform(texts), plain)
    np.testing.assert_array_equal(cached.transform(texts[::-1])[::-1], plain)


def test_a_path_makes_a_cache(text_model, tmp_path):
    for _ in range(2):
        TextEncoder(text_model, cache=tmp_path / "here").fit_transform(["a"])
    assert EmbeddingCache(tmp_path / "here").info().n_vectors == 1


def test_clones_and_other_settings_of_the_result_share_entries(cached, monkeypatch):
    cached.transform(["a"])
    other = clone(cached).set_params(normalize=False, missing="nan", batch_size=1)
    seen = count_encoded(other.fit(["any"]), monkeypatch)
    other.transform(["a"])
    assert not seen


@pytest.mark.parametrize("change", ["precision", "weights"])
def test_another_model_shares_nothing(cached, text_model, tmp_path, change):
    cached.transform(["a"])
    other = clone(cached)
    if change == "precision":
        other.set_params(precision="bf16")
    else:
        from safetensors.numpy import load_file, save_file

        shutil.copytree(text_model, tmp_path / "other")
        (path,) = (tmp_path / "other").rglob("*.safetensors")
        tensors = {name: 2 * tensor + 1 for name, tensor in load_file(path).items()}
        save_file(tensors, path)
        other.set_params(model=tmp_path / "other")
    other.fit_transform(["a"])
    assert cached.cache.info().n_vectors == 2


def test_files_are_known_by_content_not_by_name(image_model, cache, tmp_path):
    encoder = ImageEncoder(image_model, cache=cache).fit(["any"])
    noise_picture(0).save(tmp_path / "a.png")
    first = encoder.transform([tmp_path / "a.png"])
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(
        encoder.transform([tmp_path / "b.png", data]), first[[0, 0]]
    )
    assert cache.info().n_vectors == 1
    noise_picture(1).save(tmp_path / "a.png")
    assert not np.array_equal(encoder.transform([tmp_path / "a.png"]), first)


def test_the_pictures_of_a_list_are_known_by_content_as_well(
    image_model, cache, tmp_path
):
    """By names, a picture that takes another's place would get its old vector."""
    encoder = ImageEncoder(image_model, cache=cache).fit(["any"])
    pair = [tmp_path / "a.png", str(tmp_path / "b.png")]
    for seed, path in enumerate(pair):
        noise_picture(seed).save(path)
    first = encoder.transform([pair])
    data = [(tmp_path / "a.png").read_bytes(), None, pair[1]]
    np.testing.assert_array_equal(encoder.transform([data, pair]), first[[0, 0]])
    assert cache.info().n_vectors == 1
    noise_picture(2).save(pair[1])
    fresh = ImageEncoder(image_model).fit_transform([pair])
    np.testing.assert_allclose(encoder.transform([pair]), fresh, rtol=0, atol=1e-6)
    assert np.abs(fresh - first).max() > 0.01


def test_a_bad_item_loses_nothing_that_was_encoded(image_model, cache):
    encoder = ImageEncoder(image_model, cache=cache, batch_size=2).fit(["any"])
    good = [noise_picture(i) for i in range(20)]
    with pytest.raises(ValueError, match="row 20"):
        encoder.transform([*good, b"broken"])
    assert cache.info().n_vectors == 20


# A forked process has the libraries already; elsewhere it imports them for seconds.
PROCESSES = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def encode(text_model, path, first, last, out):
    torch.set_num_threads(1)  # OpenMP's threads do not come along with a fork
    texts = [f"text {i}" for i in range(first, last)]
    encoder = TextEncoder(text_model, cache=path, batch_size=1)
    np.save(out, encoder.fit_transform(texts))


def start_encoding(text_model, cache, first, last, out):
    arguments = (text_model, cache.path, first, last, out)
    worker = PROCESSES.Process(target=encode, args=arguments)
    worker.start()
    return worker


def test_a_worker_killed_while_it_encodes_loses_nothing_that_was_cached(
    cached, cache, text_model, tmp_path, monkeypatch
):
    n_texts = 3000
    out = tmp_path / "vectors.npy"
    worker = start_encoding(text_model, cache, 0, n_texts, out)
    while cache.info().n_vectors < 20 and worker.is_alive():
        time.sleep(0.02)
    worker.kill()
    worker.join()
    n_stored = cache.info().n_vectors
    assert 20 <= n_stored < n_texts
    assert not out.exists()
    seen = count_encoded(cached, monkeypatch)
    texts = [f"text {i}" for i in range(n_texts)]
    vectors = cached.transform(texts)
    assert len(seen) == n_texts - n_stored
    expected = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_two_processes_on_one_cache_get_the_same_vectors(cache, text_model, tmp_path):
    spans = [(0, 60), (30, 90)]
    outs = [tmp_path / f"{i}.npy" for i in range(2)]
    workers = [
        start_encoding(text_model, cache, *span, out)
        for span, out in zip(spans, outs, strict=True)
    ]
    for worker in workers:
        worker.join(600)
    assert [worker.exitcode for worker in workers] == [0, 0]
    first, second = (np.load(out) for out in outs)
    np.testing.assert_array_equal(first[30:], second[:30])
    texts = [f"text {i}" for i in range(90)]
    expected = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_allclose(np.vstack([first, second[30:]]), expected, atol=1e-6)
    assert cache.info().n_vectors == 90


def test_vectors_that_cannot_be_kept_are_given_and_told_once(cached, monkeypatch):
    texts = [f"text {i}" for i in range(5)]
    expected = clone(cached).set_params(cache=None).fit_transform(texts)

    def refuse(self, vectors):
        raise OSError("EmbeddingCache at x: attempt to write a readonly database")

    monkeypatch.setattr(EmbeddingCache, "put", refuse)
    cached.set_params(batch_size=1)
    with pytest.warns(UserWarning, match="readonly database") as caught:
        found = cached.transform(texts)
    assert [entry.filename for entry in caught] == [__file__]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
