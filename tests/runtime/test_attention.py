"""Attention on a GPU makes no plan for each shape, and torch's choice is put back."""

from threading import Barrier, Thread

import pytest
import torch

from skmmrec.runtime import attention_of_any_shape

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(params=[True, False])
def usual(request):
    """What the caller has chosen."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(request.param)
    yield request.param
    torch.backends.cuda.enable_cudnn_sdp(before)


@attention_of_any_shape(CUDA)
def fail():
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    raise KeyError


def test_the_choice_is_put_back_even_after_an_error(usual):
    with pytest.raises(KeyError):
        fail()
    assert torch.backends.cuda.cudnn_sdp_enabled() == usual


def test_nothing_changes_on_a_cpu(usual):
    with attention_of_any_shape(CPU):
        assert torch.backends.cuda.cudnn_sdp_enabled() == usual


def test_blocks_of_several_threads_may_overlap(usual):
    inner, outer = Barrier(2), Barrier(2)

    def first():
        with attention_of_any_shape(CUDA):
            inner.wait()  # the second has begun
        outer.wait()

    thread = Thread(target=first)
    thread.start()
    with attention_of_any_shape(CUDA):
        inner.wait()
        outer.wait()  # the first is over
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    thread.join()
    assert torch.backends.cuda.cudnn_sdp_enabled() == usual


@pytest.mark.gpu
def test_the_kernels_of_a_gpu_agree():
    shape = (3, 2, 37, 16)
    parts = [torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3)]
    mask = torch.rand(3, 1, 37, 37, device="cuda") < 0.7
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(part.float() for part in parts), mask
    )
    with attention_of_any_shape(CUDA):
        given = torch.nn.functional.scaled_dot_product_attention(*parts, mask)
    torch.testing.assert_close(given.float(), expected, atol=0.05, rtol=0.05)
