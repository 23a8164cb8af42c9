"""The networks of PANNs: sizes and names as published, cheaper forms that agree."""

import numpy as np
import pytest
import torch

from skmmrec.encoders import AudioEncoder
from skmmrec.encoders._panns import NETWORKS, load_network
from skmmrec.encoders._panns_networks import faster

from .conftest import tone

# Table XII of the paper: all but the fixed filters of the front end.
PARAMETERS = {
    "Cnn14": 80_753_615,
    "Cnn10": 5_219_279,
    "Cnn6": 4_837_455,
    "MobileNetV1": 4_796_303,
}
SMALL = [name for name in NETWORKS if name != "Cnn14"]
FRONT_END = {
    "spectrogram_extractor.stft.conv_real.weight",
    "spectrogram_extractor.stft.conv_imag.weight",
    "logmel_extractor.melW",
}


def norm_names(prefix):
    values = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    return {f"{prefix}.{value}" for value in values}


def names_of(name):
    """Return the names of tensors in a published checkpoint."""
    linear = {f"{x}.{y}" for x in ("fc1", "fc_audioset") for y in ("weight", "bias")}
    names = FRONT_END | linear | norm_names("bn0")
    if name == "MobileNetV1":
        names |= {"features.0.0.weight"} | norm_names("features.0.2")
        for i in range(1, 14):
            names |= {f"features.{i}.{j}.weight" for j in (0, 4)}
            names |= norm_names(f"features.{i}.2") | norm_names(f"features.{i}.5")
        return names
    n_blocks, n_layers = {"Cnn14": (6, 2), "Cnn10": (4, 2), "Cnn6": (4, 1)}[name]
    for i in range(1, n_blocks + 1):
        for j in range(1, n_layers + 1):
            names.add(f"conv_block{i}.conv{j}.weight")
            names |= norm_names(f"conv_block{i}.bn{j}")
    return names


@pytest.fixture(scope="module", params=NETWORKS)
def named(request):
    return request.param, load_network(request.param, False, 0)


def test_sizes_and_names_are_those_published(named):
    name, network = named
    learned = (p for p in network.parameters() if p.requires_grad)
    assert sum(values.numel() for values in learned) == PARAMETERS[name]
    assert network.state_dict().keys() == names_of(name)


@pytest.mark.parametrize("pack", [False, True])
def test_the_cheaper_form_gives_the_same(named, pack):
    network = named[1]
    fast = faster(network, pack)
    assert fast is not network
    generator = torch.Generator().manual_seed(1)
    waveforms = torch.randn(2, 48_000, generator=generator) / 10
    waveforms[1] = 0  # silence is where logarithms part
    with torch.inference_mode():
        expected, given = network(waveforms), fast(waveforms)
    for output in ("embedding", "clipwise_output"):
        scale = float(expected[output].abs().max())
        torch.testing.assert_close(
            given[output], expected[output], atol=1e-5 * scale, rtol=0
        )


@pytest.mark.parametrize(
    ("name", "dim"), [("Cnn10", 512), ("Cnn6", 512), ("MobileNetV1", 1024)]
)
def test_small_networks_encode_and_load(name, dim, tmp_path):
    sounds = [tone(440, 0.4), tone(880, 1.7), None]
    encoder = AudioEncoder(name, pretrained=False, random_state=3)
    vectors = encoder.fit_transform(sounds)
    assert vectors.shape == (3, dim)
    np.testing.assert_allclose(np.linalg.norm(vectors[:2], axis=1), 1, atol=1e-5)
    network = load_network(name, False, encoder.seed_)
    torch.save({"model": network.state_dict()}, tmp_path / "weights.pth")
    loaded = AudioEncoder(name, tmp_path / "weights.pth", random_state=9)
    np.testing.assert_array_equal(loaded.fit_transform(sounds), vectors)
    with pytest.raises(ValueError, match=r"weights\.pth are not those of Cnn14"):
        AudioEncoder("Cnn14", tmp_path / "weights.pth").fit(["any"])


def test_the_cache_tells_networks_apart():
    identities = set()
    for name in SMALL:
        encoder = AudioEncoder(name, pretrained=False).fit(["any"])
        identities.add(encoder._model.identity)
    assert len(identities) == len(SMALL)


def test_half_precision_is_not_packed_and_close():
    sounds = [tone(440, 1.0), tone(900, 1.0)]
    exact, half = (
        AudioEncoder("Cnn6", pretrained=False, device="cpu", precision=p)
        for p in ("fp32", "bf16")
    )
    cosine = (exact.fit_transform(sounds) * half.fit_transform(sounds)).sum(axis=1)
    assert (cosine > 0.999).all()
    assert half._model is not exact._model
    assert half._model.identity == exact._model.identity
