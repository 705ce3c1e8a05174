"""A critical point whose truth is known, and what the library says of it."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float
from saddlescope.analysis import classify, critical_point
from saddlescope.flows import Landscape

RIGHT, UNDETERMINED = "right", "undetermined"


class Point(eqx.Module):
    """A plain module with one array: no units, no symmetries that could be known."""

    x: Array


class Truth(NamedTuple):
    """What is true of a critical point.

    `order` is 2 for a strict saddle, p for a degenerate one, `None` for a minimum. `nullity` is `None` where the
    points that a start may lead to differ in it.
    """

    name: str
    order: int | None
    index: int
    nullity: int | None


class KnownPoint(NamedTuple):
    """A critical point with its truth.

    `make` gives the landscape, whose own parameters are the start; it is called when the point is judged. `open` says
    that "undetermined" is an acceptable answer: the order is above 6, the function is flat to all orders, or the leading
    form vanishes along directions in which higher orders decide. `orders` are further orders that a convention allows.
    """

    name: str
    make: Callable[[], Landscape]
    point: Float[np.ndarray, " n"]
    truth: Truth
    source: str
    open: bool = False
    orders: tuple[int, ...] = ()


class Judgement(NamedTuple):
    """What was said, and whether it is right."""

    said: Truth
    verdict: str
    evidence: str


def judge(case: KnownPoint) -> Judgement:
    """Classifies a point as a user would who knows no scales, and compares with its truth."""
    kind = classify(critical_point(case.make()))
    said = Truth(kind.name, kind.order, kind.index, kind.nullity)
    return Judgement(said, verdict(said, case), kind.evidence)


def verdict(said: Truth, case: KnownPoint) -> str:
    """`right`, `undetermined`, or what is wrong: the name first, then order, index and nullity."""
    truth = case.truth
    if said.name == "undetermined":
        return UNDETERMINED
    if said.name != truth.name:
        wrong = {"minimum": "false minimum", "strict saddle": "false strict"}
        return f"wrong: {wrong.get(said.name, f'“{said.name}”')}"
    if said.order != truth.order and said.order not in case.orders:
        return "wrong: order"
    if said.index != truth.index:
        return "wrong: index"
    if truth.nullity is not None and said.nullity != truth.nullity:
        return "wrong: nullity"
    return RIGHT


def acceptable(said: Judgement, case: KnownPoint) -> bool:
    """Whether nothing wrong was said, and something where something can be said."""
    return said.verdict == RIGHT or (said.verdict == UNDETERMINED and case.open)
