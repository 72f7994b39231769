"""Lists: newest first, by index, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradclinic.v1 import diagnosis_pb2, finding_pb2
from gradclinic_store import Store, StoreSettings
from gradclinic_store import diagnoses as diagnoses_module
from gradclinic_store.errors import BadPageToken
from store_cases import result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradclinic.v1.diagnosis_pb2 import DiagnosisFilter

Filter = diagnosis_pb2.DiagnosisFilter
FORWARD_ERROR = diagnosis_pb2.FAILURE_REASON_FORWARD_ERROR


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with Store.connect(StoreSettings(redis_url=redis_url)) as store:
        yield store


def walk(store: Store, wanted: DiagnosisFilter | None = None, size: int = 3) -> list[str]:
    ids: list[str] = []
    token = ""
    while True:
        page, token = store.diagnoses.page(wanted, size, token)
        assert len(page) <= (size or 50)
        ids += [message.id for message in page]
        if not token:
            return ids


def test_pages_are_complete_and_newest_first(store: Store) -> None:
    ids = [store.diagnoses.create(spec_of(store))[0].id for _ in range(10)]
    assert list(reversed(ids)) == walk(store)
    assert list(reversed(ids)) == walk(store, size=5)
    assert list(reversed(ids)) == walk(store, size=0)
    assert list(reversed(ids)) == walk(store, size=100_000)


def test_what_comes_while_paging_shifts_nothing(store: Store) -> None:
    ids = [store.diagnoses.create(spec_of(store))[0].id for _ in range(4)]
    first, token = store.diagnoses.page(size=2)
    store.diagnoses.create(spec_of(store))
    second, end = store.diagnoses.page(size=2, token=token)
    assert list(reversed(ids)) == [message.id for message in first + second]
    assert end == ""


def test_filters_are_joined_by_and(store: Store) -> None:
    a = store.diagnoses.create(spec_of(store, run="r", labels={"x": "1", "y": "2"}))[0].id
    b = store.diagnoses.create(spec_of(store, run="r", labels={"x": "1"}))[0].id
    c = store.diagnoses.create(spec_of(store, run="s", labels={"y": "2"}))[0].id
    started(store, a).succeed(result_of(finding_pb2.SEVERITY_CRITICAL))
    started(store, b).succeed(result_of(finding_pb2.SEVERITY_INFO))
    started(store, c)
    assert walk(store, Filter(run="r")) == [b, a]
    assert walk(store, Filter(labels={"x": "1", "y": "2"})) == [a]
    assert walk(store, Filter(run="s", labels={"x": "1"})) == []
    assert walk(store, Filter(state=diagnosis_pb2.DIAGNOSIS_STATE_RUNNING)) == [c]
    assert walk(store, Filter(state=diagnosis_pb2.DIAGNOSIS_STATE_QUEUED)) == []
    assert walk(store, Filter(verdict=finding_pb2.VERDICT_CRITICAL)) == [a]
    assert walk(store, Filter(run="r", verdict=finding_pb2.VERDICT_HEALTHY)) == [b]


def test_labels_with_equal_signs_stay_apart(store: Store) -> None:
    a = store.diagnoses.create(spec_of(store, labels={"a": "b=c"}))[0].id
    b = store.diagnoses.create(spec_of(store, labels={"a=b": "c"}))[0].id
    assert walk(store, Filter(labels={"a": "b=c"})) == [a]
    assert walk(store, Filter(labels={"a=b": "c"})) == [b]


def test_rare_matches_are_found_in_bounded_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnoses_module, "LOOKED_AT_PER_STEP", 3)
    wanted = [store.diagnoses.create(spec_of(store, run="r", labels={"x": "1"}))[0].id]
    for _ in range(20):
        store.diagnoses.create(spec_of(store, run="r"))
    for _ in range(20):
        store.diagnoses.create(spec_of(store, labels={"x": "1"}))
    wanted.append(store.diagnoses.create(spec_of(store, run="r", labels={"x": "1"}))[0].id)
    assert list(reversed(wanted)) == walk(store, Filter(run="r", labels={"x": "1"}), size=1)


def test_a_list_carries_no_gradient_flow(store: Store) -> None:
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id).succeed(result_of())
    ((listed,), _) = store.diagnoses.page()
    assert (0, 0, 1) == (len(listed.result.sites), len(listed.result.parameters), len(listed.result.findings))


def test_a_list_says_in_short_what_was_found_where(store: Store) -> None:
    result = result_of()
    result.findings[0].location.module = "body.0"
    result.findings[0].explanation, result.findings[0].remedies[:] = "why", ["what to do"]
    result.notes.append("a note")
    message, _ = store.diagnoses.create(spec_of(store))
    started(store, message.id).succeed(result)
    ((listed,), _) = store.diagnoses.page()
    short = finding_pb2.Finding(code="dead-relu", severity=finding_pb2.SEVERITY_WARNING)
    short.location.module = "body.0"
    assert diagnosis_pb2.DiagnosisResult(verdict=result.verdict, findings=[short]) == listed.result
    listed.ClearField("result")
    whole = store.diagnoses.get(message.id)
    assert result == whole.result
    whole.ClearField("result")
    assert whole == listed


def fail_fatly(store: Store) -> None:
    failure = diagnosis_pb2.Failure(reason=FORWARD_ERROR, message="é" * 68_000, trace="ü" * 68_000 + "last")
    started(store, store.diagnoses.create(spec_of(store))[0].id).fail(failure)


def succeed_fatly(store: Store) -> None:
    result = result_of()
    for number in range(1000):
        finding = result.findings.add(code=f"code-{number}", explanation="x" * 2000)
        finding.location.module = "deep." * 600
    started(store, store.diagnoses.create(spec_of(store))[0].id).succeed(result)


@pytest.mark.parametrize("end", [fail_fatly, succeed_fatly])
def test_pages_of_fat_diagnoses_are_cut_by_bytes_and_complete(store: Store, end: Callable[[Store], None]) -> None:
    for _ in range(150):
        end(store)
    sizes, ids, token = [], [], ""
    while True:
        page, token = store.diagnoses.page(size=1000, token=token)
        sizes.append(sum(message.ByteSize() for message in page))
        ids += [message.id for message in page]
        if not token:
            break
    assert (150, 150) == (len(ids), len(set(ids)))
    assert max(sizes) < 2 << 20  # the bound is one of records: messages add some bytes to each
    assert len(sizes) > 1


def test_a_record_larger_than_a_page_is_a_page(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnoses_module, "PAGE_BYTES", 1)
    ids = [store.diagnoses.create(spec_of(store))[0].id for _ in range(3)]
    assert list(reversed(ids)) == walk(store)
    assert 1 == len(store.diagnoses.page(size=3)[0])


def test_the_texts_of_a_failure_are_bounded_in_bytes(store: Store) -> None:
    fail_fatly(store)
    ((listed,), _) = store.diagnoses.page()
    failure = store.diagnoses.get(listed.id).failure
    assert (4 * 1024 + 3, 16 * 1024 + 3) >= (len(failure.message.encode()), len(failure.trace.encode()))
    assert failure.message.startswith("é")
    assert failure.trace.endswith("last")
    assert ("", failure.message) == (listed.failure.trace, listed.failure.message)


@pytest.mark.parametrize("token", ["x", "AAAA", "AQAAAAAAAAAFAAAAAAAAAAA", "ä", "!" * 24, "A" * 24])
def test_an_unknown_token_is_refused(store: Store, token: str) -> None:
    with pytest.raises(BadPageToken):
        store.diagnoses.page(token=token)


def test_a_token_belongs_to_its_filter(store: Store) -> None:
    for _ in range(2):
        store.diagnoses.create(spec_of(store, run="r"))
    _, token = store.diagnoses.page(Filter(run="r"), size=1)
    with pytest.raises(BadPageToken, match="filter"):
        store.diagnoses.page(Filter(run="s"), size=1, token=token)
