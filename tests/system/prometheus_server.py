"""A real Prometheus with the deployment's own configuration and rules, pointed at processes on loopback."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

START_TIMEOUT_SECONDS = 30.0
REQUEST_TIMEOUT_SECONDS = 10.0
INTERVAL = "1s"


class PrometheusApi:
    """What a Prometheus answers over HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ready(self) -> bool:
        """Whether it takes queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=REQUEST_TIMEOUT_SECONDS):
                return True
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError):
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer.

        Raises:
            RuntimeError: the answer is an error, for example of a query that cannot be parsed.
        """
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=REQUEST_TIMEOUT_SECONDS) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path} {parameters}: {error.read().decode()}") from error

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression yields now."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["result"]
        return result

    def value(self, expression: str) -> float | None:
        """The value of an expression with one series or none."""
        series = self.query(expression)
        return float(series[0]["value"][1]) if series else None

    def rules(self) -> list[dict[str, Any]]:
        """Every rule, with its health and when it was last evaluated."""
        return [rule for group in self.get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def health_by_job(self) -> dict[str, list[str]]:
        """``up``, ``down`` or ``unknown`` for each target of each job."""
        health: dict[str, list[str]] = {}
        for target in self.get("/api/v1/targets")["activeTargets"]:
            health.setdefault(target["labels"]["job"], []).append(target["health"])
        return health


class PrometheusServer(PrometheusApi):
    """A process of its own in a temporary folder; ``with`` stops it."""

    def __init__(self, binary: str, configuration: Path, port: int, targets: dict[str, list[str]]) -> None:
        """Start ``binary`` with ``configuration``, whose jobs scrape ``targets`` (HOST:PORT by job) every second."""
        super().__init__(f"http://127.0.0.1:{port}")
        with ExitStack() as cleanup:
            folder = Path(tempfile.mkdtemp(prefix="gradclinic-prometheus-"))
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            shutil.copytree(configuration.parent / "rules", folder / "rules")
            (folder / "prometheus.yml").write_text(_on_loopback(configuration, targets))
            command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
            log = cleanup.enter_context((folder / "log").open("wb"))
            self._process = subprocess.Popen(
                [*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=subprocess.STDOUT
            )
            cleanup.callback(self._stop)
            self._await_ready(folder / "log")
            self._cleanup = cleanup.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _await_ready(self, log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"prometheus did not start: {log.read_text()}")
            time.sleep(0.1)

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=START_TIMEOUT_SECONDS)


def _on_loopback(configuration: Path, targets: dict[str, list[str]]) -> str:
    """The configuration with short intervals, and with ``targets`` in place of what DNS would tell."""
    settings = yaml.safe_load(configuration.read_text())
    settings["global"] = {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL}
    settings["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": targets[job["job_name"]]}]}
        for job in settings["scrape_configs"]
        if job["job_name"] in targets
    ]
    text: str = yaml.safe_dump(settings)
    return text
