"""The smaller networks of PANNs, and a cheaper form of all of them for CPUs.

Layers have the names that the published checkpoints use.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from skmmrec.encoders._layers import (
    agree,
    fold_batch_norms,
    largest_result,
    pack_convolutions,
)

# The classes of AudioSet, which the published checkpoints score.
N_TAGS = 527
# The front end of the published checkpoints (Kong et al. 2020).
SETTINGS = {
    "sample_rate": 32_000,
    "window_size": 1024,
    "hop_size": 320,
    "mel_bins": 64,
    "fmin": 50,
    "fmax": 14_000,
}


class _TaggingNetwork(nn.Module):
    """A log-mel front end, a convolutional trunk, and two linear layers.

    Parameters
    ----------
    definitions : module
        The package's definitions, which include the front end.
    dim : int
        Output channels of the trunk.
    """

    def __init__(self, definitions: Any, dim: int) -> None:
        super().__init__()
        size, hop = SETTINGS["window_size"], SETTINGS["hop_size"]
        self.spectrogram_extractor = definitions.Spectrogram(
            n_fft=size, hop_length=hop, win_length=size, freeze_parameters=True
        )
        self.logmel_extractor = definitions.LogmelFilterBank(
            sr=SETTINGS["sample_rate"],
            n_fft=size,
            n_mels=SETTINGS["mel_bins"],
            fmin=SETTINGS["fmin"],
            fmax=SETTINGS["fmax"],
            top_db=None,
            freeze_parameters=True,
        )
        self.bn0 = nn.BatchNorm2d(SETTINGS["mel_bins"])
        self.fc1 = nn.Linear(dim, dim)
        self.fc_audioset = nn.Linear(dim, N_TAGS)
        for layer in (self.fc1, self.fc_audioset):
            definitions.init_layer(layer)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        """Turn (n, 1, time, mel) into (n, dim, shorter time, fewer mel)."""
        raise NotImplementedError

    def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return embeddings and tag probabilities of waveforms (n, samples)."""
        mel = self.logmel_extractor(self.spectrogram_extractor(waveforms))
        mel = self.bn0(mel.transpose(1, 3)).transpose(1, 3)
        over_time = self.trunk(mel).mean(dim=3)
        pooled = over_time.amax(dim=2) + over_time.mean(dim=2)
        embedding = F.relu(self.fc1(pooled))
        tags = torch.sigmoid(self.fc_audioset(embedding))
        return {"embedding": embedding, "clipwise_output": tags}


class _Block5x5(nn.Module):
    """One convolution of 5 x 5; Cnn6 has four of them."""

    def __init__(self, definitions: Any, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 5, padding=2, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        definitions.init_layer(self.conv1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(F.relu_(self.bn1(self.conv1(x))), 2)


class _FourBlocks(_TaggingNetwork):
    """Four blocks of 64 to 512 channels, each of which halves time and mel."""

    def __init__(self, definitions: Any) -> None:
        super().__init__(definitions, 512)
        for i, (n_in, n_out) in enumerate(pairwise((1, 64, 128, 256, 512)), 1):
            self.add_module(f"conv_block{i}", self._block(definitions, n_in, n_out))

    def _block(self, definitions: Any, n_in: int, n_out: int) -> nn.Module:
        """Return one block."""
        raise NotImplementedError

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(1, 5):
            x = self.get_submodule(f"conv_block{i}")(x)
        return x


class Cnn6(_FourBlocks):
    """Six layers: blocks of one convolution of 5 x 5."""

    def _block(self, definitions: Any, n_in: int, n_out: int) -> nn.Module:
        return _Block5x5(definitions, n_in, n_out)


class Cnn10(_FourBlocks):
    """Ten layers: blocks of two convolutions of 3 x 3, which the package defines."""

    def _block(self, definitions: Any, n_in: int, n_out: int) -> nn.Module:
        return definitions.ConvBlock(n_in, n_out)


class MobileNetV1(_TaggingNetwork):
    """Depthwise separable convolutions; strides are average pooling."""

    def __init__(self, definitions: Any) -> None:
        super().__init__(definitions, 1024)
        widths = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
        shrinks = (2, 1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1)
        shapes = zip(pairwise(widths), shrinks[1:], strict=True)
        blocks = [_separable(n_in, n_out, shrink) for (n_in, n_out), shrink in shapes]
        first = _convolution(1, widths[0], shrinks[0])
        self.features = nn.Sequential(nn.Sequential(*first), *blocks)
        for layer in self.features.modules():
            if isinstance(layer, nn.Conv2d):
                definitions.init_layer(layer)

    def trunk(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(x)


def _convolution(n_in: int, n_out: int, shrink: int, groups: int = 1) -> list:
    return [
        nn.Conv2d(n_in, n_out, 3, padding=1, groups=groups, bias=False),
        nn.AvgPool2d(shrink),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    ]


def _separable(n_in: int, n_out: int, shrink: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(n_in, n_in, shrink, groups=n_in),
        nn.Conv2d(n_in, n_out, 1, bias=False),
        nn.BatchNorm2d(n_out),
        nn.ReLU(inplace=True),
    )


class _PowerSpectrogram(nn.Module):
    """The front end's spectrogram, by Fourier transform instead of convolution."""

    def __init__(self) -> None:
        super().__init__()
        window = torch.hann_window(SETTINGS["window_size"])
        self.window: torch.Tensor
        self.register_buffer("window", window, persistent=False)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        spectrum = torch.stft(
            waveforms.float(),
            SETTINGS["window_size"],
            SETTINGS["hop_size"],
            window=self.window,
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return power.transpose(1, 2)[:, None]


def faster(network: nn.Module, pack: bool) -> nn.Module:
    """Return a faster network with the same output.

    The network is in evaluation mode on the CPU, and is not changed. `pack` stores the
    weights of convolutions in oneDNN's layout, for float32 on a CPU.
    """
    fast: Any = fold_batch_norms(network, probe)
    if fast is network:
        return network
    spectrogram = _PowerSpectrogram()
    with torch.inference_mode():
        expected = fast.spectrogram_extractor(_noise())
        if agree(spectrogram(_noise()), expected):
            fast.spectrogram_extractor = spectrogram
    fast = fast.to(memory_format=torch.channels_last)
    return pack_convolutions(fast) if pack else fast


def front_end(network: Any) -> list[nn.Module]:
    """Return the layers that stay in float32, up to the norm behind the logarithm.

    Energies of sound span more than half precision tells apart.
    """
    return [network.spectrogram_extractor, network.logmel_extractor, network.bn0]


def second_cost(network: nn.Module) -> float:
    """Return the bytes of the largest layer output for a second of sound."""
    return float(largest_result(network, lambda: probe(network)))


def probe(network: nn.Module) -> torch.Tensor:
    """Return the embedding of a second of noise."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        return network(_noise().to(device))["embedding"]


def _noise() -> torch.Tensor:
    """Return a second of noise, the same in each call."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, SETTINGS["sample_rate"], generator=generator) / 10
