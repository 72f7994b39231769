"""A real worker process tree whose executors run test bodies, and a client of its store: for tests that kill things."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
import psutil

from gradclinic.v1 import artifact_pb2, diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_worker.command import settings_from, work
from gradclinic_worker.process.main_process import MainProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

ZYGOTE_COMMAND = (sys.executable, str(Path(__file__).with_name("executor_bodies.py")))  # not imported: it needs torch
READY_TIMEOUT_SECONDS = 60.0
MODEL = b"a model" * 1000
INPUTS = b"some inputs"
FINAL_STATES = frozenset(
    {
        diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED,
        diagnosis_pb2.DIAGNOSIS_STATE_FAILED,
        diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED,
        diagnosis_pb2.DIAGNOSIS_STATE_EXPIRED,
    }
)


class RealWorker:
    """One worker, with its own log, and the store it works for."""

    def __init__(
        self, redis_url: str, *options: str, blob_url: str = "", command: tuple[str, ...] = (sys.executable, __file__)
    ) -> None:
        """Start it and wait until it is ready; options as of `gradclinic work`, which ``command`` may also be."""
        self.directory = tempfile.TemporaryDirectory(prefix="gradclinic-test-")
        self.log_path = Path(self.directory.name) / "work.log"
        # Most bodies run as the same model; one that crashes must not quarantine the others.
        self.store = Store.connect(StoreSettings(redis_url=redis_url, blob_url=blob_url, quarantine_seconds=0))
        with self.log_path.open("wb") as log:
            self.process = psutil.Popen(
                [
                    *command,
                    "--redis",
                    redis_url,
                    "--blob-url",
                    blob_url,
                    "--metrics-listen",
                    "",
                    "--threads",
                    "1",
                    "--quarantine",
                    "0",
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.await_true(lambda: "gradclinic worker ready on" in self.log, READY_TIMEOUT_SECONDS)

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.log_path.read_text(errors="replace")

    def create(self, spec: diagnosis_pb2.DiagnosisSpec) -> str:
        """Queue a diagnosis for this worker; returns its id."""
        diagnosis, _ = self.store.diagnoses.create(spec, queue="gradclinic:cpu")
        return diagnosis.id

    def submit(self, body: str, *, timeout_seconds: int = 60, device: str = "", seed: int = 0) -> str:
        """Queue a diagnosis whose executor runs a body; returns its id."""
        spec = diagnosis_pb2.DiagnosisSpec(
            model_sha256=self.upload(MODEL),
            inputs_sha256=self.upload(INPUTS),
            labels={"body": body},
            device=device,
            seed=seed,
        )
        spec.timeout.FromSeconds(timeout_seconds)
        return self.create(spec)

    def upload(self, content: bytes) -> str:
        """Store an artifact; returns its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        declaration = artifact_pb2.ArtifactDeclaration(
            kind=artifact_pb2.ARTIFACT_KIND_MODEL,
            format=artifact_pb2.ARTIFACT_FORMAT_TORCHSCRIPT,
            size_bytes=len(content),
            sha256=sha256,
        )
        if self.store.artifacts.stat(sha256) is None:
            with self.store.artifacts.upload(declaration) as upload:
                upload.write(0, content)
                upload.finish()
        return sha256

    def get(self, diagnosis_id: str) -> diagnosis_pb2.Diagnosis:
        """How a diagnosis stands; the reaper is run as the service would."""
        self.store.diagnoses.reap()
        return self.store.diagnoses.get(diagnosis_id)

    def final(self, diagnosis_id: str, timeout_seconds: float = 30.0) -> diagnosis_pb2.Diagnosis:
        """Wait until a diagnosis is finished."""
        self.await_true(lambda: self.get(diagnosis_id).state in FINAL_STATES, timeout_seconds)
        return self.get(diagnosis_id)

    def await_stage(self, diagnosis_id: str, stage: diagnosis_pb2.DiagnosisStage.ValueType) -> None:
        """Wait until a running diagnosis is in a stage."""
        self.await_true(lambda: self.get(diagnosis_id).stage == stage, 30.0)

    def await_true(self, condition: Callable[[], bool], timeout_seconds: float) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not happen in {timeout_seconds} s: {self.log}")
            time.sleep(0.02)

    def tree(self) -> list[psutil.Process]:
        """Every process of the worker, the main process first."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def child(self, module: str) -> psutil.Process:
        """The child of the main process that runs a module of the worker, or the zygote of this test."""
        for child in psutil.Process(self.process.pid).children():
            if any(module in argument for argument in child.cmdline()):
                return child
        raise LookupError(module)

    def zygote(self) -> psutil.Process:
        """The zygote."""
        return self.child("executor_bodies")

    def queue(self) -> psutil.Process:
        """The queue process."""
        return self.child("queue_process")

    def horse(self) -> psutil.Process:
        """The supervisor of the running job."""
        (horse,) = self.queue().children()
        return horse

    def executor(self) -> psutil.Process:
        """The executor of the running job: older than the spare that was forked in its place."""
        return min(self.zygote().children(), key=lambda one: one.create_time())

    def stop(self) -> int:
        """End it by SIGTERM and return its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        status: int = self.process.wait(60.0)
        return status

    def __enter__(self) -> Self:
        """Give the running worker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.store.close()
        self.directory.cleanup()


def main() -> None:
    """Run a worker as `gradclinic work` does, but for the zygote's bodies."""
    values = work.make_context("work", sys.argv[1:]).params
    logging.basicConfig(level="INFO")
    settings = settings_from(values)
    MainProcess(settings, lambda device: click.echo(f"gradclinic worker ready on {device}"), ZYGOTE_COMMAND).run()


if __name__ == "__main__":
    main()
