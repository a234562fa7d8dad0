"""`python -m batch SOURCE -o DIR`."""

import sys

from batch.command import main

if __name__ == "__main__":  # decoding processes start by spawn
    sys.exit(main())
