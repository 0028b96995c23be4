"""Where the spans of a layer with weights begin: plain Python, which needs no component around it."""

from dataclasses import dataclass
from typing import Optional, Protocol, Sequence


class Entry(Protocol):
    """What is read of an entry; sizes and places in bytes of the tar."""

    path: str
    header: int
    data: int
    size: int


class Candidate(Protocol):
    """What is read of a place at which a span can begin, in uncompressed bytes."""

    uncompressed: int
    since_cut: int
    next: int


@dataclass(frozen=True)
class Sizes:
    """What people can choose, in uncompressed bytes."""

    weights: int
    other: int
    least: int
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Begin a span here? And when to ask again: after so many uncompressed bytes, or earlier where an entry begins."""

    cut: bool
    after: int
    at_entries: bool


@dataclass(frozen=True)
class Weights:
    """A file of weights: where it begins, where its data does, where the next entry begins, and the size of its even pieces."""

    header: int
    data: int
    end: int
    piece: int
    pieces: int

    def piece_at(self, at: int) -> int:
        """Which of the pieces `at` lies in; what pads the last belongs to it."""
        return min(max(at - self.data, 0) // self.piece, self.pieces - 1)

    def piece_end(self, at: int) -> int:
        """Where that piece ends."""
        number = self.piece_at(at) + 1
        return self.end if number == self.pieces else self.data + number * self.piece


class Planner:
    """Decides about one layer.

    Weights are read from their first byte to the last: large spans in them, of one size in each file, that begin and end with the
    file. Of the rest a start needs some here and some there: small spans.
    """

    # So that it is known, before a block of deflate, what begins in it.
    LOOK_AHEAD = 1

    def __init__(self, sizes: Sizes, packing: bool):
        self.sizes = sizes
        self.packing = packing
        self.ahead: list[Weights] = []
        self.within: Optional[Weights] = None

    def start(self) -> Answer:
        return Answer(False, self._most(), True)

    def decide(self, entries: Sequence[Entry], at: Candidate) -> Answer:
        self._learn(entries)
        here = at.uncompressed
        start = here - at.since_cut
        self.ahead = [weights for weights in self.ahead if weights.end > here]
        first = self.ahead[0] if self.ahead else None
        # While packing the next place is not known, and `next` is here.
        begun = first is not None and first.header < max(at.next, here + 1)
        within = first if begun else None
        left, self.within = self.within is not None and within is not self.within, within
        if within is not None:
            cut = left or start < within.header or within.piece_at(here) > within.piece_at(start)
            return Answer(cut, max(within.piece_end(here) - here, 1), self.packing)
        # A small file shall not lie in two spans, if that can be had.
        at_entry = not self.packing or any(entry.header == here for entry in entries)
        cut = left or at.since_cut >= (self.sizes.other if at_entry else self._most())
        return Answer(cut, max(self._most() - (0 if cut else at.since_cut), 1), True)

    def _most(self) -> int:
        """Largest span of what is no weights: while packing there is time to wait for an entry."""
        return self.sizes.other * (2 if self.packing else 1)

    def _learn(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.size >= self.sizes.least and entry.path.lower().endswith(self.sizes.extensions):
                pieces = -(-entry.size // self.sizes.weights)
                end = entry.data + -(-entry.size // 512) * 512
                self.ahead.append(Weights(entry.header, entry.data, end, -(-entry.size // pieces), pieces))
