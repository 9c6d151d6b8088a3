"""The stories and the judge of HTML beside this file, importable by the tests of this room."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests are imported by path (importlib mode), so that their folder is not on the path by itself.
sys.path.insert(0, str(Path(__file__).parent))
