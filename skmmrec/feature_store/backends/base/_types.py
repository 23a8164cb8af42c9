"""Types that every engine and its callers share."""

from __future__ import annotations

from typing import TypeAlias

Id: TypeAlias = int | str
Features: TypeAlias = dict[str, bytes]  # serialized values by feature name
