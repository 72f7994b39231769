"""Sets of parameter names that many sites hold: one bit for each name, the names written down once."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


class ParameterNames(AbstractSet[str]):
    """An immutable set, equal to a frozenset of the same names.

    10,000 sites that depend on thousands of parameters each would need gigabytes as frozensets.
    """

    __slots__ = ("_bits", "_names", "_places")

    def __init__(self, bits: int, names: Sequence[str], places: Mapping[str, int]) -> None:
        """Makes a set.

        Args:
            bits: Bit ``places[name]`` is set for each name in it.
            names: Of all parameters; shared, never changed.
            places: Their places in ``names``; likewise.
        """
        self._bits = bits
        self._names = names
        self._places = places

    def __contains__(self, name: object) -> bool:
        """Whether a parameter is in it."""
        place = self._places.get(name) if isinstance(name, str) else None
        return place is not None and bool(self._bits >> place & 1)

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of the parameters."""
        left = self._bits
        while left:
            lowest = left & -left
            yield self._names[lowest.bit_length() - 1]
            left ^= lowest

    def __len__(self) -> int:
        """How many."""
        return self._bits.bit_count()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._bits)

    def __hash__(self) -> int:
        """As of a frozenset."""
        return self._hash()

    def __repr__(self) -> str:
        """Its names."""
        return repr(frozenset(self))

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> AbstractSet[Any]:
        return frozenset(it)
