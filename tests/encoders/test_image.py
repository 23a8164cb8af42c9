"""Pictures: every mode and holder, broken files, and what the vectors mean."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.encoders import ImageEncoder, read_picture
from skmmrec.runtime import packaged_file

from .conftest import noise_picture


def encoded(image, file_format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def test_one_picture_in_any_holder_gives_one_vector(image_encoder, picture_file):
    image = Image.open(picture_file)
    vectors = image_encoder.transform(
        [
            str(picture_file),
            picture_file,
            picture_file.read_bytes(),
            image,
            np.asarray(image),
            image.convert("RGBA"),
        ]
    )
    np.testing.assert_allclose(vectors, vectors[[0] * 6], atol=1e-6)


def test_a_stack_of_arrays_is_a_column(image_encoder):
    stack = np.stack([np.asarray(noise_picture(i)) for i in range(3)])
    assert image_encoder.transform(stack).shape == (3, 12)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(image_encoder, mode):
    grey = noise_picture(0).convert("L")
    if mode == "I;16":
        pixels = np.asarray(grey).astype(np.uint16) * 257
        image = Image.fromarray(pixels)
        np.testing.assert_array_equal(read_picture(image).convert("L"), grey)
    else:
        image = noise_picture(0).convert(mode)
    rgb = read_picture(image)
    assert rgb.mode == "RGB"
    assert rgb.size == image.size
    assert image_encoder.transform([image]).any()


def test_transparent_parts_are_laid_on_white():
    hidden_red = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert read_picture(hidden_red).getpixel((0, 0)) == (255, 255, 255)
    palette = encoded(hidden_red.convert("P"), transparency=0)
    assert read_picture(palette).getpixel((0, 0)) == (255, 255, 255)


def test_exif_orientation_is_applied(image_encoder):
    upright = noise_picture(3)
    exif = Image.Exif()
    exif[0x0112] = 6  # the file holds the picture turned by a quarter to the left
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), exif=exif)
    np.testing.assert_array_equal(read_picture(turned), upright)
    vectors = image_encoder.transform([turned, upright])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def bomb():
    """A PNG header that declares 20,000 x 20,000 pixels, in 60 bytes."""
    import struct
    import zlib

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"\x78\x9c")


def broken_items(folder):
    """Return every broken item by the reason that its error gives."""
    good = encoded(noise_picture(0))
    (folder / "truncated.png").write_bytes(good[: len(good) // 2])
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no picture at all")
    return [
        (folder / "truncated.png", "damaged"),
        (str(folder / "empty.jpg"), "empty file"),
        (folder / "text.jpg", "not a readable picture"),
        (folder / "absent.jpg", "no such file"),
        (folder, "not a file"),
        ("https://example.org/a.jpg", "is a URL"),
        ("nul\0byte.jpg", "no such file"),
        (b"", "not a readable picture"),
        (good[:40], "picture"),
        (bomb(), "pixels"),
        (np.zeros((4, 4, 3)), "uint8"),
        (np.zeros((4, 4, 2), np.uint8), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "uint8"),
        (np.array([None, "a"], dtype=object), "no such file"),
        (3.5, "expected a path"),
        ({"url": "a"}, "expected a path"),
    ]


@pytest.mark.parametrize("index", range(16))
def test_a_broken_picture_names_its_row_and_file(image_encoder, tmp_path, index):
    item, reason = broken_items(tmp_path)[index]
    column = [noise_picture(1), None, item]
    with pytest.raises(ValueError, match=reason) as caught:
        image_encoder.transform(column)
    assert str(caught.value).startswith("ImageEncoder: row 2")
    if isinstance(item, str | Path):
        assert repr(str(item)) in str(caught.value)


def test_broken_pictures_can_be_missing_and_the_rest_is_kept(image_model, tmp_path):
    good = [noise_picture(i) for i in range(3)]
    broken = [item for item, _ in broken_items(tmp_path)]
    encoder = ImageEncoder(image_model, on_error="missing", batch_size=2).fit(good)
    with pytest.warns(UserWarning, match="16 of 19 rows could not be read") as caught:
        vectors = encoder.transform([good[0], *broken, *good[1:]])
    assert len([w for w in caught if w.category is UserWarning]) == 1
    assert not vectors[1:-2].any()
    np.testing.assert_allclose(vectors[[0, -2, -1]], encoder.transform(good), atol=1e-6)


def test_a_picture_cut_at_any_byte_is_an_error_or_a_picture(image_model):
    data = encoded(noise_picture(0, size=(6, 5)), "JPEG")
    encoder = ImageEncoder(image_model, on_error="missing").fit(["any"])
    cuts = [data[:end] for end in range(len(data))]
    with pytest.warns(UserWarning, match="could not be read"):
        vectors = encoder.transform(cuts)
    assert np.isfinite(vectors).all()
    assert not vectors[: len(data) // 2].any()


def test_one_pixel_is_a_picture(image_encoder):
    assert image_encoder.transform([Image.new("RGB", (1, 1), "red")]).any()


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_vectors_do_not_depend_on_their_batch(image_model, batch_size):
    column = [noise_picture(i, size=(20 + i, 30)) for i in range(7)]
    reference = ImageEncoder(image_model).fit_transform(column[::-1])[::-1]
    vectors = ImageEncoder(image_model, batch_size=batch_size).fit_transform(column)
    np.testing.assert_allclose(vectors, reference, atol=1e-6)


def test_a_folders_own_preprocessing_is_used(image_encoder):
    from torchvision.transforms import Normalize

    steps = image_encoder._model._transform.whole.transforms
    normalize = next(step for step in steps if isinstance(step, Normalize))
    assert tuple(normalize.mean) == (0.4, 0.5, 0.6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("./no/such/folder",), FileNotFoundError, "model='./no/such/folder'"),
        ((Path("absent"),), FileNotFoundError, "model='absent'"),
        (("ViT-B-33",), ValueError, "Did you mean ViT-B-32"),
        (("ViT-B-32", "no-such-tag"), ValueError, "no-such-tag"),
        (("ViT-B-32", "/absent.pt"), FileNotFoundError, "pretrained='/absent.pt'"),
        (("tf_efficientnet_lite0", "imagenet"), ValueError, "not a checkpoint file"),
        (("tf_efficientnet_lite0", "package:vit"), ValueError, "not the name of pack"),
    ],
)
@pytest.mark.filterwarnings("ignore:QuickGELU")
def test_a_model_that_is_not_there_names_the_argument(arguments, error, message):
    with pytest.raises(error, match=message):
        ImageEncoder(*arguments).fit(["any"])


def test_a_folder_without_weights_is_refused(image_model, tmp_path):
    config = Path(image_model) / "open_clip_config.json"
    (tmp_path / config.name).write_bytes(config.read_bytes())
    with pytest.raises(ValueError, match="could not be loaded"):
        ImageEncoder(tmp_path).fit(["any"])


def test_packaged_weights_give_what_timm_gives(efficientnet):
    """The same file in timm's own classifier, fed as its `default_cfg` says."""
    import timm
    import torch
    from timm.data import create_transform

    state = torch.load(packaged_file("package:efficientnet-lite0"), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0")
    assert len(state) == len(network.state_dict()) == 294 + 2
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, state.values(), strict=True)))
    config = network.default_cfg
    transform = create_transform(
        224, mean=config["mean"], std=config["std"], crop_pct=1, interpolation="bicubic"
    )
    picture = noise_picture(0, size=(150, 224))
    with torch.inference_mode():
        features = network.eval().forward_features(transform(picture)[None])
        expected = features.mean((2, 3)).numpy()
    expected /= np.linalg.norm(expected)
    vectors = efficientnet.transform([picture])
    np.testing.assert_allclose(vectors, expected, atol=1e-3)  # resizing rounds
    assert (vectors * expected).sum() > 0.9999


def test_like_pictures_are_near(efficientnet):
    def stripes(color, width):
        image = Image.new("RGB", (90, 120), color)
        image.paste("white", (0, 0, width, 120))
        return image

    red, other_red, blue = efficientnet.transform(
        [stripes("red", 20), stripes((230, 10, 10), 25), stripes("blue", 60)]
    )
    assert red @ other_red > red @ blue + 0.1


def test_the_pictures_of_one_item_are_averaged(image_model):
    a, b = noise_picture(0), noise_picture(1)
    encoder = ImageEncoder(image_model, normalize=False).fit(["any"])
    vectors = encoder.transform([a, b, [a, b], [a, None], [None, None], [b, a, a]])
    np.testing.assert_allclose(vectors[2], (vectors[0] + vectors[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(vectors[3], vectors[0], atol=1e-6)
    assert not vectors[4].any()
    expected = (2 * vectors[0] + vectors[1]) / 3
    np.testing.assert_allclose(vectors[5], expected, atol=1e-6)
    with pytest.raises(ValueError, match="row 0: picture 1 of the item is not a"):
        encoder.transform([[a, b"broken"]])
    with pytest.raises(ValueError, match="got tuple: give several pictures as one li"):
        encoder.transform([(a, b)])


def test_lists_of_files_stay_lists_in_a_parquet_file(image_model, tmp_path):
    files = [str(tmp_path / f"{seed}.png") for seed in range(2)]
    for seed, file in enumerate(files):
        noise_picture(seed).save(file)
    table = pd.DataFrame({"photos": [files, [], None, files[:1]]})
    table.to_parquet(tmp_path / "items.parquet")
    read = pd.read_parquet(tmp_path / "items.parquet")["photos"]
    assert isinstance(read[0], np.ndarray)
    encoder = ImageEncoder(image_model).fit(files)
    vectors = encoder.transform(table["photos"].to_list())
    np.testing.assert_allclose(encoder.transform(read), vectors, rtol=0, atol=1e-6)
    assert vectors.any(axis=1).tolist() == [True, False, False, True]


def test_words_and_pictures_share_a_space(image_encoder):
    vectors = image_encoder.encode_text(["a dog", "a cat", "a dog"])
    assert vectors.shape == (3, image_encoder.embedding_dim_)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[2])


@pytest.mark.parametrize("text", ["\ud800", None, 3])
def test_words_that_are_no_text_name_their_row(image_encoder, text):
    with pytest.raises(ValueError, match="encode_text: row 1: "):
        image_encoder.encode_text(["a dog", text])


def test_words_that_the_text_tower_cannot_read_are_counted(image_encoder, monkeypatch):
    from types import SimpleNamespace

    inner = SimpleNamespace(
        unk_token_id=5, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )

    class Tokenizer:
        tokenizer = inner

        def __call__(self, texts):
            import torch

            rows = {"known": [1, 7, 5, 8, 2, 0, 0, 0], "new": [1, 5, 5, 8, 2, 0, 0, 0]}
            return torch.tensor([rows[text] for text in texts])

    name = "skmmrec.encoders._open_clip.load_tokenizer"
    monkeypatch.setattr(name, lambda model: Tokenizer())
    with pytest.warns(
        UserWarning, match=r"in 1 of 3 rows, the first of which is row 2"
    ):
        image_encoder.encode_text(["known", "known", "new"])


def test_zero_shot_asks_for_a_list_of_labels_and_their_place(image_encoder):
    picture = [Image.new("RGB", (8, 8))]
    with pytest.raises(TypeError, match=r"labels must be a list .* \['dog'\]"):
        image_encoder.zero_shot(picture, "dog")
    for template in ["a photo", "a {label}", "a {} of {}", "a {"]:
        with pytest.raises(ValueError, match=r"template must have {} for the label"):
            image_encoder.zero_shot(picture, ["dog", "cat"], template)


def test_zero_shot_scores_are_those_of_the_model(image_encoder):
    column = [noise_picture(0), None, noise_picture(1)]
    scores = image_encoder.zero_shot(column, ["dog", "cat", "car"], "{}")
    assert scores.shape == (3, 3)
    assert np.isnan(scores[1]).all()
    np.testing.assert_allclose(scores[[0, 2]].sum(axis=1), 1, atol=1e-5)
    cosines = (
        image_encoder.transform(column)
        @ image_encoder.encode_text(["dog", "cat", "car"]).T
    )
    logits = np.exp(cosines[0] / 0.07)
    np.testing.assert_allclose(scores[0], logits / logits.sum(), rtol=1e-4, atol=1e-6)


def test_a_model_without_text_says_so(efficientnet):
    with pytest.raises(ValueError, match="reads pictures only"):
        efficientnet.encode_text(["a dog"])


def test_preprocess_overrides_the_weights_own(image_model, image_encoder):
    other = ImageEncoder(image_model, preprocess={"mean": (0.1, 0.1, 0.1)})
    vectors = other.fit_transform([noise_picture(0)])
    assert not np.allclose(
        vectors, image_encoder.transform([noise_picture(0)]), atol=1e-4
    )


class TestCheckpointFile:
    """A checkpoint of a model that open_clip knows by name."""

    @pytest.fixture
    def named(self, image_model, monkeypatch):
        import json

        from open_clip import factory

        text = (Path(image_model) / "open_clip_config.json").read_text()
        config = json.loads(text)["model_cfg"]
        monkeypatch.setitem(factory._MODEL_CONFIGS, "tiny", config)
        return Path(image_model) / "open_clip_model.safetensors"

    def test_its_preprocessing_is_read_from_beside_it(self, named, image_encoder):
        vectors = ImageEncoder("tiny", named).fit_transform([noise_picture(0)])
        np.testing.assert_array_equal(
            vectors, image_encoder.transform([noise_picture(0)])
        )

    def test_weights_that_pip_installed_are_for_one_model(self, named):
        with pytest.raises(ValueError, match="is not for model='tiny'"):
            ImageEncoder("tiny", "package:efficientnet-lite0").fit(["any"])

    def test_it_is_never_guessed(self, named, tmp_path, image_encoder):
        lone = tmp_path / "lone.safetensors"
        lone.write_bytes(named.read_bytes())
        with pytest.raises(ValueError, match="does not say how to preprocess"):
            ImageEncoder("tiny", lone).fit(["any"])
        told = {"mean": (0.4, 0.5, 0.6), "std": (0.3, 0.3, 0.3)}
        vectors = ImageEncoder("tiny", lone, preprocess=told).fit_transform(
            [noise_picture(0)]
        )
        np.testing.assert_array_equal(
            vectors, image_encoder.transform([noise_picture(0)])
        )
