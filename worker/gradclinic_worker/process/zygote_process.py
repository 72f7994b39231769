"""The zygote as a program, `python -m gradclinic_worker.process.zygote_process`; settings come on standard input."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic_worker.cage import prctl
from gradclinic_worker.process import reports
from gradclinic_worker.settings import ExecutorSettings

if TYPE_CHECKING:
    from gradclinic_worker.process.executor import Analyse


def run(analyse: Analyse, settings: ExecutorSettings) -> None:
    """Serve executors that run ``analyse`` until SIGTERM."""
    from gradclinic_worker.process.zygote import Zygote  # noqa: PLC0415 - needs torch; a living parent comes first

    prctl.hide_memory()  # it holds the pipes of executors that wait for a job
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    Path(settings.zygote_socket).unlink(missing_ok=True)  # of a zygote before this one
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(settings.zygote_socket)
        listener.listen()
        Zygote(settings, listener, reports.ReportSender(settings.report_pipe), analyse).serve()


def read_settings() -> ExecutorSettings:
    """Bind this process's life to its parent's and read what the parent sends: its pid, then the settings."""
    prctl.die_with_parent(int(sys.stdin.readline()))
    return ExecutorSettings.from_json(sys.stdin.readline())


def main() -> None:
    """Run the zygote with the engine."""
    settings = read_settings()
    from gradclinic_worker.analysis import analyse  # noqa: PLC0415 - takes a second, for a parent that may have gone

    run(analyse, settings)


if __name__ == "__main__":
    main()
