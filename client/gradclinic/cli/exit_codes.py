"""What the command's exit codes mean."""

from typing import Final

FINE: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
NO_ANSWER: Final = 3  # a failed diagnosis, or a service that cannot be reached
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
