"""Packaged weights: found by name, checked before use."""

import pytest

from skmmrec.runtime import _weights, load_state_dict, packaged_file


@pytest.fixture
def fake_package(monkeypatch):
    """Register packaged weights under the name ``fake``."""

    def register(**changes):
        known = vars(_weights._PACKAGED["all-MiniLM-L6-v2"])
        weights = _weights.PackagedWeights(**{**known, **changes})
        monkeypatch.setitem(_weights._PACKAGED, "fake", weights)

    return register


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="known are 'package:all-MiniLM-L6-v2'"):
        packaged_file("package:word2vec")


def test_a_package_that_is_not_installed_names_the_extra(fake_package):
    fake_package(module="no_such_module", distribution="no-such-package")
    with pytest.raises(ImportError, match=r'no-such-package.*"skmmrec\[demo\]"'):
        packaged_file("package:fake")


def test_a_file_with_another_hash_is_not_used(fake_package):
    fake_package(sha256="0" * 64)
    with pytest.raises(ValueError, match=r"expected 0000.*is not used"):
        packaged_file("package:fake")


def test_a_package_without_its_file_is_refused(fake_package):
    fake_package(file="model/absent.safetensors")
    with pytest.raises(ValueError, match=r"holds no file absent\.safetensors"):
        packaged_file("package:fake")


def test_a_pickled_checkpoint_cannot_run_code(tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth is not a readable checkpoint"):
        load_state_dict(tmp_path / "evil.pth", "pretrained")
