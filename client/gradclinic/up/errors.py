"""What can go wrong with `gradclinic up`; each becomes one message and exit code 3."""

from __future__ import annotations

import click


class UpError(click.ClickException):
    """Base of the errors of `gradclinic up`."""


class AlreadyUp(UpError):
    """Another `gradclinic up` has the state directory."""


class PortTaken(UpError):
    """Another program listens where we should."""


class NotInstalled(UpError):
    """Something that `gradclinic up` starts is not installed."""


class ChildFailed(UpError):
    """A process did not start, or does not stay alive."""
