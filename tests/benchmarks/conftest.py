"""The benchmark is a program, not a package: its tests find its modules beside them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
