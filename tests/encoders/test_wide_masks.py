"""Wide masks give the vectors of the library, and are never looked into."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from skmmrec.encoders import TextEncoder
from skmmrec.encoders._wide_masks import bidirectional, causal, choose_mask

TEXTS = ["a", "a dog barks at the moon", "", "a longer text, " * 40, "two words"]
CPU = torch.device("cpu")


class Looks(TorchDispatchMode):
    """Counts how often the host asks for a value, for which it waits for a device."""

    count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        names = ("_local_scalar_dense", "nonzero")
        self.count += any(name in str(operation) for name in names)
        return operation(*args, **(kwargs or {}))


def features(encoder, texts):
    reader = encoder._model._reader
    return reader.features([reader.cut(row) for row in reader.read(texts)], CPU)


def test_the_masks_of_an_encoder_let_tokens_see_all_and_of_a_decoder_what_was(
    minilm, decoder_model
):
    found = choose_mask(minilm._model._transformer, features(minilm, TEXTS))
    assert found is bidirectional
    decoder = TextEncoder(decoder_model, device="cpu").fit(["any"])
    found = choose_mask(decoder._model._transformer, features(decoder, TEXTS))
    assert found is causal


@pytest.mark.parametrize("name", ["minilm", "decoder"])
def test_vectors_are_the_same_and_the_host_never_waits(
    name, minilm, decoder_model, monkeypatch
):
    encoder = minilm
    if name == "decoder":
        encoder = TextEncoder(decoder_model, device="cpu").fit(["any"])
    model = encoder._model
    given = features(encoder, TEXTS)
    with Looks() as looks:
        expected = model._embedder.run(dict(given), None)
    assert looks.count > 0
    monkeypatch.setattr(model._embedder, "_widen", None)  # put back afterwards
    model._embedder.widen_masks(model._reader)
    with Looks() as looks:
        vectors = model._embedder.run(dict(given), None)
    assert looks.count == 0
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)


def test_a_network_with_windows_keeps_its_masks(decoder_model, tmp_path):
    import json
    import shutil

    folder = tmp_path / "windows"
    shutil.copytree(decoder_model, folder)
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config |= {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}
    config["layer_types"] = ["full_attention", "sliding_attention"]
    file.write_text(json.dumps(config))
    encoder = TextEncoder(folder, device="cpu").fit(["any"])
    assert choose_mask(encoder._model._transformer, features(encoder, TEXTS)) is None


def test_padding_of_a_decoder_attends_to_something():
    wide = causal(torch.tensor([[0, 1, 1], [1, 1, 1]]))
    assert wide.any(dim=-1).all()
    assert wide[0, 0].tolist() == [
        [True] * 3,
        [False, True, False],
        [False, True, True],
    ]
    assert wide[1, 0].tolist() == np.tril(np.ones((3, 3), bool)).tolist()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_a_batch_begins_on_a_gpu_while_the_last_one_is_computed(bert_model, precision):
    encoder = TextEncoder(bert_model, device="cuda", precision=precision).fit(["any"])
    model = encoder._model
    assert model._embedder._widen is bidirectional
    assert model.own_precision == (precision == "auto")
    texts = [text for text in TEXTS if text]
    contents = model.prepare_many(texts)
    model.start(contents)()  # what is made at the first call is made now
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        waits = [model.start(contents) for _ in range(3)]
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    expected = TextEncoder(bert_model, device="cpu").fit_transform(texts)
    for wait in waits:
        vectors = wait() / np.linalg.norm(wait(), axis=1, keepdims=True)
        assert ((vectors * expected).sum(axis=1) > 0.99).all()
