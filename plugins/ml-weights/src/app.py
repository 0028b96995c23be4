"""The component: what is asked of a policy leads to `parameters` and `spans`."""

import json
from typing import List, Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.plugin import Description
from wit_world.exports.span import Ask, Candidate, Decision, Opening
from wit_world.imports.types import Entry, Layer

import parameters
from spans import Answer, Planner, Sizes

sizes: Optional[Sizes] = None
planner: Optional[Planner] = None


class Plugin(exports.Plugin):
    def describe(self) -> Description:
        return Description(
            name="ml-weights",
            version="0.1.0",
            summary="Large even spans within files of weights, which begin and end with them; small spans elsewhere",
            parameters=json.dumps(parameters.SCHEMA),
        )

    def configure(self, given: str) -> None:
        global sizes
        try:
            sizes = parameters.parse(given)
        except ValueError as error:
            raise Err(str(error))


class Span(exports.Span):
    def start(self, layer: Layer) -> Opening:
        global planner
        if sizes is None:
            raise Err("asked before `configure`")
        planner = Planner(sizes, layer.packing)
        return Opening(ask=ask(planner.start()), look_ahead=Planner.LOOK_AHEAD)

    def decide(self, entries: List[Entry], at: Candidate) -> Decision:
        if planner is None:
            raise Err("asked before a layer began")
        answer = planner.decide(entries, at)
        return Decision(cut=answer.cut, ask=ask(answer))


def ask(answer: Answer) -> Ask:
    return Ask(after=answer.after, at_entries=answer.at_entries)
