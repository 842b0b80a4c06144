"""Sets of completion indexes in the form in which a Job's status keeps them: ``0,2-5,7``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["IndexSet"]


@dataclass(frozen=True, slots=True)
class IndexSet:
    """A set of indexes as ordered intervals that do not touch; cheap for a hundred thousand indexes."""

    intervals: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, text: str, completions: int) -> IndexSet:
        """Read the status form, leaving out indexes from ``completions`` on and intervals that are not
        readable.
        """
        found = []
        for part in text.split(",") if text else ():
            first, _, last = part.partition("-")
            if not first.isdecimal() or (last and not last.isdecimal()):
                continue
            low, high = int(first), int(last or first)
            if low < completions:
                found.append((low, min(high, completions - 1)))
        return cls._merged(found)

    @classmethod
    def of(cls, indexes: Iterable[int]) -> IndexSet:
        """Make a set of single indexes."""
        return cls._merged([(one, one) for one in indexes])

    @classmethod
    def _merged(cls, intervals: Iterable[tuple[int, int]]) -> IndexSet:
        merged: list[tuple[int, int]] = []
        for low, high in sorted(intervals):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        return cls(tuple(merged))

    def __or__(self, other: IndexSet) -> IndexSet:
        return self._merged([*self.intervals, *other.intervals])

    def __contains__(self, index: int) -> bool:
        return any(low <= index <= high for low, high in self.intervals)

    def __len__(self) -> int:
        return sum(high - low + 1 for low, high in self.intervals)

    def __str__(self) -> str:
        parts = []
        for low, high in self.intervals:
            if high == low:
                parts.append(str(low))
            else:
                parts.append(f"{low}{',' if high == low + 1 else '-'}{high}")
        return ",".join(parts)

    def common(self, other: IndexSet) -> int:
        """Return how many indexes are in both."""
        total, mine, theirs = 0, iter(self.intervals), iter(other.intervals)
        one, two = next(mine, None), next(theirs, None)
        while one and two:
            total += max(0, min(one[1], two[1]) - max(one[0], two[0]) + 1)
            if one[1] < two[1]:
                one = next(mine, None)
            else:
                two = next(theirs, None)
        return total

    def missing(self, completions: int) -> Iterator[int]:
        """Yield the indexes below ``completions`` that are not in the set, in order."""
        candidate = 0
        for low, high in self.intervals:
            yield from range(candidate, min(low, completions))
            candidate = high + 1
        yield from range(candidate, completions)
