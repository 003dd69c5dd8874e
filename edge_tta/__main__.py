"""`python -m edge_tta` is `edge-tta`."""

import sys

from edge_tta.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
