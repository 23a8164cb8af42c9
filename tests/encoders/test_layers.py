"""Networks that were made cheaper give what they gave before."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skmmrec.encoders import ImageEncoder
from skmmrec.encoders._layers import (
    _PackedConv2d,
    fold_batch_norms,
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


def test_the_cache_knows_the_weights_as_published(residual_network):
    exact = ImageEncoder(residual_network, device="cpu").fit(["any"])
    half = ImageEncoder(residual_network, device="cpu", precision="bf16").fit(["any"])
    assert half._model is not exact._model
    assert half._model.identity == exact._model.identity
