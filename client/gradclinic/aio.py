"""The asynchronous client. The blocking one is generated from it (`make client`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import grpc

from gradclinic import connection, outcome, translation, wire
from gradclinic.channels import open_async_channel
from gradclinic.errors import DeadlineExceeded, NotFound, ResultNotReady, ServerError
from gradclinic.forks import ForkGuard
from gradclinic.retry import Attempts, RetryPolicy, resumable
from gradclinic.submission import RequestOptions, Submission, prepare_async
from gradclinic.v1 import artifact_pb2, diagnosis_pb2, server_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from gradclinic.payloads import Payload
    from gradclinic.records import Diagnosis, Event, Page, ServerInfo
    from gradclinic.submission import Model

    Answer = TypeVar("Answer")


class AsyncClient:
    """Talks to a gradclinic service.

    A `Client` may be used by several threads, an `AsyncClient` by one event loop; neither survives a fork.
    """

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
        self._metadata = connection.call_metadata(token)
        self._on_upload = on_upload or wire.ignore_upload
        self._retry = RetryPolicy(timeout)
        self._present = wire.Present()
        self._guard = ForkGuard()
        self._service = open_async_channel(self.target, tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection; harmless when repeated."""
        self._retry.closed = True
        if not self._guard.crossed:
            await self._service.channel.close()

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
        submission = await prepare_async(model, inputs, options)
        for payload in submission.payloads:
            if payload not in self._present:
                await self._provide(payload)
        return AsyncHandle(self, await self._create(submission), submission.notes)

    async def get(self, id: str) -> Diagnosis:  # noqa: A002 - the contract's own word
        """Reads one diagnosis, finished or not."""
        request = diagnosis_pb2.GetDiagnosisRequest(id=id)
        return translation.diagnosis(await self._call(self._service.diagnoses.GetDiagnosis, request))

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
        return translation.page(await self._call(self._service.diagnoses.ListDiagnoses, request))

    async def watch(self, id: str, *, after_revision: int = 0, timeout: float | None = None) -> AsyncIterator[Event]:  # noqa: A002, ASYNC109 - bounds calls, not a block
        """Yields every change of a diagnosis, also over broken connections; the last one carries the diagnosis.

        Nothing where it had ended at ``after_revision``.

        Raises:
            DeadlineExceeded: not finished within ``timeout`` seconds.
        """
        self._guard.check()
        attempts = self._retry.watch(timeout)
        seen = after_revision
        while True:
            request = diagnosis_pb2.WatchDiagnosisRequest(id=id, after_revision=seen)
            seconds = attempts.deadline.remaining_seconds(wire.LONGEST_STREAM_SECONDS)
            stream = self._service.diagnoses.WatchDiagnosis(request, timeout=seconds, metadata=self._metadata)
            try:
                async for message in stream:
                    attempts.came_through()
                    seen = max(seen, message.revision)
                    event = translation.event(message)
                    yield event
                    if event.diagnosis is not None:
                        return
                if (await self.get(id)).finished:  # at ``after_revision`` or before
                    return
                error: ServerError = wire.stream_ended(self.target)
            except grpc.RpcError as rpc_error:
                error = connection.server_error(rpc_error, self.target)
                if attempts.deadline.passed:
                    raise error from rpc_error
            finally:
                stream.cancel()
            await asyncio.sleep(attempts.pause_seconds(resumable(error)))

    async def cancel(self, id: str) -> Diagnosis:  # noqa: A002
        """Cancels a diagnosis; a finished one is left as it is."""
        request = diagnosis_pb2.CancelDiagnosisRequest(id=id)
        return translation.diagnosis(await self._call(self._service.diagnoses.CancelDiagnosis, request))

    async def delete(self, id: str) -> None:  # noqa: A002
        """Deletes a finished diagnosis; one that is not found after a failed attempt counts as deleted."""
        request = diagnosis_pb2.DeleteDiagnosisRequest(id=id)
        attempts = self._retry.call()
        try:
            await self._call(self._service.diagnoses.DeleteDiagnosis, request, attempts)
        except NotFound:
            if not attempts.failed:
                raise

    async def server_info(self) -> ServerInfo:
        """Reads what the server is and can do."""
        request = server_pb2.GetServerInfoRequest()
        return translation.server_info(await self._call(self._service.server.GetServerInfo, request))

    async def _call(self, method: wire.AsyncMethod[Answer], request: Any, attempts: Attempts | None = None) -> Answer:
        self._guard.check()
        attempts = attempts or self._retry.call()
        while True:
            seconds = attempts.deadline.remaining_seconds(self._retry.timeout_seconds)
            try:
                answer = await method(request, timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                pause = attempts.pause_seconds(connection.server_error(rpc_error, self.target))
            else:
                attempts.came_through()
                return answer
            await asyncio.sleep(pause)

    async def _create(self, submission: Submission, tries: int = wire.MOST_CREATE_TRIES) -> Diagnosis:
        """Creates the diagnosis; an artifact that expired or was deleted since it was checked is sent again."""
        try:
            answer = await self._call(self._service.diagnoses.CreateDiagnosis, submission.request)
        except ServerError as error:
            if tries == 1 or not self._present.denied_by(error):
                raise
        else:
            return translation.diagnosis(answer)
        for payload in submission.payloads:
            await self._provide(payload)
        return await self._create(submission, tries - 1)

    async def _provide(self, payload: Payload) -> None:
        """Sees to it that the service has the payload, sending what it lacks, also over broken connections."""
        attempts = self._retry.upload()
        furthest_bytes = 0
        while (offset_bytes := await self._missing_from(payload)) is not None:
            if offset_bytes > furthest_bytes:
                furthest_bytes = offset_bytes
                attempts.came_through()
            sending = wire.Sending(payload, offset_bytes, self._on_upload)
            seconds = wire.upload_seconds(payload, self._retry.timeout_seconds)
            try:
                await self._service.artifacts.UploadArtifact(aiter(sending), timeout=seconds, metadata=self._metadata)
            except grpc.RpcError as rpc_error:
                sending.check()
                await asyncio.sleep(attempts.pause_seconds(wire.upload_error(rpc_error, self.target)))
            else:
                break
        self._present.add(payload)

    async def _missing_from(self, payload: Payload) -> int | None:
        """From which byte on the service lacks the payload; None: it has it."""
        request = artifact_pb2.GetArtifactRequest(sha256=payload.sha256)
        try:
            await self._call(self._service.artifacts.GetArtifact, request)
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

    async def watch(self, timeout: float | None = None) -> AsyncIterator[Event]:  # noqa: ASYNC109 - as above
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

    async def result(self, timeout: float | None = None) -> Diagnosis:  # noqa: ASYNC109 - as above
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
