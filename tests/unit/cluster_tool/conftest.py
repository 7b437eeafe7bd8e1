"""`tools` is run from the repository's root and installed nowhere, so the root must be importable."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    # At the end: nothing of the root may hide a package of the environment.
    sys.path.append(ROOT)
