"""The job that costs nothing: what plain RQ is measured with."""


def nothing() -> None:
    """Does nothing."""
