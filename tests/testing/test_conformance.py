"""The conformance tests find what is wrong with encoders, fusions and recommenders."""

from collections import defaultdict
from pathlib import Path

import pytest

FUSION = """
import torch
import pytest
from skmmrec.fusion import Fusion
from skmmrec.testing import FusionTests

class Good(Fusion):
    def weigh(self, tokens, mask):
        return mask.to(tokens.dtype)

class SeesTheBatch(Good):
    def combine(self, tokens, mask):
        return super().combine(tokens - tokens.mean(dim=0), mask)

class ForgetsTheMask(Good):
    def project(self, blocks, mask):
        return torch.stack([p(b) for p, b in zip(self.projections, blocks)], dim=1)

class HasAnIdleParameter(Good):
    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.idle = torch.nn.Parameter(torch.zeros(2))

class TestIt(FusionTests):
    @pytest.fixture
    def fusion_class(self):
        return NAME
"""

RECOMMENDER = """
import numpy as np
import pytest
from skmmrec.recommender import PopularityRecommender
from skmmrec.testing import RecommenderTests

class Good(PopularityRecommender):
    pass

class RepeatsWhatWasSeen(Good):
    def recommend(self, users=None, k=10, *, items=None, exclude_seen=True):
        return super().recommend(users, k, items=items, exclude_seen=False)

class IsNeverTheSame(Good):
    def _score_users(self, users):
        return super()._score_users(users) * np.random.rand(len(self.item_index_))

class KnowsNobodyNew(Good):
    def recommend(self, users=None, k=10, *, items=None, exclude_seen=True):
        known = users if users is None else self.user_index_.intersection(users)
        return super().recommend(known, k, items=items, exclude_seen=exclude_seen)

class TestIt(RecommenderTests):
    @pytest.fixture
    def recommender(self):
        return NAME()
"""

ENCODER = """
import numpy as np
import pytest
from skmmrec.encoders import BaseEncoder, ContentError
from skmmrec.testing import EncoderTests

class Model:
    dim = 3
    identity = b"lengths"
    def prepare(self, item):
        return len(item)
    def encode(self, contents):
        lengths = np.array(contents, np.float32)[:, None]
        return lengths ** np.arange(3)

class OtherModel(Model):
    def encode(self, contents):
        return -super().encode(contents)

class BatchModel(Model):
    def encode(self, contents):
        return super().encode(contents) + max(contents)

class Good(BaseEncoder):
    _items_are_paths = False
    def _load_model(self, device):
        return Model()
    def _model_key(self):
        return "lengths"
    def _content_key(self, item):
        if not isinstance(item, str):
            raise ContentError("no text")
        return item

class SeesTheBatch(Good):
    def _load_model(self, device):
        return BatchModel()

class HidesASetting(Good):
    sign: int = 1
    _parameter_constraints = {**Good._parameter_constraints, "sign": [int]}
    def _load_model(self, device):
        return Model() if self.sign > 0 else OtherModel()
    def _model_key(self):
        return ("lengths", self.sign)

class KeepsItsWeights(Good):
    def __getstate__(self):
        return {**super().__getstate__(), "weights": bytes(100_000)}

class TestIt(EncoderTests):
    @pytest.fixture
    def encoder(self):
        return NAME()
    @pytest.fixture
    def items(self):
        return ["a", "bb", "cccc"]
    @pytest.fixture
    def other_encoder(self):
        return NAME(sign=-1) if NAME is HidesASetting else None
"""


SILENT = """
from skmmrec.testing import NAME
class TestIt(NAME): pass
"""

WRONG = [
    (FUSION, "SeesTheBatch", "test_items_do_not_see_their_batch"),
    (FUSION, "ForgetsTheMask", "test_a_missing_modality_has_no_influence"),
    (FUSION, "HasAnIdleParameter", "test_every_parameter_has_a_finite_gradient"),
    (RECOMMENDER, "RepeatsWhatWasSeen", "test_what_a_user_met_is_left_out"),
    (RECOMMENDER, "IsNeverTheSame", "test_the_same_fit_gives_the_same_model"),
    (RECOMMENDER, "KnowsNobodyNew", "test_a_user_who_was_never_met_is_served"),
    (ENCODER, "SeesTheBatch", "test_rows_keep_their_order_in_any_batch"),
    (ENCODER, "KeepsItsWeights", "test_a_pickle_carries_no_weights"),
    (ENCODER, "HidesASetting", "test_a_cache_tells_models_apart"),
]
RIGHT = [(FUSION, 12), (RECOMMENDER, 19), (ENCODER, 14)]
UNSAID = [
    ("EncoderTests", "encoder"),
    ("FusionTests", "fusion_class"),
    ("RecommenderTests", "recommender"),
]


class Reports:
    """A plugin that keeps each test's report, by the module of the test."""

    def __init__(self):
        self.failed, self.passed = defaultdict(dict), defaultdict(set)

    def pytest_runtest_logreport(self, report):
        module = Path(report.nodeid.split("::")[0]).stem
        name = report.nodeid.split("::")[-1].split("[")[0]
        if report.failed:
            self.failed[module][name] = str(report.longrepr)
        elif report.when == "call":
            self.passed[module].add(name)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What fails and what passes where a class of a module is what is tested.

    One run has them all, each in a module of its own: to end a run takes longer than
    the tests of one.
    """
    root = tmp_path_factory.mktemp("conformance")
    named = [(module, name) for module, name, _ in WRONG]
    named += [(module, "Good") for module, _ in RIGHT]
    named += [(SILENT, tests) for tests, _ in UNSAID]
    paths = [root / f"conformance_{number}.py" for number in range(len(named))]
    for path, (module, name) in zip(paths, named, strict=True):
        path.write_text(module.replace("NAME", name))
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    reports = Reports()
    files = map(str, paths)
    pytest.main([*files, "--rootdir", str(root), *plugins, "-q"], plugins=[reports])
    return {
        key: (reports.failed[path.stem], reports.passed[path.stem])
        for key, path in zip(named, paths, strict=True)
    }


@pytest.mark.parametrize(("module", "at_least"), RIGHT)
def test_what_is_right_passes(found, module, at_least):
    failed, passed = found[module, "Good"]
    assert failed == {}
    assert len(passed) >= at_least


@pytest.mark.parametrize(("module", "name", "expected"), WRONG)
def test_what_is_wrong_fails(found, module, name, expected):
    failed, passed = found[module, name]
    assert expected in failed
    assert len(passed) > len(failed)


@pytest.mark.parametrize(("tests", "fixture"), UNSAID)
def test_what_is_to_be_tested_must_be_said(found, tests, fixture):
    failed, _ = found[SILENT, tests]
    assert failed
    for report in failed.values():
        assert f"override the fixture {fixture}" in report
