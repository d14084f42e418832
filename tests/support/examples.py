"""How many examples a property is tried with: all, or a few with ``./blab test --quick``."""

import os

QUICK = os.environ.get("QUICK_TESTS") == "1"


def examples(full: int) -> int:
    """``full``, or a tenth of it (at least 5) in a quick run."""
    return max(5, full // 10) if QUICK else full
