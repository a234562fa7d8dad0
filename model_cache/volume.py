"""The model volume."""


class BrokenModel(Exception):  # noqa: N818 — says what is the case
    """A model's file is there and is not what it should be."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The model {name} cannot be used: {reason}.")
        self.name, self.reason = name, reason
