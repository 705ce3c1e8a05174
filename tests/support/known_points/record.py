"""A critical point whose truth is known, and what the library says of it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from saddlescope.analysis import classify, critical_point
from saddlescope.analysis.critical_points.critical_point import CriticalPoint
from saddlescope.flows import Landscape

RIGHT, UNDETERMINED = "right", "undetermined"
# How far a point that is critical may be moved, in units of the weights: rounding, with a wide margin.
STAYS = 1e-6


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
    that "undetermined" is an acceptable answer: the order is above 6, the function is flat to all orders, or the
    leading form vanishes along directions in which higher orders decide. `orders` are further ones that a convention
    allows. `unit` is that of the weights.
    """

    name: str
    make: Callable[[], Landscape]
    point: Float[np.ndarray, " n"]
    truth: Truth
    source: str
    open: bool = False
    orders: tuple[int, ...] = ()
    unit: float = 1.0


class Judgement(NamedTuple):
    """What was said, and whether it is right."""

    said: Truth
    verdict: str
    evidence: str


def judge(case: KnownPoint) -> Judgement:
    """Classifies a point as a user would who knows no scales, and compares with its truth."""
    found = critical_point(case.make())
    kind = classify(found)
    said = Truth(kind.name, kind.order, kind.index, kind.nullity)
    return Judgement(said, verdict(said, case, found), kind.evidence)


def verdict(said: Truth, case: KnownPoint, found: CriticalPoint) -> str:
    """`right`, `undetermined`, or what is wrong: the name first, then order, index, nullity and place."""
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
    # A critical point stays where it is, and a start leads to the nearest one.
    reach = 3 * float(np.linalg.norm(found.start - case.point)) + STAYS * case.unit
    return RIGHT if found.distance <= reach else "wrong: elsewhere"


def acceptable(said: Judgement, case: KnownPoint) -> bool:
    """Whether nothing wrong was said, and something where something can be said."""
    return said.verdict == RIGHT or (said.verdict == UNDETERMINED and case.open)
