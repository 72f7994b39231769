"""Abstract values of the data-flow walk: what a graph value may hold, and from where its elements came.

An atom is where elements come from: a site (its index, from 0) or a source (a
parameter, buffer or input; negative, see `Sources`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Flow: TypeAlias = frozenset[int]
NOTHING: Final[Flow] = frozenset()


class Unknown:
    """The value of a scalar that only a run can tell."""


UNKNOWN: Final = Unknown()


class Journal:
    """Remembers what was overwritten, so that branches can be walked one after the other and then joined."""

    def __init__(self) -> None:
        self._open: list[dict[Tensor, Flow]] = []
        self.growth = 0  # grows whenever something was learnt; a loop is done when it stands still

    def note(self, tensor: Tensor) -> None:
        """Remembers a tensor's flow before it changes."""
        if self._open:
            self._open[-1].setdefault(tensor, tensor.content)

    def begin(self) -> None:
        """Opens a branch."""
        self._open.append({})

    def end(self) -> dict[Tensor, tuple[Flow, Flow]]:
        """Closes a branch and puts back what it changed; says for each tensor its flow before and in the branch."""
        changed = {tensor: (before, tensor.content) for tensor, before in self._open.pop().items()}
        for tensor, (before, _) in changed.items():
            tensor.content = before
        return changed

    def join(self, branches: Iterable[dict[Tensor, tuple[Flow, Flow]]], *, may_skip: bool = False) -> None:
        """Lets a tensor hold what any branch may have left in it."""
        closed = list(branches)
        for tensor in {each for branch in closed for each in branch}:
            left = [branch[tensor][1] if tensor in branch else tensor.content for branch in closed]
            if may_skip:
                left.append(tensor.content)
            self.note(tensor)
            tensor.content = NOTHING.union(*left)


@dataclass(slots=True, eq=False)
class Value:
    """Any abstract value."""

    def flow(self) -> Flow:
        """Where all elements in here come from."""
        return NOTHING

    def parts(self) -> Iterator[Value]:
        """What it holds, one level down."""
        return iter(())


@dataclass(slots=True, eq=False)
class Scalar(Value):
    """A number, text, flag or None; also a tensor that holds only shapes.

    Attributes:
        known: Its value, or UNKNOWN.
        source: Where it comes from, for one that was read out of a tensor.
        is_shape: It is a tensor, but holds nothing but shapes, as traces have them.
    """

    known: object = UNKNOWN
    source: Flow = NOTHING
    is_shape: bool = False

    def flow(self) -> Flow:  # noqa: D102  # as in Value
        return self.source


@dataclass(slots=True, eq=False)
class Tensor(Value):
    """A tensor, by where its elements come from.

    Attributes:
        content: Where its elements come from now: written values included.
        bases: What it is a view of; several where an If decides.
        is_full: Whether the view holds every element of its only base.
        views: The views of it.
        is_lasting: A parameter or buffer: writing into it does not forget that it is one.
    """

    content: Flow = NOTHING
    bases: list[Tensor] = field(default_factory=list)
    is_full: bool = True
    views: list[Tensor] = field(default_factory=list)
    is_lasting: bool = False

    def flow(self) -> Flow:  # noqa: D102  # as in Value
        return self.content

    def attach(self, bases: Iterable[Tensor], *, is_full: bool) -> None:
        """Makes it a view of other tensors."""
        for base in bases:
            if base is not self and all(known is not base for known in self.bases):
                self.bases.append(base)
                base.views.append(self)
        self.is_full = is_full and len(self.bases) == 1

    def write(self, atom: int, journal: Journal) -> None:
        """An op wrote into it: all that share its memory see that."""
        whole = self
        seen = {self}
        while whole.bases and whole.is_full and whole.bases[0] not in seen:
            whole = whole.bases[0]
            seen.add(whole)
        covered = set(whole.family())
        for tensor in self._relatives():
            journal.note(tensor)
            replaced = tensor in covered and not tensor.is_lasting
            tensor.content = frozenset({atom}) if replaced else tensor.content | {atom}

    def _relatives(self) -> set[Tensor]:
        """All tensors that may share memory with it, and itself."""
        found: set[Tensor] = set()
        waiting = [self]
        while waiting:
            tensor = waiting.pop()
            if tensor not in found:
                found.add(tensor)
                waiting += tensor.bases
                waiting += tensor.views
        return found

    def family(self) -> Iterator[Tensor]:
        """Itself and all views below it."""
        seen: set[Tensor] = set()
        waiting = [self]
        while waiting:
            tensor = waiting.pop()
            if tensor not in seen:
                seen.add(tensor)
                yield tensor
                waiting += tensor.views


@dataclass(slots=True, eq=False)
class Sequence(Value):
    """A list or tuple.

    Attributes:
        items: Its items where their number is known.
        rest: What may be in it beyond that, in any place.
        is_exact: False when items may have moved.
    """

    items: list[Value] = field(default_factory=list)
    rest: list[Value] = field(default_factory=list)
    is_exact: bool = True

    def flow(self) -> Flow:  # noqa: D102  # as in Value
        return flow_of(self)

    def parts(self) -> Iterator[Value]:  # noqa: D102  # as in Value
        yield from self.items
        yield from self.rest

    def at(self, position: object) -> Value:
        """The item at a position, or any of them."""
        if self.is_exact and isinstance(position, int) and -len(self.items) <= position < len(self.items):
            item = self.items[position]
            return any_of([item, *self.rest]) if self.rest else item
        return any_of(self.parts())

    def add(self, value: Value, journal: Journal) -> None:
        """Something is put in, at an unknown place."""
        if all(value is not part for part in self.parts()):
            self.rest.append(value)
            journal.growth += 1

    def blur(self, journal: Journal) -> None:
        """Positions no longer tell items apart."""
        if self.is_exact:
            self.is_exact = False
            journal.growth += 1


@dataclass(slots=True, eq=False)
class Mapping(Value):
    """A dict, or an object by its fields."""

    entries: dict[object, Value] = field(default_factory=dict)
    rest: list[Value] = field(default_factory=list)

    def flow(self) -> Flow:  # noqa: D102  # as in Value
        return flow_of(self)

    def parts(self) -> Iterator[Value]:  # noqa: D102  # as in Value
        yield from self.entries.values()
        yield from self.rest

    def at(self, key: object) -> Value:
        """The value under a key, or any of them."""
        if isinstance(key, (str, int, float, bool)) and key in self.entries:
            return any_of([self.entries[key], *self.rest]) if self.rest else self.entries[key]
        return any_of(self.parts())

    def put(self, key: object, value: Value, journal: Journal) -> None:
        """Something is stored, perhaps on top of what was there."""
        if isinstance(key, (str, int, float, bool)):
            before = self.entries.get(key)
            if before is value or (isinstance(before, Either) and value in before.options):
                return
            self.entries[key] = value if before is None else any_of([before, value])
            journal.growth += 1
        elif all(value is not part for part in self.rest):
            self.rest.append(value)
            journal.growth += 1


@dataclass(slots=True, eq=False)
class Module(Value):
    """A module of the model."""

    path: str = ""


@dataclass(slots=True, eq=False)
class Either(Value):
    """One of several values: what an If or a loop hands on."""

    options: list[Value] = field(default_factory=list)

    def flow(self) -> Flow:  # noqa: D102  # as in Value
        return flow_of(self)

    def parts(self) -> Iterator[Value]:  # noqa: D102  # as in Value
        return iter(self.options)

    def offer(self, value: Value, journal: Journal) -> None:
        """One more possibility."""
        for option in settle(value):
            if option is not self and all(option is not known for known in self.options):
                self.options.append(option)
                journal.growth += 1


def settle(value: Value) -> list[Value]:
    """The values that one may stand for, without any Either."""
    if not isinstance(value, Either):
        return [value]
    found: list[Value] = []
    seen: set[int] = set()
    waiting: list[Value] = [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Either):
            waiting += reversed(each.options)
        else:
            found.append(each)
    return found


def any_of(values: Iterable[Value]) -> Value:
    """One of several values; the value itself when there is one."""
    options = list(dict.fromkeys(option for value in values for option in settle(value)))
    return options[0] if len(options) == 1 else Either(options)


def flow_of(value: Value) -> Flow:
    """Where everything in a container comes from; containers may hold themselves."""
    if isinstance(value, Tensor):
        return value.content
    if isinstance(value, Scalar):
        return value.source
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            found |= each.content
        elif isinstance(each, Scalar):
            found |= each.source
        else:
            waiting.extend(each.parts())
    return frozenset(found)


def tensors_in(value: Value) -> Iterator[Tensor]:
    """All tensors in a value, also in containers."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor):
            yield each
        else:
            waiting.extend(each.parts())
