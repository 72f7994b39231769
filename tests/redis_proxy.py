"""A TCP proxy in front of a Redis that tests start: it holds, delays and loses what passes, on command."""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self

PIECE_BYTES = 1 << 16
HOLD_LIMIT_SECONDS = 60.0
_NO_SUCH_SCRIPT = b"-NOSCRIPT"  # the first answer of a new server: the caller sends the script's text next


class Fate(enum.Enum):
    """What becomes of a command."""

    HOLD_COMMAND = "held on its way to Redis"
    HOLD_ANSWER = "executed, its answer held"
    LOSE_COMMAND = "lost on its way to Redis; the connection breaks"
    LOSE_ANSWER = "executed, its answer lost; the connection breaks"


@dataclass(slots=True)
class Trap:
    """Waits for commands that contain a mark; `sprung` is set at the first one, and those held go on at `release`."""

    mark: bytes
    fate: Fate
    times: int = 1  # so many commands, then it is spent
    sprung: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let go what is held, and catch nothing more."""
        self.times = 0
        self.released.set()


class RedisProxy:
    """Listens on a loopback port of its own and forwards to another one."""

    def __init__(self, port: int) -> None:
        """Forward to ``port``, where a server may come and go."""
        self.delay_seconds = 0.0  # of every piece on its way to Redis
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._traps: list[Trap] = []
        self._links: set[_Link] = set()
        self._whole = threading.Event()
        self._whole.set()
        self._lock = threading.Lock()
        self._closed = False
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """URL of this proxy."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def trap(self, mark: bytes, fate: Fate, times: int = 1) -> Trap:
        """Set a trap for commands that contain ``mark``."""
        trap = Trap(mark, fate, times)
        with self._lock:
            self._traps.append(trap)
        return trap

    def part(self) -> None:
        """Let nothing pass any more, without a word: a network that is cut."""
        self._whole.clear()

    def mend(self) -> None:
        """Let everything pass again; what was under way arrives late."""
        self._whole.set()

    def break_links(self) -> None:
        """Close every connection."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._closed = True
        self._whole.set()
        with self._lock:
            for trap in self._traps:
                trap.release()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_links()

    def __enter__(self) -> Self:
        """Give the running proxy."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def caught(self, piece: bytes) -> Trap | None:
        """Return the trap that a piece of a connection springs, if any."""
        with self._lock:
            for trap in self._traps:
                if trap.times > 0 and trap.mark in piece:
                    trap.times -= 1
                    return trap
        return None

    def pass_through(self) -> None:
        """Wait where the network is cut or slow."""
        self._whole.wait()
        if self.delay_seconds:
            time.sleep(self.delay_seconds)

    def forget(self, link: _Link) -> None:
        """Drop a connection that has ended."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while not self._closed:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            link = _Link(self, caller)
            with self._lock:
                self._links.add(link)
            threading.Thread(target=link.connect_and_send, args=(self._target,), name="proxy-link", daemon=True).start()


class _Link:
    """One connection through the proxy: a thread for each direction."""

    def __init__(self, proxy: RedisProxy, caller: socket.socket) -> None:
        self._proxy = proxy
        self._caller = caller
        self._server: socket.socket | None = None
        self._awaited: Trap | None = None  # decides about the next answer

    def connect_and_send(self, target: tuple[str, int]) -> None:
        """Forward what the caller sends, until either side goes."""
        try:
            self._proxy.pass_through()
            server = self._server = socket.create_connection(target, timeout=5.0)
            server.settimeout(None)
            for end in (self._caller, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._answer, args=(server,), name="proxy-answers", daemon=True).start()
            self._send(server)
        except OSError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._proxy.forget(self)
        for end in (self._caller, self._server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _send(self, server: socket.socket) -> None:
        while piece := self._caller.recv(PIECE_BYTES):
            trap = self._proxy.caught(piece)
            if trap is not None:
                if trap.fate is Fate.LOSE_COMMAND:
                    trap.sprung.set()
                    return
                if trap.fate is Fate.HOLD_COMMAND:
                    trap.sprung.set()
                    trap.released.wait(HOLD_LIMIT_SECONDS)
                else:
                    self._awaited = trap
            self._proxy.pass_through()
            server.sendall(piece)

    def _answer(self, server: socket.socket) -> None:
        try:
            while piece := server.recv(PIECE_BYTES):
                trap, self._awaited = self._awaited, None
                if trap is not None and piece.startswith(_NO_SUCH_SCRIPT):
                    trap.times += 1
                elif trap is not None:
                    trap.sprung.set()
                    if trap.fate is Fate.LOSE_ANSWER:
                        return
                    trap.released.wait(HOLD_LIMIT_SECONDS)
                self._proxy.pass_through()
                self._caller.sendall(piece)
        except OSError:
            pass
        finally:
            self.close()
