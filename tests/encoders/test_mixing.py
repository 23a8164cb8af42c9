"""Channels are averaged, and no channel cancels another, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.encoders._mixing import (
    _AS_LOUD,
    _CANCELLED,
    _ROW,
    BLOCK,
    Mixer,
    PlacedSound,
    mixed_parts,
    to_mono,
)
from skmmrec.runtime import ContentError


def mixed_by_products(samples):
    """Mix as the definition says: by the inner products of all channels."""
    samples = samples.astype(np.float64)
    mono, lost = samples.mean(axis=1), 0
    for start in range(0, len(samples), BLOCK):
        block = samples[start : start + BLOCK]
        products = block.T @ block
        energies = np.diag(products)
        if products.sum() < _CANCELLED * energies.sum():
            lost = lost + energies
            loudest = np.argmax(lost >= _AS_LOUD * lost.max())
            mono[start : start + BLOCK] = block[:, loudest]
    return mono


LENGTHS = [0, 1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]


@settings(max_examples=60)
@given(
    n=st.sampled_from(LENGTHS),
    gains=st.lists(st.sampled_from([-1, -0.6, 0, 0.5, 1]), min_size=1, max_size=7),
    is_transposed=st.booleans(),
    seed=st.integers(0, 100),
)
def test_mixing_is_what_its_definition_says(n, gains, is_transposed, seed):
    generator = np.random.default_rng(seed)
    # Half common and half own: no energy stands at the limit of cancelling.
    common = generator.normal(0, 0.1, (n, 1)) * np.array(gains)
    own = generator.normal(0, 0.01, (n, len(gains)))
    samples = (common + own).astype(np.float32)
    if is_transposed:
        samples = np.asfortranarray(samples)
    mono = to_mono(samples)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, mixed_by_products(samples), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_channels", [2, 3, 6])
def test_the_mean_is_a_quotient_to_the_bit(n_channels):
    generator = np.random.default_rng(0)
    # From full scale down to numbers that have lost bits; all above 0 do not cancel.
    scale = 10.0 ** generator.integers(-45, 1, (BLOCK + 5, 1))
    samples = generator.random((BLOCK + 5, n_channels)) * scale
    samples = samples.astype(np.float32)
    total = samples[:, 0].copy()
    for channel in range(1, n_channels):
        total += samples[:, channel]
    np.testing.assert_array_equal(to_mono(samples), total / np.float32(n_channels))


@pytest.mark.parametrize("n_channels", [1, 2, 6])
def test_parts_of_whole_blocks_give_what_all_at_once_gives(n_channels):
    generator = np.random.default_rng(0)
    samples = generator.normal(0, 0.1, (3 * BLOCK + 5, n_channels)).astype(np.float32)
    samples[:BLOCK, -1] = -samples[:BLOCK, 0]
    mixer, parts = Mixer(), []
    for start in range(0, len(samples), 2 * BLOCK):
        part = samples[start : start + 2 * BLOCK]
        parts.append(np.empty(len(part), np.float32))
        mixer.mix(part, parts[-1])
    np.testing.assert_array_equal(np.concatenate(parts), to_mono(samples))


def test_only_samples_that_may_be_out_of_range_are_looked_at():
    loud = np.full((10, 2), 20, np.float32)
    with pytest.raises(ContentError, match="floats up to 20"):
        to_mono(loud)
    with pytest.raises(ContentError, match="NaN or infinite"):
        to_mono(np.full((10, 1), -np.inf, np.float32))
    mixed = np.empty(10, np.float32)
    Mixer(is_bounded=True).mix(loud, mixed)
    np.testing.assert_array_equal(mixed, loud[:, 0])


@settings(max_examples=60)
@given(
    n=st.sampled_from([1, _ROW - 1, _ROW, BLOCK + 1, 2 * BLOCK + 7]),
    n_channels=st.integers(1, 3),
    level=st.sampled_from([0.0, 0.1, 0.6, 15.0]),
    peak=st.sampled_from([1.0, 15.99, 16.0, 16.01, -16.01, 1e30, np.nan, -np.inf]),
    place=st.floats(0, 1),
)
def test_one_value_beyond_full_scale_is_found(n, n_channels, level, peak, place):
    samples = np.full((n, n_channels), level, np.float32)
    samples.flat[int(place * (samples.size - 1))] = peak
    if abs(peak) <= 16:
        assert np.abs(to_mono(samples)).max() <= 16
        return
    message = "full scale is 1" if np.isfinite(peak) else "NaN or infinite"
    with pytest.raises(ContentError, match=message):
        to_mono(samples)


def test_a_single_channel_may_be_what_it_is_mixed_into():
    expected = np.random.default_rng(0).normal(0, 0.1, BLOCK + 5).astype(np.float32)
    mixed = expected.copy()
    Mixer().mix(mixed[:, None], mixed)
    np.testing.assert_array_equal(mixed, expected)
    mixed[7] = 17
    with pytest.raises(ContentError, match="full scale"):
        Mixer().mix(mixed[:, None], mixed)


CUTS = st.lists(st.integers(0, 20 * BLOCK), max_size=6).map(sorted)


def noise_that_cancels(n, seed=0):
    sound = np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)
    gains = np.where(np.arange(n) // (3 * BLOCK) % 2, -1, 1).astype(np.float32)
    return np.column_stack([sound, gains * sound])


@settings(max_examples=20)
@given(cuts=CUTS, n=st.sampled_from([0, 1, 17 * BLOCK + 5]))
def test_parts_are_mixed_as_the_whole(cuts, n):
    samples = noise_that_cancels(n)
    mixed = [np.zeros(0), *mixed_parts(np.split(samples, cuts))]
    np.testing.assert_array_equal(np.concatenate(mixed), to_mono(samples))


@settings(max_examples=20)
@given(cuts=CUTS, start=st.integers(-BLOCK, 20 * BLOCK), n_behind=st.integers(0, BLOCK))
def test_placed_parts_are_mixed_as_the_whole(cuts, start, n_behind):
    """Parts with gaps between them, some of them partly outside."""
    samples = noise_that_cancels(17 * BLOCK)
    pieces = np.split(samples, cuts)
    gaps = np.arange(len(pieces)) * 18 * BLOCK
    places = start + gaps + np.cumsum([0, *map(len, pieces)])[:-1]
    whole = np.zeros((max(1, places[-1] + n_behind), 2), np.float32)
    sound = PlacedSound(len(whole), 2)
    for place, piece in zip(places.tolist(), pieces, strict=True):
        assert sound.write(place, piece) == place + len(piece)
        first, last = max(place, 0), min(place + len(piece), len(whole))
        if first < last:
            whole[first:last] = piece[first - place : last - place]
    np.testing.assert_array_equal(sound.finished(), to_mono(whole))


def test_a_part_that_comes_late_is_written_over_what_is_there():
    sound = PlacedSound(40 * BLOCK, 1)
    sound.write(0, np.full((40 * BLOCK, 1), 0.25, np.float32))
    sound.write(5, np.full((10, 1), 0.5, np.float32))
    expected = np.full(40 * BLOCK, 0.25, np.float32)
    expected[5:15] = 0.5
    np.testing.assert_array_equal(sound.finished(), expected)
