"""VideoEncoder: pictures and sound of a video, aligned in time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import KW_ONLY, field
from numbers import Integral, Real
from typing import Any, ClassVar, cast

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import clone
from skmmrec.encoders._audio import AudioEncoder
from skmmrec.encoders._base import BaseEncoder, Finish, Finished
from skmmrec.encoders._clips import clip_key
from skmmrec.encoders._image import ImageEncoder
from skmmrec.encoders._video_model import (
    Part,
    Sampling,
    Sequences,
    VideoModel,
    VideoWindows,
)
from skmmrec.interactions import RawColumn
from skmmrec.runtime import (
    CacheAccess,
    ContentError,
    Model,
    resolve_device,
    resolve_precision,
)


class VideoEncoder(BaseEncoder):
    """Encode videos: frames with one encoder and sound with another, aligned in time.

    A video is a path or the bytes of a file. It is cut into windows of time. A window
    has the mean vector of its frames and the vector of its sound, of the same seconds.
    `transform` averages the windows or, with ``align="window"``, lays them side by
    side; `transform_windows` gives sequences of any length with their times. The
    picture columns come first, then those of the sound. Each part is scaled to unit
    length.

    Parameters
    ----------
    image_encoder : ImageEncoder, "drop" or None, default=None
        The encoder of frames; None takes ``ImageEncoder()``, ``"drop"`` leaves pictures
        out. Its `cache`, `missing`, `normalize`, `on_error` and `verbose` are ignored;
        those of the `VideoEncoder` apply.
    audio_encoder : AudioEncoder, "drop" or None, default=None
        The encoder of sound, likewise.
    align : {"pool", "window"}, default="pool"
        Whether `transform` gives the mean of the windows, or their vectors side by side
        in the order of time. The latter has columns for as many windows as fit into
        `max_duration`; those after a video's end are filled as `missing` says.
    window : float, default=10.0
        Seconds per window, at least 1. PANNs were trained on clips of 10 s.
    hop : float or None, default=None
        Seconds from one window to the next; None takes `window`, without overlap.
    frames : {"uniform", "scene"}, default="uniform"
        Which frames represent a window: the middles of equal parts, or the middles of
        its longest scenes, weighted by their seconds. So the first frame, from which
        many videos fade in, is none of them. To find scenes, every frame is decoded.
    n_frames : int, default=4
        Frames per window; for ``frames="scene"``, at most so many.
    fps : float or None, default=None
        Frames per second, in place of `n_frames`; at least one per window.
    scene_threshold : float, default=0.1
        A scene begins where a frame differs from the previous one by at least this: the
        mean absolute difference of 32 x 32 thumbnails, relative to full scale.
    max_duration : float, default=300.0
        Seconds of each video that are read.
    batch_size : int, default=4
        Videos that are encoded together. The `batch_size` of each encoder limits how
        many frames or sounds go through its model at once.
    missing : {"zero", "nan"}, default="zero"
        The value of a row without content, and of the part that a video lacks, sound or
        pictures.
    normalize : bool, default=True
        Scale each part to unit length.
    n_components : int or None, default=None
        Reduce pooled vectors to this many dimensions by PCA with whitening, fitted on
        the distinct videos in `fit`. A part that a video lacks counts as zeros.

    Attributes
    ----------
    image_encoder_ : ImageEncoder or None
        The fitted copy of `image_encoder`; None if it is dropped.
    audio_encoder_ : AudioEncoder or None
        The fitted copy of `audio_encoder`; None if it is dropped.
    embedding_dim_ : int
        The number of output columns.
    parts_ : dict of str to ndarray of int
        Which output columns are of ``"image"`` and which of ``"sound"``, as far as
        they are not dropped. Empty with `n_components`, which mixes them.
    whitening_ : PCA
        Fitted if `n_components` is set.
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a DataFrame.

    Notes
    -----
    In an `ItemCatalog`, pictures and sound are two modalities, ``video_image`` and
    ``video_sound``, so that a fusion weighs them and either may be missing alone. A
    video is decoded once for both. Beside pictures, a sound track of digital silence
    counts as none.

    Videos are decoded by PyAV, which the extra ``video`` installs. Times are those of
    the container, so a variable frame rate or a late start of the sound is handled.
    Pictures are rotated, and pixels that are not square stretched, as the file says. A
    file that ends before its declared duration is an error. Truncated transport streams
    and AVI files declare what is left, so they are read up to there. Scenes are found
    by a threshold on the change of content, as in PySceneDetect's ``ContentDetector``,
    but in RGB.

    Examples
    --------
    >>> from skmmrec.encoders import AudioEncoder, VideoEncoder
    >>> encoder = VideoEncoder(
    ...     image_encoder="drop", audio_encoder=AudioEncoder(pretrained=False)
    ... )
    >>> encoder.missing_mask(["trailers/1.mp4", None])
    array([False,  True])
    """

    image_encoder: ImageEncoder | str | None = None
    audio_encoder: AudioEncoder | str | None = None
    _: KW_ONLY
    align: str = "pool"
    window: float = 10.0
    hop: float | None = None
    frames: str = "uniform"
    n_frames: int = 4
    fps: float | None = None
    scene_threshold: float = 0.1
    max_duration: float = 300.0
    batch_size: int = 4
    device: str = field(default="cpu", init=False)
    compile: bool = field(default=False, init=False)
    """Both encoders have their own device and precision, and may be compiled."""
    precision: str = field(default="fp32", init=False)

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "image_encoder": [ImageEncoder, StrOptions({"drop"}), None],
        "audio_encoder": [AudioEncoder, StrOptions({"drop"}), None],
        "align": [StrOptions({"pool", "window"})],
        "window": [Interval(Real, 1, None, closed="left")],
        "hop": [Interval(Real, 0.1, None, closed="left"), None],
        "frames": [StrOptions({"uniform", "scene"})],
        "n_frames": [Interval(Integral, 1, None, closed="left")],
        "fps": [Interval(Real, 0, None, closed="neither"), None],
        "scene_threshold": [Interval(Real, 0, 1, closed="right")],
        "max_duration": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
    }
    _runs_in_lanes: ClassVar[bool] = False  # its encoders run in lanes

    def transform(self, X: RawColumn) -> np.ndarray:
        """Encode one column.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of videos.

        Returns
        -------
        vectors : ndarray of shape (n, embedding_dim_), float32
            With ``align="window"``, ``vectors[i].reshape(-1, dim)`` is the sequence of
            windows. Only a row without content is all zeros, or all NaN with
            ``missing="nan"``.

        Raises
        ------
        ValueError
            If an item cannot be read and ``on_error="raise"``. The message names the
            row and, where there is one, the file.
        """
        return super().transform(X)

    def _transform(self, X: Any) -> np.ndarray:
        if self.align == "pool":
            return super()._transform(X)
        sequences = self._transform_windows(X)
        shape = (len(sequences), self._n_windows, self._loaded_model().dim)
        out = np.full(shape, self._fill, np.float32)
        for row, sequence in zip(out, sequences, strict=True):
            row[: len(sequence.start)] = sequence.vectors[: self._n_windows]
        return out.reshape(len(out), -1)

    def transform_windows(self, X: RawColumn) -> list[VideoWindows]:
        """Encode one column into sequences of windows, with pictures and sound.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of videos.

        Returns
        -------
        sequences : list of VideoWindows
            One per row: ``start`` and ``end`` in seconds and ``vectors`` of shape
            (n_windows, dim), the picture columns and then those of the sound, which are
            also ``image`` and ``sound``. A missing row has no windows. A part that a
            window lacks, pictures or sound, is zeros, or NaN with ``missing="nan"``.

        Raises
        ------
        ValueError
            If an item cannot be read and ``on_error="raise"``. The message names the
            row and, where there is one, the file.
        """
        check_is_fitted(self)
        return self._as_fitted()._transform_windows(X)

    def _transform_windows(self, X: Any) -> list[VideoWindows]:
        items = self._items(X, reset=False)
        model = self._loaded_model()
        none = np.zeros(0)
        no_vectors = np.zeros((0, model.dim), np.float32)
        empty = VideoWindows(none, none, no_vectors, model.image_dim)
        out = [empty] * len(items)
        failed = self._failed_items()
        engine = self._engine(Sequences(model), failed)
        groups = self._progress(self._distinct(items, failed))
        for distinct, rows in engine.run(groups):
            sequence = self._sequence(rows.reshape(-1, model.dim + 2), model)
            for row in distinct.rows:
                out[row] = sequence
        failed.report(len(items))
        return out

    def _sequence(self, rows: np.ndarray, model: VideoModel) -> VideoWindows:
        times = rows[:, :2].astype(np.float64)
        vectors, faults = self._finish_parts(rows[:, 2:])
        for error in faults.values():
            raise error
        return VideoWindows(times[:, 0], times[:, 1], vectors, model.image_dim)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns, which tell pictures from sound.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Ignored.

        Returns
        -------
        names : ndarray of str objects
            ``videoencoder_image0``, ..., ``videoencoder_sound0``, ...; with
            ``align="window"``, ``videoencoder_window0_image0``, ...; with
            `n_components`, ``videoencoder0``, ...
        """
        check_is_fitted(self)
        fitted = self._as_fitted()
        if fitted.n_components is not None:
            return super().get_feature_names_out()
        prefixes = [""]
        if fitted.align == "window":
            prefixes = [f"window{i}_" for i in range(fitted._n_windows)]
        names = [
            f"videoencoder_{prefix}{part}{i}"
            for prefix in prefixes
            for part, width in self._widths.items()
            for i in range(width)
        ]
        return np.array(names, dtype=object)

    @property
    def parts_(self) -> dict[str, np.ndarray]:
        """Which output columns are of which part."""
        check_is_fitted(self)
        fitted = self._as_fitted()
        if fitted.n_components is not None:
            return {}
        of_window = np.repeat(list(self._widths), list(self._widths.values()))
        of_column = np.tile(of_window, fitted._n_windows)
        return {part: np.flatnonzero(of_column == part) for part in self._widths}

    @property
    def _widths(self) -> dict[str, int]:
        """Columns of each part in one window."""
        return {
            part: encoder.embedding_dim_
            for part, encoder in zip(("image", "sound"), self._encoders, strict=True)
            if encoder is not None
        }

    @property
    def _n_windows(self) -> int:
        """Windows that lie side by side in a row of `transform`."""
        return 1 if self.align == "pool" else self._sampling().most_windows

    def _dim(self, model: Model) -> int:
        return self._n_windows * model.dim

    def _vectors(self, items: list[Any], model: Model, finish: Finish) -> np.ndarray:
        """Encode; before a reduction, a part that a video lacks is set to zeros."""
        vectors = super()._vectors(items, model, finish)
        if self.n_components is not None:
            some = np.isfinite(vectors).any(axis=1)
            vectors[some] = np.nan_to_num(vectors[some])
        return vectors

    def _prepare_fit(self) -> None:
        if self.n_components is not None and self.align != "pool":
            raise ValueError(
                f"VideoEncoder(n_components={self.n_components}) reduces pooled "
                'vectors: it needs align="pool".'
            )
        self.image_encoder_ = self._fitted("image_encoder", ImageEncoder)
        self.audio_encoder_ = self._fitted("audio_encoder", AudioEncoder)
        if self.image_encoder_ is None and self.audio_encoder_ is None:
            raise ValueError(
                "VideoEncoder needs an image_encoder or an audio_encoder; "
                'both are "drop".'
            )

    def _fitted(self, name: str, default: type) -> Any:
        """Return a fitted copy of one encoder, or None if it is dropped."""
        encoder = getattr(self, name)
        if isinstance(encoder, str):
            return None
        copy = default() if encoder is None else clone(encoder)
        if copy.n_components is not None:
            raise ValueError(
                f"VideoEncoder: {name}.n_components must be None, since there are no "
                "single frames or sounds to fit it on."
            )
        return copy.fit([None])

    def _sampling(self) -> Sampling:
        hop = self.window if self.hop is None else self.hop
        if hop > self.window:
            raise ValueError(
                f"hop={hop} is longer than window={self.window}: seconds would be lost."
            )
        return Sampling(
            self.window,
            hop,
            self.frames,
            self.n_frames,
            self.fps,
            self.scene_threshold,
            self.max_duration,
        )

    def _loaded_model(self) -> VideoModel:
        return cast(VideoModel, super()._loaded_model())

    @property
    def _encoders(self) -> list[BaseEncoder | None]:
        return [self.image_encoder_, self.audio_encoder_]

    def _load_model(self, device: Any) -> VideoModel:
        image, sound = (_part(encoder) for encoder in self._encoders)
        return VideoModel(image, sound, self._sampling())

    def _model_key(self) -> Hashable:
        keys = [encoder and _run_key(encoder) for encoder in self._encoders]
        return (*keys, self._sampling())

    def _cache_access(self, model: Model, precision: str) -> CacheAccess | None:
        own = [encoder and _precision(encoder) for encoder in self._encoders]
        return super()._cache_access(model, str(own))

    def _content_key(self, item: Any) -> Hashable:
        return clip_key(item)

    def _finish(self, vectors: np.ndarray) -> Finished:
        """Scale both parts; refuse zeros, which would count as missing rows."""
        finished, faults = self._finish_parts(vectors)
        for i in np.flatnonzero(~vectors.any(axis=1)):
            faults[int(i)] = ContentError("the models gave zero vectors")
        return finished, faults

    def _finish_parts(self, vectors: np.ndarray) -> Finished:
        finished = np.full_like(vectors, self._fill)
        faults: dict[int, ContentError] = {}
        ends = np.cumsum(self._loaded_model().dims)
        for end, width in zip(ends, self._loaded_model().dims, strict=True):
            part = vectors[:, end - width : end]
            there = np.flatnonzero(part.any(axis=1))
            scaled, bad = super()._finish(part[there])
            finished[there, end - width : end] = scaled
            faults |= {int(there[i]): error for i, error in bad.items()}
        return finished, faults


def _part(encoder: BaseEncoder | None) -> Part | None:
    if encoder is None:
        return None
    return Part(encoder._engine(encoder._loaded_model(), encoder._failed_items()))


def _run_key(encoder: BaseEncoder) -> Hashable:
    """Return a key of an encoder and of how it runs its model."""
    run = (str(encoder.device), encoder.precision, encoder.batch_size, encoder.compile)
    return (*run, encoder._model_key())


def _precision(encoder: BaseEncoder) -> str:
    return resolve_precision(encoder.precision, resolve_device(encoder.device))
