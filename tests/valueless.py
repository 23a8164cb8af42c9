"""Tensors on a device that is not there: they have a shape and no values."""

from contextlib import contextmanager

import pytest
import torch
from torch._subclasses import FakeTensorMode


@contextmanager
def valueless_gpus(**options):
    """Let torch make tensors without values, also "on" a GPU, in a block.

    What asks for a value, or mixes devices, raises. Skips the test where torch asks a
    driver even about such tensors, as torch 2.6 does.
    """
    with FakeTensorMode(**options) as mode:
        try:
            torch.ones(1).to("cuda")
        except RuntimeError as error:
            if "driver version is insufficient" not in str(error):
                raise
            pytest.skip("this torch asks the driver even about pretended devices")
        yield mode
