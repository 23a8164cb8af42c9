"""The networks of PANNs: sizes and names as published, cheaper forms that agree."""

from itertools import product

import numpy as np
import pytest
import torch

from skmmrec.encoders import AudioEncoder
from skmmrec.encoders._panns import NETWORKS, load_network
from skmmrec.encoders._panns_networks import faster, front_end, probe
from skmmrec.runtime._precision import cast
from tests.valueless import valueless_gpus

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


@pytest.fixture(scope="module")
def heard(named):
    """A network, noise and silence, and what it gives for them."""
    generator = torch.Generator().manual_seed(1)
    # 63 frames, which leave a last one out wherever pairs of them are pooled.
    waveforms = torch.randn(2, 20_000, generator=generator) / 10
    waveforms[1] = 0  # silence is where logarithms part
    with torch.inference_mode():
        return named[1], waveforms, named[1](waveforms)


@pytest.mark.parametrize(
    ("named", "pack"),
    [
        # Its 80 million weights take long to pack.
        pytest.param(*case, marks=[pytest.mark.slow] if case == ("Cnn14", True) else [])
        for case in product(NETWORKS, [False, True])
    ],
    indirect=["named"],
    scope="module",
)
def test_the_cheaper_form_gives_the_same(heard, pack):
    network, waveforms, expected = heard
    fast = faster(network, pack)
    assert fast is not network
    with torch.inference_mode():
        given = fast(waveforms)
    for output in ("embedding", "clipwise_output"):
        scale = float(expected[output].abs().max())
        torch.testing.assert_close(
            given[output], expected[output], atol=1e-5 * scale, rtol=0
        )


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        pytest.param("Cnn10", 512, marks=pytest.mark.slow),
        ("Cnn6", 512),
        ("MobileNetV1", 1024),
    ],
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
    other = "Cnn10" if name == "Cnn6" else "Cnn6"
    with pytest.raises(ValueError, match=rf"weights\.pth are not those of {other}"):
        AudioEncoder(other, tmp_path / "weights.pth").fit(["any"])


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


def half(name):
    """Return a network with weights in half precision."""
    network = faster(load_network(name, False, 0), pack=False)
    return cast(network, torch.bfloat16, front_end(network), probe)


@pytest.mark.parametrize("name", ["Cnn6", "MobileNetV1"])
def test_weights_are_cast_once_and_the_front_end_is_not(name):
    exact = faster(load_network(name, False, 0), pack=False)
    network = half(name)
    learned = [*network.fc1.parameters(), *network.fc_audioset.parameters()]
    learned += [
        weight
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d)
        for weight in layer.parameters()
    ]
    assert {weight.dtype for weight in learned} == {torch.bfloat16}
    kept = [tensor for layer in front_end(network) for tensor in layer.buffers()]
    assert torch.bfloat16 not in {tensor.dtype for tensor in kept}
    waveforms = torch.from_numpy(np.stack([tone(200, 1, 32_000)[0]] * 2))
    with torch.inference_mode():
        given = network(waveforms)["embedding"].double()
        expected = exact(waveforms)["embedding"].double()
    lengths = given.norm(dim=1) * expected.norm(dim=1)  # tiny without training
    assert ((given * expected).sum(dim=1) > 0.999 * lengths).all()
    assert (lengths > 0).all()


def on_fake_gpu(network, mode):
    """Give a network tensors that have a device and a shape, but no values."""

    def move(tensor):
        return mode.from_tensor(tensor).to("cuda")

    for layer in network.modules():
        for tensors in (layer._parameters, layer._buffers):
            for key, tensor in tensors.items():
                if tensor is not None:
                    moved = move(tensor.data)
                    is_learned = tensors is layer._parameters
                    moved = torch.nn.Parameter(moved, False) if is_learned else moved
                    tensors[key] = moved
    return network


@pytest.mark.parametrize("name", ["Cnn6", "MobileNetV1"])
def test_a_gpu_runs_it_without_a_look_at_values(name):
    network = half(name)
    with valueless_gpus(allow_non_fake_inputs=True) as mode, torch.inference_mode():
        outputs = on_fake_gpu(network, mode)(torch.empty(3, 48_000, device="cuda"))
    for output in outputs.values():
        assert output.device.type == "cuda"
        assert output.dtype == torch.bfloat16
        assert len(output) == 3


def test_windows_of_any_lengths_keep_their_order():
    encoder = AudioEncoder("MobileNetV1", pretrained=False, window=2).fit(["any"])
    model = encoder._model
    sounds = [tone(300 + 90 * i, s) for i, s in enumerate((1, 3.5, 1, 5, 2, 0.3))]
    contents = [model.prepare(sound) for sound in sounds]
    wait = model.start(contents)
    together = wait()
    alone = np.concatenate([model.encode([content]) for content in contents])
    scale = np.abs(alone).max()  # tiny without training
    np.testing.assert_allclose(together, alone, atol=1e-4 * scale, rtol=1e-4)
    assert together.dtype == np.float32


@pytest.mark.gpu
def test_a_batch_is_started_without_waiting():
    encoder = AudioEncoder("MobileNetV1", pretrained=False, device="cuda").fit(["any"])
    model = encoder._model
    contents = [model.prepare(tone(300 + 90 * i, 1 + i % 2)) for i in range(6)]
    expected = model.encode(contents)  # kernels and pinned memory are there now
    torch.cuda.set_sync_debug_mode("error")
    try:
        wait = model.start(contents)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    np.testing.assert_allclose(wait(), expected, atol=1e-3, rtol=1e-3)
