"""The asynchronous client: the same methods as the blocking one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

import grpc
import grpc.aio

from gradclinic import connection, outcome, translation, wire
from gradclinic.errors import DeadlineExceeded, NotFound, ResultNotReady, ServerError
from gradclinic.forks import ForkGuard
from gradclinic.retry import WATCH_OUTAGE_SECONDS, Backoff, Deadline, resumable
from gradclinic.submission import RequestOptions, Submission, prepare
from gradclinic.v1 import (
    artifact_pb2,
    artifact_pb2_grpc,
    diagnosis_pb2,
    diagnosis_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from gradclinic.payloads import Payload
    from gradclinic.records import Diagnosis, Event, Page, ServerInfo
    from gradclinic.submission import Model

    Answer = TypeVar("Answer")


class AsyncClient:
    """Talks to a gradclinic service. Belongs to one event loop; does not survive a fork."""

    def __init__(
        self,
        target: str | None = None,
        *,
        tls: connection.Tls | None = None,
        token: str | None = None,
        timeout: float = connection.DEFAULT_TIMEOUT_SECONDS,
        on_upload: wire.UploadListener | None = None,
    ) -> None:
        """Connects lazily, with the first call.

        Args:
            target: HOST:PORT; default: GRADCLINIC_TARGET, else localhost:50051.
            tls: True (public roots), a PEM file with root certificates, `TlsFiles` where the service asks for a
                client certificate, gRPC channel credentials, or False (plain text); default: what
                GRADCLINIC_TLS_ROOTS, _CLIENT_CERTIFICATE and _CLIENT_KEY name, else plain text.
            token: sent as bearer token with every call; default: GRADCLINIC_TOKEN, else none is sent.
            timeout: seconds that one call may take, retries included; uploads get more by their size.
            on_upload: called as (name, sent bytes, total bytes) while an artifact is sent.
        """
        self.target = connection.resolved_target(target)
        self._timeout_seconds = timeout
        self._metadata = connection.call_metadata(token)
        self._on_upload = on_upload or wire.ignore_upload
        self._present = wire.Present()
        self._guard = ForkGuard()
        secure = connection.credentials(tls)
        options = connection.CHANNEL_OPTIONS
        self._channel = (
            grpc.aio.secure_channel(self.target, secure, options=options)
            if secure
            else grpc.aio.insecure_channel(self.target, options=options)
        )
        # The generated stubs are the same classes; only their types know which channel they got.
        self._artifacts = cast(
            "artifact_pb2_grpc.ArtifactServiceAsyncStub", artifact_pb2_grpc.ArtifactServiceStub(self._channel)
        )
        self._diagnoses = cast(
            "diagnosis_pb2_grpc.DiagnosisServiceAsyncStub", diagnosis_pb2_grpc.DiagnosisServiceStub(self._channel)
        )
        self._server = cast("server_pb2_grpc.ServerServiceAsyncStub", server_pb2_grpc.ServerServiceStub(self._channel))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; harmless when repeated."""
        if not self._guard.crossed:
            await self._channel.close()

    async def diagnose(
        self, model: Model, inputs: object, *, wait: float | None = None, **options: Unpack[RequestOptions]
    ) -> Diagnosis:
        """Submits a diagnosis and waits for it.

        Args:
            model: a TorchScript file, its bytes, a ScriptModule or an nn.Module.
            inputs: a tensor, a sequence (positional), a mapping (keywords), or a .safetensors file.
            wait: seconds to wait for the result; None: until there is one.
            options: see RequestOptions.

        Raises:
            DiagnosisFailed: there is no result; says why.
            ResultNotReady: not within ``wait``.
        """
        handle = await self.submit(model, inputs, **options)
        return await handle.result(wait)

    async def submit(self, model: Model, inputs: object, **options: Unpack[RequestOptions]) -> AsyncHandle:
        """Uploads what the service does not have yet and queues a diagnosis; see diagnose."""
        self._guard.check()
        submission = await asyncio.to_thread(prepare, model, inputs, options)
        for payload in submission.payloads:
            if payload not in self._present:
                await self._provide(payload)
        return AsyncHandle(self, await self._create(submission), submission.notes)

    async def get(self, id: str) -> Diagnosis:  # noqa: A002 - the contract's own word
        """Reads one diagnosis, finished or not."""
        request = diagnosis_pb2.GetDiagnosisRequest(id=id)
        return translation.diagnosis(await self._call(self._diagnoses.GetDiagnosis, request))

    async def list(  # noqa: PLR0913 - one per field of the filter
        self,
        *,
        run: str | None = None,
        labels: Mapping[str, str] | None = None,
        state: str | None = None,
        verdict: str | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page:
        """Reads a page of diagnoses, newest first, that match everything that is given."""
        request = wire.list_request(
            run=run, labels=labels, state=state, verdict=verdict, page_size=page_size, page_token=page_token
        )
        return translation.page(await self._call(self._diagnoses.ListDiagnoses, request))

    async def watch(self, id: str, *, after_revision: int = 0, timeout: float | None = None) -> AsyncIterator[Event]:  # noqa: A002, ASYNC109 - bounds calls, not a block
        """Yields every change of a diagnosis, also over broken connections; the last one carries the diagnosis.

        Raises:
            DeadlineExceeded: not finished within ``timeout`` seconds.
        """
        self._guard.check()
        deadline = Deadline(timeout)
        backoff = Backoff(deadline, self._timeout_seconds)
        seen = after_revision
        while True:
            request = diagnosis_pb2.WatchDiagnosisRequest(id=id, after_revision=seen)
            seconds = deadline.remaining_seconds(wire.LONGEST_STREAM_SECONDS)
            stream = self._diagnoses.WatchDiagnosis(request, timeout=seconds, metadata=self._metadata)
            try:
                async for message in stream:
                    backoff.restart(WATCH_OUTAGE_SECONDS)
                    seen = max(seen, message.revision)
                    event = translation.event(message)
                    yield event
                    if event.diagnosis is not None:
                        return
                error: ServerError = wire.stream_ended(self.target)
            except grpc.RpcError as rpc_error:
                error = connection.server_error(rpc_error, self.target)
                if deadline.passed:
                    raise error from rpc_error
            finally:
                stream.cancel()
            await asyncio.sleep(backoff.pause_seconds(resumable(error)))

    async def cancel(self, id: str) -> Diagnosis:  # noqa: A002
        """Cancels a diagnosis; a finished one is left as it is."""
        request = diagnosis_pb2.CancelDiagnosisRequest(id=id)
        return translation.diagnosis(await self._call(self._diagnoses.CancelDiagnosis, request))

    async def delete(self, id: str) -> None:  # noqa: A002
        """Deletes a finished diagnosis. Not retried: a repeated delete would find nothing."""
        await self._call(self._diagnoses.DeleteDiagnosis, diagnosis_pb2.DeleteDiagnosisRequest(id=id), idempotent=False)

    async def server_info(self) -> ServerInfo:
        """Reads what the server is and can do."""
        return translation.server_info(await self._call(self._server.GetServerInfo, server_pb2.GetServerInfoRequest()))

    async def _call(self, method: Callable[..., Awaitable[Answer]], request: Any, *, idempotent: bool = True) -> Answer:
        self._guard.check()
        deadline = Deadline(self._timeout_seconds)
        backoff = Backoff(deadline, self._timeout_seconds)
        while True:
            try:
                seconds = deadline.remaining_seconds(self._timeout_seconds)
                return await method(request, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                error = connection.server_error(rpc_error, self.target)
                if not idempotent:
                    raise error from rpc_error
                pause = backoff.pause_seconds(error)
            await asyncio.sleep(pause)

    async def _create(self, submission: Submission) -> Diagnosis:
        """Creates the diagnosis; an artifact that expired since it was checked is sent again, once."""
        try:
            answer = await self._call(self._diagnoses.CreateDiagnosis, submission.request)
        except ServerError as error:
            if not self._present.denied_by(error):
                raise
            for payload in submission.payloads:
                await self._provide(payload)
            answer = await self._call(self._diagnoses.CreateDiagnosis, submission.request)
        return translation.diagnosis(answer)

    async def _provide(self, payload: Payload) -> None:
        """Sees to it that the service has the payload, sending what it lacks, also over broken connections."""
        backoff = Backoff(Deadline(None), self._timeout_seconds)
        furthest_bytes = 0
        while (offset_bytes := await self._missing_from(payload)) is not None:
            if offset_bytes > furthest_bytes:
                furthest_bytes = offset_bytes
                backoff.restart()
            sending = wire.Sending(payload, offset_bytes, self._on_upload)
            try:
                await self._artifacts.UploadArtifact(
                    aiter(sending), timeout=wire.upload_seconds(payload, self._timeout_seconds), metadata=self._metadata
                )
            except grpc.RpcError as rpc_error:
                sending.check()
                await asyncio.sleep(backoff.pause_seconds(wire.upload_error(rpc_error, self.target)))
            else:
                break
        self._present.add(payload)

    async def _missing_from(self, payload: Payload) -> int | None:
        """From which byte on the service lacks the payload; None: it has it."""
        try:
            await self._call(self._artifacts.GetArtifact, artifact_pb2.GetArtifactRequest(sha256=payload.sha256))
        except NotFound as error:
            return wire.resume_offset(error, payload)
        return None


class AsyncHandle:
    """A diagnosis that was submitted."""

    def __init__(self, client: AsyncClient, diagnosis: Diagnosis, notes: tuple[str, ...] = ()) -> None:
        self._client = client
        self.diagnosis = diagnosis  # as last seen
        self.notes = notes  # what happened to the model on this side, for example that it was traced

    @property
    def id(self) -> str:
        """The diagnosis's id; any client can read it later."""
        return self.diagnosis.id

    async def watch(self, timeout: float | None = None) -> AsyncIterator[Event]:  # noqa: ASYNC109 - as in Handle
        """Yields every change; the last one carries the diagnosis.

        Raises:
            ResultNotReady: not finished within ``timeout`` seconds; the diagnosis goes on.
        """
        try:
            async for event in self._client.watch(self.id, timeout=timeout):
                self.diagnosis = outcome.after(self.diagnosis, event)
                yield event
        except DeadlineExceeded as error:
            if timeout is None:
                raise
            raise ResultNotReady(self.diagnosis, timeout) from error

    async def result(self, timeout: float | None = None) -> Diagnosis:  # noqa: ASYNC109 - as in Handle
        """Waits for the result.

        Raises:
            DiagnosisFailed, DiagnosisCancelled, DiagnosisExpired: there is none.
            ResultNotReady: not within ``timeout`` seconds; the diagnosis goes on.
        """
        if not self.diagnosis.finished:
            async for _ in self.watch(timeout):
                pass
        return outcome.settled(self.diagnosis, self.notes)

    async def cancel(self) -> Diagnosis:
        """Cancels the diagnosis; a finished one is left as it is."""
        self.diagnosis = await self._client.cancel(self.id)
        return self.diagnosis
