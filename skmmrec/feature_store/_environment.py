"""What a process that has used Feast leaves in the environment of those it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Feast makes a folder for counts when it is imported, and names it in both.
_NAMES = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
_PREFIX = "feast_metrics_"


def leave_folder_of_parent() -> None:
    """Have Feast make a folder of its own here, and not use that of a parent.

    The parent removes it when it ends. A child that goes on then has nowhere to count,
    and one that imports Feast after that fails.
    """
    folders = {os.environ.get(name) for name in _NAMES}
    used = {"feast", "prometheus_client"} & sys.modules.keys()
    if used or len(folders) > 1 or None in folders:
        return
    if Path(str(folders.pop())).name.startswith(_PREFIX):
        for name in _NAMES:
            del os.environ[name]
