"""Settings for doors whose drawings nobody looks at."""

from pathlib import Path

CONFIG = Path(__file__).parent / "quick.yaml"
#: As a deployment's variable.
VARIABLE = {"PIPELINE_CONFIG": str(CONFIG)}
