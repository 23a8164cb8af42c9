"""Networks that were made cheaper give what they gave before."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn

from skmmrec.encoders import ContentError, ImageEncoder
from skmmrec.encoders._layers import (
    _Clipped,
    _PackedConv2d,
    _PackedSame,
    fold_batch_norms,
    join_clips,
    largest_result,
    pack_convolutions,
)

from .conftest import noise_picture


def trained(network):
    """Give batch norms statistics that change what passes them."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            with torch.no_grad():
                for values in (layer.weight, layer.running_var):
                    values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
                for values in (layer.bias, layer.running_mean):
                    values.copy_(torch.randn(values.shape, generator=generator))
    return network.eval()


class Crossed(nn.Module):
    """Uses a convolution's result twice, and one convolution twice."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.bn1, self.bn2, self.bn3 = (nn.BatchNorm2d(3) for _ in range(3))

    def forward(self, x):
        x = self.conv1(x)
        x = x + self.bn1(x)
        x = self.bn2(self.conv2(self.conv2(x)))
        return self.bn3(self.conv3(x))


def probe(network):
    x = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
    return network(x)


def batch_norms(network):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())


def test_batch_norms_become_part_of_convolutions():
    from timm.layers import BatchNormAct2d

    network = trained(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 6, 3, groups=6, padding=1),
            BatchNormAct2d(6, act_layer=nn.ReLU6),
            nn.AvgPool2d(2),
            nn.BatchNorm2d(6),
        )
    )
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norms(network, probe)
    assert batch_norms(folded) == 1  # the one after the pooling
    assert isinstance(folded[4], nn.ReLU6)
    with torch.inference_mode():
        torch.testing.assert_close(probe(folded), probe(network), atol=1e-5, rtol=0)
    assert before.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_network_that_cannot_be_folded_stays():
    plain = nn.Conv2d(3, 3, 1).eval()
    assert fold_batch_norms(plain, probe) is plain
    # Folding bn1 would change what the sum adds to it: the results differ.
    crossed = trained(Crossed())
    assert fold_batch_norms(crossed, probe) is crossed


def test_packed_convolutions_give_the_same():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, bias=False),
        nn.Conv2d(8, 4, 1, dilation=1),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ).eval()
    with torch.inference_mode():
        expected = probe(network)
        packed = pack_convolutions(network)
        torch.testing.assert_close(probe(packed), expected, atol=1e-6, rtol=0)
    kinds = [type(layer) for layer in packed]
    assert kinds in ([_PackedConv2d] * 3 + [nn.Conv2d] * 2, [nn.Conv2d] * 5)


def test_clips_become_part_of_convolutions():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Identity(),
        nn.ReLU6(),
        nn.Conv2d(8, 8, 1),
        nn.Hardtanh(-0.2, 0.1),
        nn.Conv2d(8, 8, 1),
        nn.Sigmoid(),
        nn.ReLU(),
    ).eval()
    with torch.inference_mode():
        expected = probe(network)
        assert join_clips(network, probe) is network
        torch.testing.assert_close(probe(network), expected, atol=0, rtol=0)
        assert [type(layer) is _Clipped for layer in network] == [
            *(True, False, True, False, False, True, False, False, False, False)
        ]
        packed = pack_convolutions(network)
        torch.testing.assert_close(probe(packed), expected, atol=1e-6, rtol=1e-6)
    assert isinstance(packed[9], nn.ReLU)  # clips what the sigmoid gives


class Reused(nn.Module):
    """Uses what a convolution gives clipped and as it is."""

    def __init__(self):
        super().__init__()
        self.conv, self.clip = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        return x + self.clip(x)


class Recurring(nn.Module):
    """Uses one activation after two convolutions."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.clip = (
            nn.Conv2d(3, 3, 1),
            nn.Conv2d(3, 3, 1),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.clip(self.two(self.clip(self.one(x))))


class Summed(nn.Module):
    """Adds to a convolution's result in place before it is clipped."""

    def __init__(self):
        super().__init__()
        self.conv, self.clip = nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)

    def forward(self, x):
        result = self.conv(x)
        result += x
        return self.clip(result)


class Named(nn.Module):
    """Gives its activation the input by name."""

    def __init__(self):
        super().__init__()
        self.conv, self.clip = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x):
        return self.clip(input=self.conv(x))


@pytest.mark.parametrize("kind", [Reused, Recurring, Summed, Named])
def test_clips_that_do_not_belong_to_one_convolution_stay(kind):
    network = kind().eval()
    layers = dict(network.named_modules())
    with torch.inference_mode():
        expected = probe(network)
        join_clips(network, probe)
        torch.testing.assert_close(probe(network), expected, atol=0, rtol=0)
    assert dict(network.named_modules()) == layers


@pytest.mark.parametrize("fault", [float("nan"), float("inf")])
def test_clips_do_not_hide_what_is_no_number(fault):
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)).eval()
    layers = list(network)

    def faulty(network):
        return network(torch.full((1, 3, 8, 8), fault))

    join_clips(network, faulty)
    assert list(network) == layers


@settings(max_examples=60)
@given(
    kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(6, 14), st.integers(6, 14)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 8]),
    clip=st.sampled_from([None, nn.ReLU(), nn.ReLU6(), nn.Hardtanh(-0.3, 0.4)]),
    bias=st.booleans(),
)
def test_uneven_padding_is_done_while_packed(
    kernel, stride, size, dilation, groups, clip, bias
):
    from timm.layers import Conv2dSame

    generator = torch.Generator().manual_seed(0)
    layer = Conv2dSame(8, 16, kernel, stride, 0, dilation, groups, bias).eval()
    for values in layer.parameters():
        values.data.copy_(torch.randn(values.shape, generator=generator))
    network = nn.Sequential(layer if clip is None else _Clipped(layer, clip))
    x = torch.randn(2, 8, *size, generator=generator)
    with torch.inference_mode():
        expected = network(x)
        given = pack_convolutions(network)(x)
    torch.testing.assert_close(given, expected, atol=1e-4, rtol=1e-5)


def test_uneven_padding_makes_no_copy():
    from timm.layers import Conv2dSame

    network = nn.Sequential(Conv2dSame(3, 8, 3, stride=2)).eval()
    pack_convolutions(network)
    if isinstance(network[0], _PackedSame):  # this build of torch packs
        watched = []
        network[0]._other_sizes.register_forward_hook(lambda *_: watched.append(1))
        for size in (8, 9):
            network(torch.zeros(1, 3, size, size))
            assert watched == [1] * (size % 2)


def test_the_largest_result_is_found():
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 1, 1))
    assert largest_result(network, lambda: probe(network)) == 2 * 6 * 8 * 8 * 4


@pytest.fixture(scope="module")
def residual_network(tmp_path_factory):
    """An open_clip folder: a small residual network with batch norms."""
    import json

    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8},
        "text_cfg": {
            "context_length": 8,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = trained(open_clip.CLIP(**config))
    folder = tmp_path_factory.mktemp("models")
    settings = {"model_cfg": config, "preprocess_cfg": {"size": 64}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def test_an_encoder_gives_what_the_untouched_network_gives(residual_network):
    from skmmrec.encoders._open_clip import load_open_clip

    encoder = ImageEncoder(residual_network, device="cpu").fit(["any"])
    assert batch_norms(encoder._model._network) == 0
    network, transform = load_open_clip(residual_network, "ignored")
    pictures = [noise_picture(i) for i in range(3)]
    with torch.inference_mode():
        batch = torch.stack([transform.read(picture) for picture in pictures])
        batch = transform.normalise(batch)
        expected = network.encode_image(batch, normalize=True).numpy()
    np.testing.assert_allclose(encoder.transform(pictures), expected, atol=1e-5)


def test_an_encoder_clips_within_convolutions(residual_network):
    encoder = ImageEncoder(residual_network, device="cpu").fit(["any"])
    layers = list(encoder._model._network.visual.modules())
    if any(isinstance(layer, _PackedConv2d) for layer in layers):
        clips = [layer for layer in layers if isinstance(layer, nn.ReLU)]
        assert len(clips) == 4  # after the sums of four blocks


def test_pictures_that_become_too_large_are_refused(residual_network):
    preprocess = {"mean": (0.5,) * 3, "std": (1e-39,) * 3}
    encoder = ImageEncoder(residual_network, device="cpu", preprocess=preprocess)
    with pytest.raises(ContentError, match="row 0: the model gave a non-finite"):
        encoder.fit_transform([noise_picture(0)])


def test_the_cache_knows_the_weights_as_published(residual_network):
    exact = ImageEncoder(residual_network, device="cpu").fit(["any"])
    half = ImageEncoder(residual_network, device="cpu", precision="bf16").fit(["any"])
    assert half._model is not exact._model
    assert half._model.identity == exact._model.identity


def test_batches_of_pictures_are_small_in_lanes(residual_network):
    encoder = ImageEncoder(residual_network, device="cpu").fit(["any"])
    cpu = torch.device("cpu")
    assert encoder._limit(cpu, 2, None).n_bytes <= 2**24
    assert encoder._limit(cpu, 1, None).n_bytes <= 2**25
    encoder.set_params(batch_size=7)
    assert encoder._limit(cpu, 2, None) == (7, float("inf"))
