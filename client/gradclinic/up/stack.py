"""The tree of processes: started in order, watched, restarted, stopped in order."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from gradclinic.up import kernel
from gradclinic.up.child import Child, Program
from gradclinic.up.errors import ChildFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic.up.state import StateDirectory

_START_TIMEOUT_SECONDS: Final = 120.0
_TICK_SECONDS: Final = 0.25
_START_TICK_SECONDS: Final = 0.02
_STOP_SECONDS: Final = 3.5  # for the API and the workers; then they are killed
_STORE_STOP_SECONDS: Final = 1.0
_MOST_RESTARTS: Final = 5  # of one program
_RESTARTS_WITHIN_SECONDS: Final = 60.0
_SIGNALS_AT_ONCE: Final = 64
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Notes that somebody wants us to stop; use as a context manager in the main thread."""

    def __init__(self) -> None:
        self.count = 0
        self._wakes, self._woken = socket.socketpair()
        for end in (self._wakes, self._woken):
            end.setblocking(False)  # noqa: FBT003 - the socket's own signature

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        self._previous_descriptor = signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._previous_descriptor)
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._wakes.close()
        self._woken.close()

    def fileno(self) -> int:
        """Becomes readable with a signal."""
        return self._woken.fileno()

    def clear(self) -> None:
        """Takes back the readiness; the count stays."""
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(_SIGNALS_AT_ONCE)

    def _note(self, number: int, frame: object) -> None:
        del number, frame
        self.count += 1


class Stack:
    """The processes of one `gradclinic up`."""

    def __init__(self, state: StateDirectory, stops: StopRequests, say: Callable[[str], None]) -> None:
        self._state = state
        self._stops = stops
        self._say = say
        self._children: dict[str, Child] = {}  # by program name, in order of start
        self._amended: dict[str, Program] = {}
        self._restarts: dict[str, deque[float]] = {}
        kernel.adopt_orphans()

    def start(self, *programs: Program) -> dict[str, str] | None:
        """Starts programs together and waits until each is ready.

        Returns:
            Each program's ready line; None if a stop was requested meanwhile.

        Raises:
            ChildFailed: one of them ended or was not ready in time.
        """
        started = [self._launch(program) for program in programs]
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while not all(child.ready for child in started):
            if self._stops.count:
                return None
            for child in self._children.values():
                if not child.alive:
                    child.read_output()
                    raise ChildFailed(f"{child.program.name} {child.ending} while starting:\n{child.tail()}")
            if time.monotonic() > deadline:
                late = next(child for child in started if not child.ready)
                raise ChildFailed(
                    f"{late.program.name} was not ready within {_START_TIMEOUT_SECONDS:.0f} s:\n{late.tail()}"
                )
            self._wait(_START_TICK_SECONDS)
        return {child.program.name: child.ready_line for child in started}

    def amend(self, program: Program) -> None:
        """Says how a program of that name is to be restarted, if it ever is."""
        self._amended[program.name] = program

    def watch(self) -> None:
        """Restarts what dies, until a stop is requested.

        Raises:
            ChildFailed: a program dies again and again.
        """
        while not self._stops.count:
            for child in list(self._children.values()):
                if not child.alive and not self._stops.count:
                    self._restart(child)
            kernel.reap_orphans({child.pid for child in self._children.values()})
            self._wait(_TICK_SECONDS)

    def stop(self) -> None:
        """Stops the API and the workers, then the store; leaves no process. A second request kills them at once."""
        *users, store = reversed(self._children.values()) if self._children else (None,)
        patience = self._stops.count + 1
        self._end([child for child in users if child is not None], _STOP_SECONDS, patience)
        self._end([] if store is None else [store], _STORE_STOP_SECONDS, patience)
        for child in self._children.values():
            child.close()
        kernel.kill_children()

    def _launch(self, program: Program) -> Child:
        child = self._children[program.name] = Child(program, self._state.log_path(program.name))
        return child

    def _restart(self, child: Child) -> None:
        name, now = child.program.name, time.monotonic()
        child.close()
        recent = self._restarts.setdefault(name, deque())
        while recent and recent[0] < now - _RESTARTS_WITHIN_SECONDS:
            recent.popleft()
        if len(recent) >= _MOST_RESTARTS:
            raise ChildFailed(f"{name} {child.ending}, again and again; it is given up:\n{child.tail()}")
        recent.append(now)
        self._say(f"{name} {child.ending}; restarting it (its log: {child.log_path})")
        time.sleep(_TICK_SECONDS * len(recent))
        self._launch(self._amended.get(name, child.program))

    def _end(self, children: list[Child], seconds: float, patience: int) -> None:
        for child in children:
            child.signal(signal.SIGTERM)
            child.signal(signal.SIGCONT)  # a stopped process takes no SIGTERM
        deadline = time.monotonic() + seconds
        while any(child.alive for child in children):
            if time.monotonic() > deadline or self._stops.count > patience:
                for child in children:
                    child.signal(signal.SIGKILL)
                    child.wait(seconds)
            self._wait(_START_TICK_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Waits for output, a signal, or the time; copies output to the logs."""
        living = [child for child in self._children.values() if child.alive]
        readable, _, _ = select.select([child.fileno() for child in living] + [self._stops.fileno()], [], [], seconds)
        if self._stops.fileno() in readable:
            self._stops.clear()
        for child in living:
            if child.fileno() in readable and not child.read_output():
                time.sleep(_START_TICK_SECONDS)  # its output has ended, it is about to
