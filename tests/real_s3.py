"""A real S3-compatible server that tests start, stop and start again on the same files."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import s3fs

WEED = Path(sys.executable).parent / "weed"
START_TIMEOUT_SECONDS = 30.0
STOP_TIMEOUT_SECONDS = 10.0
BUCKET = "gradclinic"
PORTS = (
    *("s3.port", "s3.port.grpc", "s3.port.iceberg", "s3.port.lance"),
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"),
)


class S3Server:
    """A `weed server` with an S3 gateway in a directory of its own, on loopback ports of its own."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.gettempdir()) / f"gradclinic-s3-{uuid.uuid4().hex}"
        self._ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What `--blob-url` takes."""
        return f"s3://{BUCKET}/blobs"

    @property
    def environment(self) -> dict[str, str]:
        """What tells any S3 client of this machine where the server is and who asks."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._ports['s3.port']}",
            "AWS_ACCESS_KEY_ID": "gradclinic",
            "AWS_SECRET_ACCESS_KEY": "gradclinic-secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    @property
    def pids(self) -> set[int]:
        """Its process id, while it was started."""
        return set() if self._process is None else {self._process.pid}

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        command = [
            *(str(WEED), "server", f"-dir={self.directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *("-s3", "-s3.autoCreateBucket", "-master.telemetry=false", "-master.volumeSizeLimitMB=256"),
            *(f"-filer.localSocket={self.directory}/filer", f"-s3.localSocket={self.directory}/s3"),
            *(f"-{name}={port}" for name, port in self._ports.items()),
        ]
        with (self.directory / "weed.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.directory)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._takes_bytes():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weed did not start: {(self.directory / 'weed.log').read_text()}")
            time.sleep(0.1)

    def stop(self, signum: signal.Signals = signal.SIGKILL) -> None:
        """End it; its files stay."""
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(timeout=STOP_TIMEOUT_SECONDS)
            self._process = None

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(signum)

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it and drop its files."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _takes_bytes(self) -> bool:
        """Whether an object can be written, which takes all of its parts."""
        filesystem = s3fs.S3FileSystem(
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            key=self.environment["AWS_ACCESS_KEY_ID"],
            secret=self.environment["AWS_SECRET_ACCESS_KEY"],
            config_kwargs={"connect_timeout": 1, "read_timeout": 2, "retries": {"total_max_attempts": 1}},
            skip_instance_cache=True,
        )
        filesystem.retries = 1
        try:
            filesystem.pipe_file(f"{BUCKET}/ready", b"ready")
        except Exception:  # noqa: BLE001 - it raises whatever its many libraries do; all of them mean: not yet
            return False
        return True


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
