"""The checkout that a stage script belongs to. Imported first, so that a temporary copy made by DVC runs its own code."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))
