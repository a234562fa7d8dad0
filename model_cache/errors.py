"""What can be wrong with a volume, as two exceptions. Their sentences name files relative to the volume, never a path of this machine."""

from collections.abc import Mapping


class MissingModels(Exception):  # noqa: N818 - says what is the case
    """Files that the volume has not. `files`: model → its missing files, relative to the model's folder."""

    def __init__(self, files: Mapping[str, tuple[str, ...]]) -> None:
        self.files = dict(files)
        super().__init__("The model volume lacks " + ", ".join(f"{name} ({', '.join(them)})" for name, them in self.files.items()))


class BrokenModel(Exception):  # noqa: N818 - says what is the case
    """A file is there and is not what it should be. `reason` names files relative to the model's folder."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} cannot be used: {reason}")
        self.name, self.reason = name, reason
