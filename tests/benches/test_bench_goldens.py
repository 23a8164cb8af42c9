"""Fingerprints of what the code computes."""

import goldens


def test_a_setting_leaves_nothing_behind_for_the_next():
    settings = dict(goldens.recommenders())
    first = settings["catalogue, content"]()
    assert {"added", "taken in", "removed", "forgotten"} <= first.keys()
    assert settings["catalogue, content"]() == first
    assert settings["catalogue, factors"]().keys() <= first.keys()
