"""`python -m pipeline.phases PHASE IN OUT`."""

import sys

from pipeline.shell.phases import main

if __name__ == "__main__":
    sys.exit(main())
