"""Whether a program works at other numbers of units than its own."""

from collections.abc import Iterable
from typing import Any

import equinox as eqx
import numpy as np

from ..declaration import Units
from ..unit_axis import mixed, number_of_units
from .program import AGREEMENT, Program
from .roles import difference

# The first unit's outgoing parameters are shared between it and the added copy of it.
SHARE = 0.3


def with_mixed_units(model: Any, units: Units, p: np.ndarray, q: np.ndarray) -> Any:
    r"""The model with the units of a declared layer replaced by linear combinations: $U' = P U$, $V' = Q V$."""
    for matrix, slots in ((p, units.incoming), (q, units.outgoing)):
        for slot in slots:
            model = eqx.tree_at(slot.where, model, mixed(matrix, slot.where(model), slot))
    return model


def resizable(program: Program, layers: tuple[Units, ...], theta: np.ndarray) -> tuple[bool, ...]:
    """Whether the program computes the same with one unit more, a copy that shares the output of another.

    Args:
        program: the model.
        layers: its units.
        theta: random parameters.

    Returns:
        For each layer, whether its number of units may differ from the model's own.
    """
    if not layers or _computes_the_same(program, layers, theta):
        return (True,) * len(layers)
    return tuple(len(layers) > 1 and _computes_the_same(program, (units,), theta) for units in layers)


def _computes_the_same(program: Program, layers: Iterable[Units], theta: np.ndarray) -> bool:
    model = program.model_of(program.parts(theta))
    for units in layers:
        slot = units.incoming[0]
        count = number_of_units(slot.where(model), slot)
        p, q = np.eye(count + 1, count), np.eye(count + 1, count)
        p[-1, 0], q[0, 0], q[-1, 0] = 1.0, SHARE, 1 - SHARE
        model = with_mixed_units(model, units, p, q)
    try:
        wider = program.same_inputs(model)
        values = wider.evaluate([wider.theta])[0]
    # A program that holds its sizes fixed fails in whatever way its shapes clash.
    except (TypeError, ValueError):
        return False
    own = program.evaluate([theta])[0]
    return values.shape == own.shape and difference(values, own) <= AGREEMENT
