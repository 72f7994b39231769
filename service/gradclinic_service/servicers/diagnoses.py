"""DiagnosisService: requests in, diagnoses out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.empty_pb2 import Empty

from gradclinic.v1 import diagnosis_pb2, diagnosis_pb2_grpc
from gradclinic_service.attachments import missing, require_kinds
from gradclinic_service.errors import require
from gradclinic_service.identity import caller
from gradclinic_service.threads import Turns
from gradclinic_service.validation.fields import id_violations
from gradclinic_service.validation.requests import (
    create_violations,
    get_violations,
    list_violations,
    watch_violations,
)
from gradclinic_store.errors import ArtifactNotFound
from gradclinic_store.events import FINAL_STATES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gradclinic_service.answers import AnswerRoom
    from gradclinic_service.boundary import Context
    from gradclinic_service.drain import Drain
    from gradclinic_service.threads import StoreThreads
    from gradclinic_store import Store, TenantStore

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
WATCHES_BEGUN_AT_ONCE = 8  # of a tenant: each connects to Redis, and a thousand at once would hold up all calls


class DiagnosisServicer(diagnosis_pb2_grpc.DiagnosisServiceServicer):
    """Accepts diagnoses and tells how they go."""

    def __init__(
        self, store: Store, threads: StoreThreads, room: AnswerRoom, run_limit_seconds: float, drain: Drain
    ) -> None:
        self._store = store
        self._threads = threads
        self._room = room
        self._beginnings = Turns(WATCHES_BEGUN_AT_ONCE)
        self._run_limit_seconds = run_limit_seconds
        self._drain = drain

    async def CreateDiagnosis(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.CreateDiagnosisRequest,
        context: Context,
    ) -> diagnosis_pb2.Diagnosis:
        """Queues a diagnosis, or answers with the one that the same request id made before."""
        require(create_violations(request, run_limit_seconds=self._run_limit_seconds))
        await self._room.enter(context)
        return await self._threads.run(_create, self._mine(), request)

    def _mine(self) -> TenantStore:
        """What the caller's tenant has."""
        return self._store.of(caller().tenant)

    async def GetDiagnosis(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.GetDiagnosisRequest,
        context: Context,
    ) -> diagnosis_pb2.Diagnosis:
        """Reads one diagnosis."""
        require(get_violations(request))
        await self._room.enter(context)
        full = request.view != diagnosis_pb2.DIAGNOSIS_VIEW_BASIC
        return await self._threads.run(self._mine().diagnoses.get, request.id, full=full)

    async def WatchDiagnosis(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.WatchDiagnosisRequest,
        context: Context,
    ) -> AsyncIterator[diagnosis_pb2.DiagnosisEvent]:
        """Streams the changes of one diagnosis until it is final."""
        require(watch_violations(request))
        mine = self._mine()
        events = mine.events.follow(request.id, request.after_revision, self._beginnings.of_caller())
        async for event in self._drain.until(events):
            if event.state in FINAL_STATES:
                await self._room.enter(context)
                event.diagnosis.CopyFrom(await self._threads.run(mine.diagnoses.get, request.id))
            yield event

    async def ListDiagnoses(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.ListDiagnosesRequest,
        context: Context,
    ) -> diagnosis_pb2.ListDiagnosesResponse:
        """Reads a page of diagnoses, newest first."""
        require(list_violations(request))
        size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        await self._room.enter(context)
        page, token = await self._threads.run(self._mine().diagnoses.page, request.filter, size, request.page_token)
        return diagnosis_pb2.ListDiagnosesResponse(diagnoses=page, next_page_token=token)

    async def CancelDiagnosis(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.CancelDiagnosisRequest,
        context: Context,
    ) -> diagnosis_pb2.Diagnosis:
        """Cancels a diagnosis; a finished one is left as it is."""
        require(id_violations("id", request.id))
        await self._room.enter(context)
        return await self._threads.run(self._mine().diagnoses.cancel, request.id)

    async def DeleteDiagnosis(  # noqa: N802, gRPC's name
        self,
        request: diagnosis_pb2.DeleteDiagnosisRequest,
        context: Context,  # noqa: ARG002, gRPC passes it
    ) -> Empty:
        """Deletes a finished diagnosis."""
        require(id_violations("id", request.id))
        await self._threads.run(self._mine().diagnoses.delete, request.id)
        return Empty()


def _create(mine: TenantStore, request: diagnosis_pb2.CreateDiagnosisRequest) -> diagnosis_pb2.Diagnosis:
    spec = normalised(request.spec)
    require_kinds(mine.artifacts, spec)
    try:
        diagnosis, _ = mine.diagnoses.create(
            spec, request.request_id, allow_reuse=request.allow_reuse, wait_for_device=request.wait_for_device
        )
    except ArtifactNotFound as error:
        raise missing(spec, error.sha256) from error
    return diagnosis


def normalised(spec: diagnosis_pb2.DiagnosisSpec) -> diagnosis_pb2.DiagnosisSpec:
    """The same request with its defaults filled in, so that the record says what was done."""
    whole = diagnosis_pb2.DiagnosisSpec()
    whole.CopyFrom(spec)
    whole.depth = spec.depth or diagnosis_pb2.DEPTH_STANDARD
    if whole.loss.WhichOneof("kind") is None:
        whole.loss.random_projection.SetInParent()
    return whole
