"""AudioEncoder: sounds through PANNs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable
from dataclasses import KW_ONLY
from itertools import groupby
from numbers import Real
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._pooling import start_parts
from skmmrec.encoders._sounds import resampled_sound, sound_key
from skmmrec.interactions import RawColumn
from skmmrec.runtime import (
    cached_property,
    compile_in_place,
    digest,
    fetch,
    file_fingerprint,
    host_empty,
    is_cast,
    own_draws,
    resolve_precision,
    to_device,
    weights_hash,
    working_precision,
)

# Shorter windows are padded with silence: Cnn14 pools time by 32, and a second has 101
# frames, which leaves 3.
MIN_SECONDS = 1


class Windowing(NamedTuple):
    """How sounds are cut, in seconds, and how their windows are pooled."""

    window: float
    hop: float
    pooling: str
    max_duration: float

    def cut(self, waveform: np.ndarray, rate: int) -> list[np.ndarray]:
        """Cut a waveform into windows; the last one ends with the waveform."""
        waveform = _padded(waveform, -len(waveform) % rate)
        size, step = int(self.window * rate), int(self.hop * rate)
        n_windows = 1 + math.ceil(max(len(waveform) - size, 0) / step)
        windows = (waveform[i * step : i * step + size] for i in range(n_windows))
        shortest = MIN_SECONDS * rate
        return [_padded(window, shortest - len(window)) for window in windows]


def _padded(waveform: np.ndarray, n_more: int) -> np.ndarray:
    """Return a waveform with silence at its end; the same one if there is none."""
    return np.pad(waveform, (0, n_more)) if n_more > 0 else waveform


class SoundModel:
    """A PANNs network on a device, and which of its outputs is read.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on the device.
    weights : bytes
        A hash of the weights before the network was rewritten.
    windowing : Windowing
        How sounds are cut.
    second_cost : float
        Bytes of the largest layer output for a second of sound.
    output : {"embedding", "clipwise_output"}, default="embedding"
        Which output is read.
    """

    def __init__(
        self,
        network: Any,
        weights: bytes,
        device: Any,
        windowing: Windowing,
        second_cost: float,
        output: str = "embedding",
    ) -> None:
        from skmmrec.encoders._panns import SAMPLE_RATE

        self._network = network
        self._weights = weights
        self._device = device
        self._windowing = windowing
        self._second_cost = second_cost
        self._output = output
        self._rate = SAMPLE_RATE
        layer = network.fc1 if output == "embedding" else network.fc_audioset
        n_poolings = 1 + windowing.pooling.count("+")
        self.dim: int = layer.out_features * n_poolings
        self.own_precision: bool = is_cast(network)

    def tagger(self) -> SoundModel:
        """Return a model of the same network that gives tags, averaged over windows."""
        return SoundModel(
            self._network,
            self._weights,
            self._device,
            self._windowing._replace(pooling="mean"),
            self._second_cost,
            "clipwise_output",
        )

    def compile(self) -> None:
        """Compile the network after its spectrogram, whose numbers are complex."""
        import torch

        spectrogram = self._network.spectrogram_extractor
        spectrogram.forward = torch.compiler.disable(spectrogram.forward)
        noise = np.random.default_rng(0).normal(0, 0.1, MIN_SECONDS * self._rate)
        probe = self.prepare((noise.astype(np.float32), self._rate))
        compile_in_place(self._network, lambda: self.encode([probe] * 2))

    def cost(self, content: list[np.ndarray]) -> float:
        """Return the bytes of the largest layer output, for one window."""
        longest = max(len(window) for window in content)
        return self._second_cost * longest / self._rate

    def prepare(self, item: Any) -> list[np.ndarray]:
        """Decode a sound and cut it into windows."""
        waveform = resampled_sound(item, self._rate, self._windowing.max_duration)
        return self._windowing.cut(waveform, self._rate)

    def encode(self, contents: list[list[np.ndarray]]) -> np.ndarray:
        """Encode a batch; the mean weights windows by their length."""
        return self.start(contents)()

    def start(self, contents: list[list[np.ndarray]]) -> Callable[[], np.ndarray]:
        """Begin to encode a batch; return a function that waits for its vectors."""
        seconds = [[len(window) / self._rate for window in clip] for clip in contents]
        pooling = self._windowing.pooling
        return start_parts(contents, seconds, self._start_windows, pooling)

    def _start_windows(self, windows: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """Run windows of one length together: padding would change their mean."""
        import torch

        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        groups = groupby((windows[i] for i in order), key=len)
        with torch.inference_mode():
            vectors = [self._forward(list(group)) for _, group in groups]
            wait = fetch(torch.cat(vectors))
        return lambda: wait()[np.argsort(order)]

    def _forward(self, windows: list[np.ndarray]) -> Any:
        """Return the vectors of windows of one length, on the device."""
        import torch

        shape = (len(windows), len(windows[0]))
        batch = host_empty(shape, torch.float32, self._device)
        np.stack(windows, out=batch.numpy())
        return self._network(to_device(batch, self._device))[self._output]

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights and of how sounds are cut."""
        settings = f"{self._windowing}{self._output}".encode()
        return self._weights + digest(settings)


class AudioEncoder(BaseEncoder):
    """Encode sounds with a PANNs network.

    A sound is a path, the bytes of a file, or a tuple ``(samples, rate)``. It is mixed
    to one channel, resampled to 32 kHz and padded with silence to whole seconds. Long
    clips are cut into windows, whose vectors are pooled. Silence is content, not a
    missing row.

    Parameters
    ----------
    model : {"Cnn14", "Cnn10", "Cnn6", "MobileNetV1"}, default="Cnn14"
        The network, of 2048, 512, 512 or 1024 dimensions. Their mean average precision
        on AudioSet is 0.431, 0.380, 0.343 and 0.389 [1]_; they take 4.2, 2.8, 2.2 and
        0.4 billion multiply-adds per second of sound.
    pretrained : bool, str or path, default=True
        True fetches the published AudioSet weights (327 MB for Cnn14, about 25 MB for
        the others) once into the folder that the environment variable ``SKMMREC_CACHE``
        names, or the platform's cache folder. A path is that of a checkpoint. False
        leaves the network untrained: it still tells sounds apart, though far less well.
    window : float, default=10.0
        Seconds per window, at least 1. PANNs were trained on clips of 10 s.
    hop : float or None, default=None
        Seconds from one window to the next; None takes `window`, without overlap.
    pooling : {"mean", "max", "mean+max"}, default="mean"
        How the windows of a sound are pooled: their mean, weighted by length, their
        elementwise maximum, or both side by side.
    max_duration : float, default=300.0
        Seconds of each sound that are read.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
    random_state : int, RandomState instance or None, default=0
        Seed of the weights if ``pretrained=False``.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    seed_ : int
        The seed of the untrained weights.
    whitening_ : PCA
        Fitted if `n_components` is set.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    Files are read by what they hold: wav, flac, ogg, opus, mp3, aiff, au, caf and, if
    PyAV is installed (extra ``video``), m4a, aac, webm and all else that FFmpeg reads.
    A length that a file declares is a hint; less than a true one is an error. Samples
    have shape (n,), (n, channels) or (channels, n): floats whose full scale is 1, or
    integers of their type's full range; others are errors. Channels are averaged;
    where they cancel one another, as if one is inverted, the loudest is taken.

    The networks and their weights are those of [1]_. The definitions of Cnn14 and of
    the layers come from one module of the package ``panns_inference``. The networks run
    in a cheaper form with the same output within 1e-4 of the largest value: with the
    spectrogram by Fourier transform, and batch norms folded into convolutions.

    References
    ----------
    .. [1] Q. Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for
       Audio Pattern Recognition", IEEE/ACM TASLP 28, 2020.

    Examples
    --------
    >>> from skmmrec.encoders import AudioEncoder
    >>> encoder = AudioEncoder(pretrained=False, random_state=0)
    >>> encoder.missing_mask(["previews/1.ogg", None])
    array([False,  True])
    """

    model: str = "Cnn14"
    pretrained: bool | str | os.PathLike = True
    _: KW_ONLY
    window: float = 10.0
    hop: float | None = None
    pooling: str = "mean"
    max_duration: float = 300.0
    random_state: int | np.random.RandomState | None = 0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "model": [StrOptions({"Cnn14", "Cnn10", "Cnn6", "MobileNetV1"})],
        "pretrained": ["boolean", str, os.PathLike],
        "window": [Interval(Real, MIN_SECONDS, None, closed="left")],
        "hop": [Interval(Real, 0.1, None, closed="left"), None],
        "pooling": [StrOptions({"mean", "max", "mean+max"})],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }
    _largest_batch: ClassVar[int] = 16

    def tag(self, X: RawColumn) -> pd.DataFrame:
        """Score sounds for the 527 classes of AudioSet.

        The class names (15 kB) are fetched once into the cache folder.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of sounds.

        Returns
        -------
        scores : DataFrame of shape (n, 527), float32
            Independent probabilities, averaged over windows; one column per class. NaN
            where the sound is missing. The index is that of `X`.

        Raises
        ------
        ValueError
            If the network is untrained.
        """
        check_is_fitted(self)
        if self._as_fitted().pretrained is False:
            raise ValueError("tag needs trained weights, but pretrained=False.")
        from skmmrec.encoders._panns import audioset_classes

        items = self._items(X, reset=False)
        tagger = self._loaded_model().tagger()
        scores = self._vectors(items, tagger, lambda scores: (scores, {}))
        scores[~scores.any(axis=1)] = np.nan
        index = getattr(X, "index", None)
        return pd.DataFrame(scores, columns=audioset_classes(), index=index)

    def _prepare_fit(self) -> None:
        generator = check_random_state(self.random_state)
        self.seed_ = int(generator.randint(np.iinfo(np.int32).max))

    def _windowing(self) -> Windowing:
        hop = self.window if self.hop is None else self.hop
        if hop > self.window:
            raise ValueError(
                f"hop={hop} is longer than window={self.window}: sound would be lost."
            )
        return Windowing(self.window, hop, self.pooling, self.max_duration)

    def _loaded_model(self) -> SoundModel:
        return cast(SoundModel, super()._loaded_model())

    @own_draws()
    def _load_model(self, device: Any) -> SoundModel:
        from skmmrec.encoders._panns import load_network
        from skmmrec.encoders._panns_networks import (
            faster,
            front_end,
            probe,
            second_cost,
        )

        network = load_network(self.model, self.pretrained, self.seed_)
        weights = weights_hash(network) + digest(self.model.encode())
        network = faster(network, pack=self._packs(device))
        cost = second_cost(network)
        precision = resolve_precision(self.precision, device)
        front = front_end(network)
        network = working_precision(network, device, precision, front, probe)
        return SoundModel(network, weights, device, self._windowing(), cost)

    def _model_key(self) -> Hashable:
        options = (self._windowing(), self._is_exact)
        key = (self.model, self.pretrained, self.seed_, *options)
        if isinstance(self.pretrained, bool):
            return key
        from skmmrec.encoders._panns import checkpoint

        path = checkpoint(self.model, self.pretrained)
        return (*key, path and file_fingerprint(path))

    def _content_key(self, item: Any) -> Hashable:
        return sound_key(item)
