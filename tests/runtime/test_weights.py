"""Packaged weights: found by name, checked before use."""

import os
from pathlib import Path

import pytest

from skmmrec.runtime import (
    _weights,
    file_fingerprint,
    load_state_dict,
    packaged_file,
)


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


def test_weights_that_were_replaced_are_others_whatever_time_they_carry(
    tmp_path, monkeypatch
):
    """Copies keep times, and a relative path is another one in another folder."""
    fingerprints = set()
    for name, content in (("one", b"1234"), ("two", b"5678")):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("weights").write_bytes(content)
        os.utime("weights", (0, 0))
        fingerprints.add(file_fingerprint(Path("weights")))
    before = file_fingerprint(Path("weights"))
    assert before == file_fingerprint(Path("weights"))
    Path("weights").write_bytes(b"9999")
    os.utime("weights", (0, 0))
    assert {*fingerprints, file_fingerprint(Path("weights"))} > fingerprints
    assert len(fingerprints) == 2
