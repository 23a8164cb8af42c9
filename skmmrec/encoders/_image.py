"""ImageEncoder: pictures through open_clip."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skmmrec.encoders import _weights
from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._cache import EmbeddingCache
from skmmrec.encoders._devices import weights_hash
from skmmrec.encoders._files import digest
from skmmrec.encoders._pictures import picture_key, read_picture


class VisionModel:
    """The vision tower of an open_clip model on a device."""

    def __init__(self, network: Any, transform: Any, device: Any) -> None:
        self._network = network
        self._transform = transform
        self._device = device
        blank = self._transform(read_picture(np.zeros((8, 8, 3), np.uint8)))
        self.dim = self.encode([blank]).shape[1]

    def prepare(self, item: Any) -> Any:
        """Decode a picture into the tower's input."""
        return self._transform(read_picture(item))

    def encode(self, contents: list[Any]) -> np.ndarray:
        """Encode a batch of prepared pictures."""
        import torch

        with torch.inference_mode():
            batch = torch.stack(contents).to(self._device)
            return self._network.encode_image(batch).float().cpu().numpy()

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights, the architecture and the transform."""
        settings = f"{self._network}{self._transform}".encode()
        return weights_hash(self._network) + digest(settings)


class ImageEncoder(BaseEncoder):
    """Encode pictures with the vision tower of an open_clip model.

    A picture is a path, the bytes of a file, a PIL image, or a uint8 array of shape
    (H, W, 3). It is turned upright by its EXIF data and brought to RGB; transparent
    parts are laid on white.

    Parameters
    ----------
    model : str or path, default="ViT-B-32"
        An open_clip model name, ``"hf-hub:ORG/NAME"``, a folder that holds
        ``open_clip_config.json`` and weights, or ``"tf_efficientnet_lite0"``.
    pretrained : str or path, default="laion2b_s34b_b79k"
        An open_clip weight tag, a checkpoint file, or ``"package:efficientnet-lite0"``:
        the weights for ``model="tf_efficientnet_lite0"`` that the extra ``demo``
        installs. Ignored where `model` brings its own weights.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16", "int8"}, default="auto"
        The model's arithmetic; ``"auto"`` is half precision on CUDA, else float32.
        ``"int8"`` quantises linear layers, on the CPU: faster, and less exact.
    batch_size : int or "auto", default="auto"
        Pictures per forward pass, halved if memory runs out; ``"auto"`` starts at 32,
        and higher on an accelerator.
    cache : EmbeddingCache, path or None, default=None
        Where vectors are kept between calls and processes.
    missing : {"zero", "nan"}, default="zero"
        What a row without content becomes.
    normalize : bool, default=True
        Scale each vector to unit length.
    on_error : {"raise", "missing"}, default="raise"
        What happens to a file that cannot be read: an error that names its row, or a
        missing row and one warning.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    The models are those of open_clip [1]_, with the preprocessing that belongs to the
    chosen weights.

    References
    ----------
    .. [1] M. Cherti et al., "Reproducible scaling laws for contrastive language-image
       learning", CVPR 2023.

    Examples
    --------
    >>> from skmmrec.encoders import ImageEncoder
    >>> encoder = ImageEncoder(
    ...     "tf_efficientnet_lite0", "package:efficientnet-lite0"
    ... )
    >>> encoder.missing_mask(["posters/1.jpg", None])
    array([False,  True])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseEncoder._parameter_constraints,
        "model": [str, os.PathLike],
        "pretrained": [str, os.PathLike],
    }
    _n_threads: ClassVar[int] = 2

    def __init__(
        self,
        model: str | os.PathLike = "ViT-B-32",
        pretrained: str | os.PathLike = "laion2b_s34b_b79k",
        *,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        missing: str = "zero",
        normalize: bool = True,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.missing = missing
        self.normalize = normalize
        self.on_error = on_error
        self.verbose = verbose

    def _load_model(self, device: Any) -> VisionModel:
        from skmmrec.encoders._open_clip import load_open_clip

        network, transform = load_open_clip(self.model, self.pretrained, device)
        return VisionModel(network, transform, device)

    def _model_key(self) -> Hashable:
        from skmmrec.encoders._open_clip import weight_paths

        paths = weight_paths(self.model, self.pretrained)
        files = tuple(_weights.fingerprint(path) for path in paths)
        return (str(self.model), str(self.pretrained), files)

    def _content_key(self, item: Any) -> Hashable:
        return picture_key(item)
