"""The commands that the pages of docs/operations show, and Redis with the accounts of deploy/ to run them against."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from real_redis import RedisServer

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "operations"
REDIS_FILES = ROOT / "deploy" / "redis"
PASSWORD = "of-the-operator"
REDIS_CLI = "redis-cli"


def commands(page: str, heading: str = "") -> list[str]:
    """Return the lines of a page's `sh` blocks, those below one heading or all; without comments."""
    text = (PAGES / page).read_text(encoding="utf-8")
    if heading:
        text = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def accounts() -> dict[str, list[str]]:
    """Return the rules of each account that deploy/redis/start.sh makes."""
    made = Path("/tmp/users.acl")
    script = (REDIS_FILES / "start.sh").read_text(encoding="utf-8")
    script = script.partition("exec redis-server")[0].replace(str(made), "/dev/stdout")
    passwords = {f"GRADCLINIC_{role}_PASSWORD": PASSWORD for role in ("SERVICE", "WORKER", "OPERATOR")}
    lines = subprocess.run(["sh", "-c", script], env=os.environ | passwords, capture_output=True, text=True, check=True)
    return {name: rules for _, name, *rules in map(str.split, lines.stdout.splitlines())}


def give_accounts(server: RedisServer) -> None:
    """Make the accounts on a running server; `default` stays on, for the fixtures."""
    client: Any = redis.Redis.from_url(server.url)
    for name, rules in accounts().items():
        if name != "default":
            client.execute_command("ACL", "SETUSER", name, *rules)
    client.close()


class Operator:
    """Who runs the commands of a page in the directory of one server."""

    def __init__(self, server: RedisServer, **variables: str) -> None:
        self._server = server
        self._variables = {"OPERATOR_PASSWORD": PASSWORD, **variables}
        self._client: Any = redis.Redis(
            host="127.0.0.1", port=server.port, username="operator", password=PASSWORD, decode_responses=True
        )

    def run(self, line: str) -> Any:
        """Run one line; `redis-cli` is this client, anything else the shell."""
        words = shlex.split(line, comments=True)
        if words[0] != REDIS_CLI:
            subprocess.run(
                ["sh", "-ec", line], cwd=self._server.directory, env=os.environ | self._variables, check=True
            )
            return None
        return self._client.execute_command(*(self._filled(word) for word in words[1:]))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _filled(self, word: str) -> str:
        return re.sub(r"\$(\w+)", lambda name: self._variables[name.group(1)], word)
