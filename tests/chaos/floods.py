"""Watches without number, and lists of fat diagnoses: neither takes what others need."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chaos.caller import Caller
from chaos.deployment import awaited
from chaos.ledger import Broken, Ledger
from chaos.oracles import check
from gradclinic.v1 import diagnosis_pb2, diagnosis_pb2_grpc, finding_pb2, flow_pb2

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from chaos.deployment import Deployment
    from gradclinic.v1.diagnosis_pb2 import Diagnosis

HEALTH_WATCHES = 2000
DIAGNOSIS_WATCHES = 2400
WATCHES_AT_ONCE = 300
CHANNELS = 8
ANSWERED_WITHIN_SECONDS = 10.0  # each of thousands of calls takes a millisecond or two to be turned away
FLOOD = ("--max-concurrent-watches", str(WATCHES_AT_ONCE))

FAT_TEXT_CHARACTERS = 68_000
FAT = 60  # failures
LARGE = 8  # results of about 3 MiB
LARGE_SITES = 20_000
LISTS_AT_ONCE = 32
GROWTH_BYTES = 256 << 20  # of the API meanwhile: room for 16 large answers, see gradclinic_service/answers.py
NO_WORKER = "gradclinic:cuda"


def watches(deployment: Deployment, ledger: Ledger) -> None:
    """Thousands of watches: health still answers, and so does everything else."""
    with Caller(deployment.target, ledger) as caller:
        watched = caller.create("endless")
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        for diagnosis_id, count in (("", HEALTH_WATCHES), (watched, DIAGNOSIS_WATCHES)):
            begun = context.Event()
            process = context.Process(target=hold_watches, args=(deployment.target, diagnosis_id, count, begun, stop))
            process.start()
            begun.wait(30.0)
            ledger.faults["watches at once"] += count
            slowest = max(_answer_seconds(deployment, caller, watched) for _ in range(50))
            ledger.details[f"slowest answer among {count:,} watches, seconds"] = round(slowest, 2)
            if slowest > ANSWERED_WITHIN_SECONDS:
                ledger.broke(Broken.LATE, f"an answer took {slowest:.1f} s among {count:,} watches")
            stop.set()
            process.join()
            stop.clear()
        caller.cancel(watched)
        caller.create("answer")
        check(deployment, caller, may_fail=True)


def _answer_seconds(deployment: Deployment, caller: Caller, diagnosis_id: str) -> float:
    began = time.monotonic()
    with grpc.insecure_channel(deployment.target) as channel:  # a probe brings a connection of its own
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20.0)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        caller.ledger.broke(Broken.UNCLEAR, f"health says {answer.status}")
    request = diagnosis_pb2.GetDiagnosisRequest(id=diagnosis_id)
    caller.diagnoses.GetDiagnosis(request, timeout=20.0)
    return time.monotonic() - began


def hold_watches(target: str, diagnosis_id: str, count: int, begun: Event, stop: Event) -> None:
    """Open so many watches, of health where no diagnosis is named; runs in a process of its own."""

    async def hold() -> None:
        channels = [
            grpc.aio.insecure_channel(target, options=(("grpc.use_local_subchannel_pool", 1),)) for _ in range(CHANNELS)
        ]

        async def watch(channel: grpc.aio.Channel) -> None:
            try:
                call: Any
                if diagnosis_id:
                    request = diagnosis_pb2.WatchDiagnosisRequest(id=diagnosis_id)
                    call = diagnosis_pb2_grpc.DiagnosisServiceStub(channel).WatchDiagnosis(request)
                else:
                    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                async for _ in call:
                    pass
            except grpc.aio.AioRpcError:
                return  # turned away

        held = [asyncio.ensure_future(watch(channels[number % CHANNELS])) for number in range(count)]
        await asyncio.sleep(0.2)
        begun.set()
        await asyncio.to_thread(stop.wait)
        for watching in held:
            watching.cancel()
        for channel in channels:
            await channel.close()

    asyncio.run(hold())


def fat(deployment: Deployment, ledger: Ledger) -> None:
    """Failures with endless texts and results as large as they may be: lists of them are whole, and take little."""
    api = psutil.Process(deployment.api.process.pid)
    with Caller(deployment.target, ledger) as caller:
        first = caller.create("answer")
        check(deployment, caller)
        spec = caller.get(first).spec
        ids = {_end_fatly(deployment, spec, large=number < LARGE) for number in range(LARGE + FAT)}
        ledger.faults["fat diagnoses"] += len(ids)
        before = peak = api.memory_info().rss
        with ThreadPoolExecutor(LISTS_AT_ONCE) as crowd:
            walks = [crowd.submit(_walk, caller) for _ in range(LISTS_AT_ONCE)]
            reads = [crowd.submit(_read, caller, diagnosis_id) for diagnosis_id in ids]
            while not all(walk.done() for walk in walks) or not all(read.done() for read in reads):
                peak = max(peak, api.memory_info().rss)
                time.sleep(0.01)
        for walk in walks:
            if missing := ids - walk.result():
                ledger.broke(Broken.LOST, f"{len(missing)} fat diagnoses are in no page")
        if {read.result() for read in reads} != ids:
            ledger.broke(Broken.LOST, "fat diagnoses cannot be read")
        ledger.details["API's memory before large answers, MiB"] = float(before >> 20)
        ledger.details["API's memory among large answers, MiB"] = float(peak >> 20)
        if peak - before > GROWTH_BYTES:
            ledger.broke(Broken.ESCAPED, f"the API took {(peak - before) >> 20} MiB for {LISTS_AT_ONCE} lists at once")


def _walk(caller: Caller) -> set[str]:
    found: set[str] = set()
    token = ""
    while True:
        request = diagnosis_pb2.ListDiagnosesRequest(page_size=1000, page_token=token)
        page = caller.diagnoses.ListDiagnoses(request, timeout=60.0)
        found |= {diagnosis.id for diagnosis in page.diagnoses}
        token = page.next_page_token
        if not token:
            return found


def _read(caller: Caller, diagnosis_id: str) -> str:
    request = diagnosis_pb2.GetDiagnosisRequest(id=diagnosis_id)
    return caller.diagnoses.GetDiagnosis(request, timeout=60.0).id


def _end_fatly(deployment: Deployment, spec: diagnosis_pb2.DiagnosisSpec, *, large: bool) -> str:
    diagnoses = deployment.store.diagnoses
    made: Diagnosis = diagnoses.create(spec, queue=NO_WORKER)[0]
    attempt = awaited(lambda: diagnoses.start(made.id, "fat"), "attempt")
    if large:
        where = finding_pb2.Location(op="aten::relu", module="body." * 20)
        sites = [flow_pb2.Site(index=number, dtype="float32", location=where) for number in range(LARGE_SITES)]
        attempt.succeed(diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY, sites=sites))
    else:
        text = "é" * FAT_TEXT_CHARACTERS
        reason = diagnosis_pb2.FAILURE_REASON_FORWARD_ERROR
        attempt.fail(diagnosis_pb2.Failure(reason=reason, message=text, trace=text))
    return made.id
