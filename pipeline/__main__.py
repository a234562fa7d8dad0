"""`python -m pipeline PHOTO -o DIR`."""

import sys

from pipeline.shell.illustrate import main

sys.exit(main())
