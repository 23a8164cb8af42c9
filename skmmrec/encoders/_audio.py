"""AudioEncoder: sounds through PANNs."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import cached_property
from itertools import groupby
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from skmmrec.encoders import _weights
from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._cache import EmbeddingCache
from skmmrec.encoders._devices import weights_hash
from skmmrec.encoders._files import digest
from skmmrec.encoders._pooling import encode_parts
from skmmrec.encoders._sounds import read_sound, sound_key

WINDOW_SECONDS = 10
"""The length of the clips that PANNs were trained on."""


class SoundModel:
    """A PANNs network on a device."""

    def __init__(self, network: Any, device: Any, max_duration: float) -> None:
        from skmmrec.encoders._panns import SAMPLE_RATE

        self._network = network.to(device)
        self._device = device
        self._rate = SAMPLE_RATE
        self._max_duration = max_duration
        self.dim: int = network.fc1.out_features

    def prepare(self, item: Any) -> list[np.ndarray]:
        """Decode a sound into windows of whole seconds."""
        waveform = read_sound(item, self._rate, self._max_duration)
        padded = np.pad(waveform, (0, -len(waveform) % self._rate))
        size = WINDOW_SECONDS * self._rate
        return [padded[start : start + size] for start in range(0, len(padded), size)]

    def encode(self, contents: list[list[np.ndarray]]) -> np.ndarray:
        """Encode clips: the mean of a clip's windows, weighted by their length."""
        seconds = [[len(window) / self._rate for window in clip] for clip in contents]
        return encode_parts(contents, seconds, self._encode_windows)

    def _encode_windows(self, windows: list[np.ndarray]) -> np.ndarray:
        """Run windows of one length together: padding would change their mean."""
        out = np.empty((len(windows), self.dim))
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for _, group in groupby(order, key=lambda i: len(windows[i])):
            rows = list(group)
            out[rows] = self._forward(np.stack([windows[i] for i in rows]))
        return out

    def _forward(self, waveforms: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(waveforms).to(self._device)
            return self._network(batch)["embedding"].float().cpu().numpy()

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights and of how sounds are cut."""
        settings = f"{self._network}{WINDOW_SECONDS}{self._max_duration}".encode()
        return weights_hash(self._network) + digest(settings)


class AudioEncoder(BaseEncoder):
    """Encode sounds with a PANNs network.

    A sound is a path, the bytes of a file (wav, flac, ogg, mp3), or a tuple
    ``(samples, rate)``. It is mixed to one channel, resampled to 32 kHz and padded with
    silence to whole seconds. Longer clips are cut into windows of 10 s, whose vectors
    are averaged.

    Parameters
    ----------
    model : {"Cnn14"}, default="Cnn14"
        The network.
    pretrained : bool, str or path, default=True
        True fetches the published AudioSet weights (327 MB) once into the folder that
        the environment variable ``SKMMREC_CACHE`` names, or the platform's cache
        folder. A path names a checkpoint. False leaves the network untrained: it still
        tells sounds apart, though far less well.
    max_duration : float, default=300.0
        Seconds of each sound that are read.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
    batch_size : int or "auto", default="auto"
        Sounds per forward pass, halved if memory runs out; ``"auto"`` starts at 8,
        and higher on an accelerator.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between calls and processes.
    missing : {"zero", "nan"}, default="zero"
        What a row without content becomes. Silence is content.
    normalize : bool, default=True
        Scale each vector to unit length.
    on_error : {"raise", "missing"}, default="raise"
        What happens to a file that cannot be read: an error that names its row, or a
        missing row and one warning.
    random_state : int, RandomState instance or None, default=0
        Draws the weights when ``pretrained=False``.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    seed_ : int
        What the untrained weights were drawn with.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    The network and its weights are those of [1]_; the definition comes from the package
    ``panns_inference``, of which only the module that holds it is imported.

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

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseEncoder._parameter_constraints,
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "model": [StrOptions({"Cnn14"})],
        "pretrained": ["boolean", str, os.PathLike],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
    }
    _n_threads: ClassVar[int] = 2
    _cpu_batch: ClassVar[int] = 8

    def __init__(
        self,
        model: str = "Cnn14",
        pretrained: bool | str | os.PathLike = True,
        *,
        max_duration: float = 300.0,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        missing: str = "zero",
        normalize: bool = True,
        on_error: str = "raise",
        random_state: int | np.random.RandomState | None = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.max_duration = max_duration
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.missing = missing
        self.normalize = normalize
        self.on_error = on_error
        self.random_state = random_state
        self.verbose = verbose

    def _prepare_fit(self) -> None:
        generator = check_random_state(self.random_state)
        self.seed_ = int(generator.randint(np.iinfo(np.int32).max))

    def _load_model(self, device: Any) -> SoundModel:
        from skmmrec.encoders._panns import load_cnn14

        network = load_cnn14(self.pretrained, self.seed_)
        return SoundModel(network, device, self.max_duration)

    def _model_key(self) -> Hashable:
        key = (self.model, self.pretrained, self.seed_, self.max_duration)
        if isinstance(self.pretrained, bool):
            return key
        from skmmrec.encoders._panns import checkpoint

        path = checkpoint(self.pretrained)
        return (*key, path and _weights.fingerprint(path))

    def _content_key(self, item: Any) -> Hashable:
        return sound_key(item)
