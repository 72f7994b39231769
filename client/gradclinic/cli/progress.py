"""Progress of uploads and runs on standard error: bars on a terminal, quiet lines elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from gradclinic import figures
from gradclinic.cli.report import console
from gradclinic.plain_text import safe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic.records import Event

_BAR_FROM_BYTES = 1 << 20  # smaller uploads are over before a bar could be read


class ProgressDisplay:
    """Shows what is going on; use as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        """``quiet`` shows nothing at all."""
        self._console = console(stderr=True)
        self._quiet = quiet
        self._lively = self._console.is_terminal and not quiet
        self._uploads: dict[str, TaskID] = {}
        self._run: TaskID | None = None
        self._last_line = ""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=40),
            TextColumn("{task.fields[figure]}", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=self._console, transient=True)

    def __enter__(self) -> Self:
        if self._lively:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lively:
            self._progress.stop()

    @contextlib.contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Something goes on that cannot be measured."""
        task = self._progress.add_task(what, total=None, figure="") if self._lively else None
        try:
            yield
        finally:
            if task is not None:
                self._progress.remove_task(task)

    def uploading(self, name: str, sent_bytes: int, total_bytes: int) -> None:
        """An upload goes on."""
        if not self._lively:
            self._line(f"uploading {name}, {figures.size(total_bytes)}")
        elif total_bytes >= _BAR_FROM_BYTES:
            if name not in self._uploads:
                self._uploads[name] = self._progress.add_task(f"uploading {name}", total=total_bytes, figure="")
            figure = f"{figures.size(sent_bytes)} of {figures.size(total_bytes)}"
            self._progress.update(self._uploads[name], completed=sent_bytes, figure=figure)

    def accepted(self, id: str) -> None:  # noqa: A002 - the contract's own word
        """The diagnosis has an id; on a terminal the report is about to show it."""
        if not self._lively:
            self._line(f"diagnosis {safe(id)}")

    def changed(self, event: Event) -> None:
        """The diagnosis changed."""
        words = event.state.lower() if event.stage is None else f"{event.state.lower()}: {event.stage.lower()}"
        words += f", attempt {event.attempt}" if event.attempt > 1 else ""
        if not self._lively:
            self._line(words)
            return
        if self._run is None:
            self._run = self._progress.add_task(words, total=1.0, figure="")
        self._progress.update(
            self._run, description=words, completed=event.progress, figure=f"{100 * event.progress:.0f} %"
        )

    def _line(self, text: str) -> None:
        if not self._quiet and text != self._last_line:
            self._console.print(text)
            self._last_line = text
