"""Runs the planner over made-up layers, as Sociable does. `python3 -m unittest` in this folder."""

import json
import pathlib
import sys
import unittest
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).parent / "src"))

import parameters
from spans import Planner

MIB = 1 << 20


@dataclass
class Entry:
    path: str
    header: int
    data: int
    size: int

    @property
    def end(self) -> int:
        return self.data + -(-self.size // 512) * 512


@dataclass
class Candidate:
    uncompressed: int
    since_cut: int
    next: int


def placed(*files: tuple[str, int]) -> list[Entry]:
    entries, at = [], 0
    for path, size in files:
        entries.append(Entry(path, at, at + 512, size))
        at = entries[-1].end
    return entries


def packed(entries: list[Entry], **chosen: int) -> list[int]:
    """Where spans begin when the layer is packed."""
    planner = Planner(parameters.parse(json.dumps(chosen)), packing=True)
    answer, asked_at, spans, told = planner.start(), 0, [0], []

    def decide(at: int) -> None:
        nonlocal answer, asked_at, told
        answer = planner.decide(told, Candidate(at, at - spans[-1], at))
        asked_at, told = at, []
        if answer.cut:
            spans.append(at)

    for entry in entries:
        told.append(entry)
        if entry.header and (answer.at_entries or asked_at + answer.after == entry.header):
            decide(entry.header)
        while asked_at + answer.after < entry.end:
            decide(asked_at + answer.after)
    return spans


def indexed(entries: list[Entry], block: int, **chosen: int) -> list[int]:
    """Where spans begin when the layer is indexed, and a block of deflate ends every `block` bytes."""
    planner = Planner(parameters.parse(json.dumps(chosen)), packing=False)
    answer, asked_at, spans, coming = planner.start(), 0, [0], list(entries)
    for at in range(block, entries[-1].end - block + 1, block):
        if not answer.at_entries and at < asked_at + answer.after:
            continue
        told = [entry for entry in coming if entry.data <= at + block]
        coming = coming[len(told) :]
        answer, asked_at = planner.decide(told, Candidate(at, at - spans[-1], at + block)), at
        if answer.cut:
            spans.append(at)
    return spans


class Spans(unittest.TestCase):
    layer = placed(
        ("app/config.json", 1000),
        ("app/model-1.safetensors", 100 * MIB),
        ("app/model-2.SAFETENSORS", 33 * MIB + 1),
        *((f"app/{number}.py", MIB // 4) for number in range(20)),
        ("app/small.bin", MIB),
    )

    def test_packed_weights_are_cut_evenly(self):
        one, two, rest = self.layer[1], self.layer[2], self.layer[3]
        spans = packed(self.layer)
        expected = [0, one.header, *(one.data + n * 25 * MIB for n in (1, 2, 3)), two.header]
        half = -(-two.size // 2)
        expected += [two.data + half, rest.header]
        self.assertEqual(spans[: len(expected)], expected)
        # The rest is 6 MiB, and a small .bin is no weights: no file lies in two spans.
        cuts = spans[len(expected) :]
        self.assertEqual(len(cuts), 2)
        self.assertLessEqual(set(cuts), {entry.header for entry in self.layer})

    def test_indexed_weights_are_cut_at_their_edges(self):
        block = 100_000
        one, two, rest = self.layer[1], self.layer[2], self.layer[3]
        spans = indexed(self.layer, block)
        # The first block has both the configuration and the beginning of the weights.
        self.assertEqual(spans[:2], [0, block])
        edges = [*(one.data + n * 25 * MIB for n in (1, 2, 3)), two.header, two.data + -(-two.size // 2), rest.header]
        self.assertEqual(spans[2:8], [edge + -edge % block for edge in edges])
        # The rest is 6 MiB.
        self.assertEqual(len(spans), 8 + 2)

    def test_a_block_that_weights_begin_in_belongs_to_them(self):
        layer = placed(("a", MIB), ("b.gguf", 64 * MIB))
        spans = indexed(layer, 300_000, other=64 * MIB)
        self.assertEqual(spans[1], MIB // 300_000 * 300_000)

    def test_sizes(self):
        pieces = [n * 2 * MIB for n in (1, 2, 3)]
        spans = packed(placed(("a.pt", 8 * MIB)), weights=2 * MIB, least=8 * MIB, other=MIB // 2)
        self.assertEqual(spans, [0, *(512 + piece for piece in pieces)])
        spans = packed(placed(("x", 0), ("a.pt", 8 * MIB)), weights=2 * MIB, least=8 * MIB)
        self.assertEqual(spans, [0, 512, *(1024 + piece for piece in pieces)])


class Parameters(unittest.TestCase):
    def test_defaults_are_the_schema(self):
        defaults = {name: of["default"] for name, of in parameters.SCHEMA["properties"].items()}
        self.assertEqual(parameters.parse(json.dumps(defaults)), parameters.parse("{}"))

    def test_wrong(self):
        for given in ('{"weight": 1}', '{"weights": 0}', '{"other": 1.5}', '{"least": true}', '{"extensions": [""]}'):
            with self.assertRaises(ValueError, msg=given):
                parameters.parse(given)


if __name__ == "__main__":
    unittest.main()
