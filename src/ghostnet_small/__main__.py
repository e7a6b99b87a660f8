"""``python -m ghostnet_small``."""

from __future__ import annotations

import sys

from ghostnet_small.cli import main

if __name__ == "__main__":
    sys.exit(main())
