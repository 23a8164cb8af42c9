"""What follows from the density of data: gradually, never by a jump."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from skmmrec.interactions import History
from skmmrec.recommender.training._density import (
    DENSE,
    LARGE,
    SMALL,
    SPARSE,
    Density,
    choose_batch_size,
    choose_own_negatives,
)

# Enough that neither bound on the number of batches matters.
MANY = 100_000
NUMBERS = st.floats(0.5, 500)


@given(per_item=NUMBERS, per_user=NUMBERS, factor=st.floats(1, 2))
def test_denser_data_never_gets_larger_batches_or_more_negatives(
    per_item, per_user, factor
):
    thin = Density(per_item, per_user)
    for thick in (
        Density(per_item * factor, per_user),
        Density(per_item, per_user * factor),
    ):
        for choose in (choose_own_negatives, lambda d: choose_batch_size(d, MANY)):
            assert choose(thick).value <= choose(thin).value


@given(per_item=NUMBERS, per_user=NUMBERS)
def test_a_hundredth_more_changes_little(per_item, per_user):
    """There is no number at which a rule switches."""
    here, there = Density(per_item, per_user), Density(per_item * 1.01, per_user * 1.01)
    sizes = [choose_batch_size(density, MANY).value for density in (here, there)]
    assert 0.94 < sizes[1] / sizes[0] <= 1
    shares = [choose_own_negatives(density).value for density in (here, there)]
    assert 0 <= shares[0] - shares[1] < 0.05


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize(
    ("bounds", "size", "share"), [(SPARSE, LARGE, 1.0), (DENSE, SMALL, 0.0)]
)
def test_the_ends(kind, bounds, size, share):
    """Either items or users decide."""
    density = Density(*(bounds[n] if n == kind else 1.0 for n in range(2)))
    assert choose_batch_size(density, MANY).value == size
    assert choose_own_negatives(density).value == pytest.approx(
        share, abs=1e-12, rel=1e-12
    )


def test_tiktok_spares_no_likes():
    """What spares almost none of them costs as much as what spares all."""
    assert choose_own_negatives(Density(9.534, 6.404)).value == 1


def test_small_data_gets_thirty_batches_and_large_data_five_hundred():
    dense = Density(100, 100)
    assert choose_batch_size(dense, 3000).value == 100
    assert choose_batch_size(dense, 30).value == 32
    assert choose_batch_size(dense, 5_000_000).value == 10_000


def test_who_has_nothing_does_not_count():
    history = History(np.array([0, 3, 3, 4]), np.array([0, 1, 2, 2]), 10)
    assert Density.of(history) == (4 / 3, 2.0)
    assert Density.of(History(np.array([0]), np.array([], int), 0)).level == 0
