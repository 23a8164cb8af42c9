"""ImageEncoder: pictures through open_clip."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import KW_ONLY
from itertools import compress
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skmmrec.encoders._base import BaseEncoder
from skmmrec.encoders._pictures import picture_hash, picture_key, present_pictures
from skmmrec.encoders._pooling import start_parts
from skmmrec.encoders._tokens import unknown_rows
from skmmrec.interactions import RawColumn
from skmmrec.runtime import (
    BatchLimit,
    ContentError,
    as_items,
    cached_property,
    checked_text,
    compile_in_place,
    digest,
    fetch,
    file_fingerprint,
    loses_digits,
    module_settings,
    own_draws,
    quantize,
    resolve_precision,
    stack_on,
    to_device,
    weights_hash,
    working_dtype,
    working_precision,
)

if TYPE_CHECKING:
    import torch

# Where a layer's output takes more, the heap of a thread gives memory back to the
# system after layers, and new pages have to be cleared: with 29 MB, EfficientNet-Lite0
# has three times the page faults of 14 MB (benchmarks/README.md).
_FAST_IN_A_LANE = 2**24


class VisionModel:
    """An open_clip model on a device.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on the device.
    transform : PictureTransform
        Turns a picture into the network's input; its tensors are moved to the device.
    identity : bytes or None, default=None
        The identity of the original, if the network is a rewritten one.
    """

    def __init__(
        self, network: Any, transform: Any, device: Any, identity: bytes | None = None
    ) -> None:
        self._network = network
        self._transform = transform.to(device)
        self._device = device
        self._dtype = _input_type(network)
        self._identity = identity
        from skmmrec.encoders._layers import largest_result

        # Of other decoders' pictures, half precision rounds the difference away.
        self._jpegs = None
        if self.own_precision and device.type == "cuda":
            from skmmrec.encoders._device_jpegs import device_jpegs

            self._jpegs = device_jpegs(self._transform, device)
        probe = self.prepare(np.zeros((8, 8, 3), np.uint8))
        self._picture_cost = largest_result(network, lambda: self.encode([probe]))
        self.dim = self.encode([probe]).shape[1]

    def prepare(self, item: Any) -> list[Any]:
        """Decode an item's pictures into the network's input."""
        pictures = present_pictures(item)
        return [self._prepare_one(i, picture) for i, picture in enumerate(pictures)]

    def cost(self, content: list[Any]) -> float:
        """Return the bytes of the largest layer output, for one picture."""
        return self._picture_cost

    def encode(self, contents: list[list[Any]]) -> np.ndarray:
        """Encode a batch; an item becomes the mean of its pictures."""
        return self.start(contents)()

    def start(self, contents: list[list[Any]]) -> Callable[[], np.ndarray]:
        """Begin to encode a batch; the function returned waits for the vectors."""
        weights = [[1.0] * len(pictures) for pictures in contents]
        return start_parts(contents, weights, self._start_pictures)

    @property
    def own_precision(self) -> bool:
        """Whether the weights have the working precision, so that nothing casts."""
        return self._dtype.itemsize < 4

    def compile(self) -> None:
        """Compile the vision tower."""
        probe = self.prepare(np.zeros((8, 8, 3), np.uint8))
        compile_in_place(self._network.visual, lambda: self.encode([probe] * 2))

    def encode_text(self, tokens: Any) -> np.ndarray:
        """Encode tokens with the text tower, into vectors of unit length."""
        import torch

        with torch.inference_mode():
            vectors = self._network.encode_text(tokens.to(self._device), normalize=True)
        return vectors.float().cpu().numpy()

    def tag_scores(self, cosines: np.ndarray) -> np.ndarray:
        """Turn cosines to labels into probabilities, by the model's training loss."""
        import torch

        scale = self._network.logit_scale.detach().exp().float().cpu()
        logits = torch.from_numpy(cosines) * scale
        if self._network.logit_bias is None:
            return logits.softmax(dim=1).numpy()
        return (logits + self._network.logit_bias.detach().cpu()).sigmoid().numpy()

    def _prepare_one(self, index: int, picture: Any) -> Any:
        try:
            file = None if self._jpegs is None else self._jpegs.read(picture)
            return self._transform.read(picture) if file is None else file
        except ContentError as error:
            if index:
                raise ContentError(f"picture {index} of the item {error}") from error
            raise

    def _start_pictures(self, pictures: list[Any]) -> Callable[[], np.ndarray]:
        import torch

        with torch.inference_mode():
            batch = self._transform.normalise(self._pixels(pictures))
            return fetch(self._network.encode_image(batch.to(self._dtype)))

    def _pixels(self, pictures: list[Any]) -> torch.Tensor:
        """Bring pictures to the device, where some are decoded first."""
        import torch

        is_file = [not isinstance(picture, torch.Tensor) for picture in pictures]
        if self._jpegs is None or not any(is_file):
            return stack_on(pictures, self._device)
        files = list(compress(pictures, is_file))
        decoded = self._jpegs.pictures(files)
        if len(files) == len(pictures):
            return decoded
        others = [p for p in pictures if isinstance(p, torch.Tensor)]
        both = torch.cat([decoded, stack_on(others, self._device)])
        # Files come first there: where each picture of the batch is to be found.
        places = np.argsort(np.argsort(np.logical_not(is_file), kind="stable"))
        return both[to_device(torch.from_numpy(places), self._device)]

    @cached_property
    def identity(self) -> bytes:
        """Return a hash of the weights, the architecture and the transform."""
        return self._identity or _identity(self._network, self._transform)


class ImageEncoder(BaseEncoder):
    """Encode pictures with the vision tower of an open_clip model.

    A picture is a path, the bytes of a file, a PIL image, or a uint8 array of shape
    (H, W, 3). It is rotated as its EXIF data says and converted to RGB, by its colour
    profile if it has one; transparent parts become white. Grey of more than 8 bits is
    scaled by the bits that its largest value needs. A file of several frames counts as
    the first that shows more than one colour. An item may be a list of pictures, whose
    vectors are averaged.

    Parameters
    ----------
    model : str or path, default="ViT-B-32"
        An open_clip model name, ``"hf-hub:ORG/NAME"``, a folder that holds
        ``open_clip_config.json`` and weights, or ``"tf_efficientnet_lite0"``.
    pretrained : str or path, default="laion2b_s34b_b79k"
        An open_clip weight tag, a checkpoint file, or ``"package:efficientnet-lite0"``:
        the weights for ``model="tf_efficientnet_lite0"`` that the extra ``demo``
        installs. Ignored if `model` includes weights.
    preprocess : dict or None, default=None
        Overrides ``mean``, ``std``, ``size``, ``interpolation`` or ``resize_mode`` of
        the preprocessing that belongs to the weights. Required for a checkpoint file
        without a configuration if the model's published weights differ in it.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Attributes
    ----------
    embedding_dim_ : int
        The number of output columns.
    whitening_ : PCA
        Fitted if `n_components` is set.
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

    model: str | os.PathLike = "ViT-B-32"
    pretrained: str | os.PathLike = "laion2b_s34b_b79k"
    _: KW_ONLY
    preprocess: dict[str, Any] | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, os.PathLike],
        "pretrained": [str, os.PathLike],
        "preprocess": [dict, None],
    }

    def encode_text(self, texts: RawColumn) -> np.ndarray:
        """Encode texts into the space of the pictures, to search them by text.

        Parameters
        ----------
        texts : sequence of str
            One text per row.

        Returns
        -------
        vectors : ndarray of shape (n, embedding_dim_), float32
            Of unit length.

        Raises
        ------
        ValueError
            If the model has no text tower, or a row is not a text.
        """
        check_is_fitted(self)
        from skmmrec.encoders._open_clip import load_tokenizer

        items = _checked_texts(texts)
        tokenizer = load_tokenizer(self._as_fitted().model)
        tokens = tokenizer(items)
        self._report_unknown(unknown_rows(tokenizer, tokens), len(items))
        return self._loaded_model().encode_text(tokens)

    def zero_shot(
        self, X: RawColumn, labels: list[str], template: str = "a photo of a {}"
    ) -> np.ndarray:
        """Score pictures against labels of your own, without training.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of pictures.
        labels : list of str
            The candidate tags.
        template : str, default="a photo of a {}"
            The text that each label is inserted into.

        Returns
        -------
        scores : ndarray of shape (n, len(labels)), float32
            Probabilities; they sum to 1 over the labels, except for models trained with
            a sigmoid loss. NaN where the picture is missing.

        Raises
        ------
        TypeError
            If `labels` is one text.
        ValueError
            If `template` has no place for a label, the model has no text tower, or a
            picture cannot be read.
        """
        if isinstance(labels, str):
            raise TypeError(f"labels must be a list of texts, such as [{labels!r}]")
        _check_template(template)
        pictures = np.asarray(self.transform(X))
        norms = np.linalg.norm(pictures, axis=1, keepdims=True)
        texts = self.encode_text([template.format(label) for label in labels])
        cosines = pictures / np.where(norms > 0, norms, 1) @ texts.T
        scores = self._loaded_model().tag_scores(cosines)
        return np.where(norms > 0, scores, np.float32(np.nan))

    def _loaded_model(self) -> VisionModel:
        return cast(VisionModel, super()._loaded_model())

    @own_draws()
    def _load_model(self, device: Any) -> VisionModel:
        from skmmrec.encoders._open_clip import faster, load_open_clip, probe_vectors

        network, transform = load_open_clip(
            self.model, self.pretrained, self.preprocess
        )
        fast = faster(network, transform, pack=self._packs(device))
        precision = resolve_precision(self.precision, device)
        dtype = working_dtype(device, precision)
        changes = fast is not network or loses_digits(network, dtype)
        identity = _identity(network, transform) if changes else None
        if self.precision == "int8":
            fast = quantize(fast, device)
        fast = working_precision(fast, device, precision, probe=probe_vectors)
        return VisionModel(fast, transform, device, identity)

    def _limit(self, device: Any, n_lanes: int, enough: float | None) -> BatchLimit:
        limit = super()._limit(device, n_lanes, enough)
        if self.batch_size != "auto" or device.type != "cpu" or n_lanes == 1:
            return limit
        return limit._replace(n_bytes=min(limit.n_bytes, _FAST_IN_A_LANE))

    def _model_key(self) -> Hashable:
        from skmmrec.encoders._open_clip import weight_paths

        paths = weight_paths(self.model, self.pretrained)
        files = tuple(file_fingerprint(path) for path in paths)
        names = (str(self.model), str(self.pretrained), repr(self.preprocess))
        return (*names, files, self._is_exact)

    def _content_key(self, item: Any) -> Hashable:
        return picture_key(item)

    def _content_hash(self, item: Any) -> bytes:
        return picture_hash(item)


def _check_template(template: str) -> None:
    """Refuse a text that does not tell labels apart, or asks for something else."""
    try:
        tells = template.format("a") != template.format("b")
    except (IndexError, KeyError, ValueError):
        tells = False
    if not tells:
        raise ValueError(f"template must have {{}} for the label, got {template!r}")


def _checked_texts(texts: RawColumn) -> list[str]:
    """Return texts as a list; an error names the row."""
    checked = []
    for row, text in enumerate(as_items(texts, "encode_text")):
        try:
            checked.append(checked_text(text))
        except ContentError as error:
            raise ContentError(f"encode_text: row {row}: {error}") from error
    return checked


def _input_type(network: Any) -> Any:
    """Return the type of the pictures that a network takes, as of its weights."""
    import torch

    halves = (torch.bfloat16, torch.float16)
    types = (weight.dtype for weight in network.visual.parameters())
    return next((dtype for dtype in types if dtype in halves), torch.float32)


def _identity(network: Any, transform: Any) -> bytes:
    settings = f"{network}{module_settings(network)}{transform}".encode()
    return weights_hash(network) + digest(settings)
