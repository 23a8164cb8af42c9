"""What a caller has told torch, and what holds in a block of one's own."""

import pytest
import torch

from skmmrec.runtime import own_modes


@pytest.mark.parametrize("kind", ["cpu", "cuda", "mps"])
def test_autocast_of_the_caller_ends_at_the_block(kind):
    # Autocast of a GPU is refused where there is none, but its switch is there.
    before = torch.is_autocast_enabled(kind)
    torch.set_autocast_enabled(kind, True)
    try:
        with own_modes():
            inside = torch.is_autocast_enabled(kind)
        after = torch.is_autocast_enabled(kind)
    finally:
        torch.set_autocast_enabled(kind, before)
    assert (inside, after) == (False, True)
