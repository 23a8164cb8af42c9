"""Texts: meaning, and models that are not there."""

from pathlib import Path

import numpy as np
import pytest

from skmmrec.encoders import TextEncoder


def test_meaning_is_near(minilm):
    dog, puppy, market = minilm.transform(["a dog barks", "puppy", "stock market"])
    assert dog @ puppy > dog @ market + 0.2


def test_it_is_the_library_called_directly(minilm):
    from sentence_transformers import SentenceTransformer

    from skmmrec.encoders._weights import packaged_file

    texts = ["short", "a much longer text about the films of the silent era", "Ü 漢字"]
    folder = packaged_file("package:all-MiniLM-L6-v2").parent
    direct = SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(minilm.transform(texts), direct, atol=1e-6)


def test_padding_does_not_change_a_vector(minilm):
    texts = ["cat", "a long text " * 40]
    both = minilm.transform(texts)
    alone = np.vstack([minilm.transform([text]) for text in texts])
    np.testing.assert_allclose(both, alone, atol=1e-6)


def test_half_precision_is_close_and_comes_out_as_float32(minilm):
    half = TextEncoder("package:all-MiniLM-L6-v2", device="cpu", precision="bf16")
    vectors = half.fit_transform(["a dog barks"])
    assert vectors.dtype == np.float32
    reference = minilm.transform(["a dog barks"])
    assert 0.99 < (vectors @ reference.T).item() < 0.9999999


def test_threads_share_an_encoder(minilm):
    from concurrent.futures import ThreadPoolExecutor

    columns = [[f"text {i} {'word ' * i}" for i in range(n, n + 5)] for n in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(minilm.transform, columns))
    for column, vectors in zip(columns, together, strict=True):
        np.testing.assert_allclose(vectors, minilm.transform(column), atol=1e-6)


@pytest.mark.parametrize("model", ["./absent", "/no/such/model", Path("absent")])
def test_a_folder_that_is_not_there_names_the_argument(model):
    with pytest.raises(FileNotFoundError, match=r"model='.*' does not exist"):
        TextEncoder(model).fit(["a"])


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"TextEncoder\(model=.*could not be loaded"):
        TextEncoder(tmp_path).fit(["a"])
