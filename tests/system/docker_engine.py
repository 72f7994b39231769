"""A Docker engine for tests: the one that is running, else one started for this run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

START_TIMEOUT_SECONDS = 60.0
SCRIPTS = Path(__file__).parent
ROOT = Path(__file__).parents[2]


class NoEngineError(Exception):
    """There is no Docker engine, and none can be started."""


class DockerEngine:
    """Runs `docker` against an engine; ``with`` stops the engine again if it was started here."""

    def __init__(self) -> None:
        """Find or start one.

        Raises:
            NoEngineError: neither is possible; says what to install.
        """
        self._environment = dict(os.environ)
        with ExitStack() as cleanup:
            if not self._answers():
                self._start(cleanup)
            self._cleanup = cleanup.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def run(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``docker *arguments``, by default as something that has to succeed."""
        return self._call(["docker", *arguments], check=check, environment=environment)

    def prepare_builds(self) -> None:
        """Make sure of the base images and of the wheels that the builds take, as far as they are absent."""
        # Left from run to run, since making them takes a minute; the engine's own images stay too.
        folder = Path(tempfile.gettempdir()) / "gradclinic-images"
        self._call(["sh", str(SCRIPTS / "images.sh"), str(folder)])
        # The stand-in for the Python image is of an older patch level than ours, to which redis adds a requirement.
        self._call([str(ROOT / "deploy" / "wheelhouse.sh"), "async-timeout"])

    def _call(
        self, command: list[str], *, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=self._environment | (environment or {})
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
        return done

    def _answers(self) -> bool:
        return bool(shutil.which("docker")) and self.run("version", check=False).returncode == 0

    def _start(self, cleanup: ExitStack) -> None:
        if not shutil.which("dockerd") or not shutil.which("docker") or os.geteuid() != 0:
            raise NoEngineError("no Docker engine answers: start one, or as root run tests/system/install.sh")
        folder = Path(tempfile.mkdtemp(prefix="gradclinic-docker-"))
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        self._environment["DOCKER_HOST"] = host = f"unix://{folder}/docker.sock"
        command = ["dockerd", "--host", host, "--pidfile", f"{folder}/pid", "--exec-root", f"{folder}/run"]
        command += ["--data-root", str(Path(tempfile.gettempdir()) / "gradclinic-docker")]
        log = cleanup.enter_context((folder / "log").open("wb"))
        engine = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        cleanup.callback(engine.wait, timeout=START_TIMEOUT_SECONDS)
        cleanup.callback(engine.terminate)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._answers():
            if engine.poll() is not None or time.monotonic() > deadline:
                raise NoEngineError(f"dockerd did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
