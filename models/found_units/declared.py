"""A model's own declaration of units, checked against what was found."""

from typing import Any

import numpy as np

from ..declaration import Slot, Units
from ..unit_axis import by_unit
from ..unit_law import UnitLaw
from ..units import layers_of
from .program import Program


def checked_declarations(program: Program, found: tuple[Units, ...]) -> tuple[str, ...]:
    """Compares a model's declared units with found ones.

    Args:
        program: the model.
        found: the declarations of the units that were found.

    Returns:
        A sentence for each layer that the model declares, and for each that was found but not declared.
    """
    model = program.model_of(program.positions)
    layers = layers_of(model)
    own, others = [_place(model, units) for units in layers], [_place(model, units) for units in found]
    sentences = [
        _comparison(f"declared {units.name or f'layer {k + 1}'}", units.law, found[others.index(place)].law)
        if place in others
        else f"declared {units.name or f'layer {k + 1}'}: not found"
        for k, (units, place) in enumerate(zip(layers, own, strict=True))
    ]
    missing = [units.name for units, place in zip(found, others, strict=True) if layers and place not in own]
    return (*sentences, *(f"{name}: not declared" for name in missing))


def _place(model: Any, units: Units) -> tuple[list[int], list[int]]:
    """The positions of the first unit's incoming and outgoing parameters."""
    return _first(model, units.incoming), _first(model, units.outgoing)


def _first(model: Any, slots: tuple[Slot, ...]) -> list[int]:
    return sorted(int(k) for slot in slots for k in np.ravel(by_unit(slot.where(model), slot)[0]))


def _comparison(name: str, stated: UnitLaw, found: UnitLaw) -> str:
    if stated == found:
        return f"{name}: as found"
    more = {
        "φ(z; 0) = 0": stated.zero and not found.zero,
        f"degree {stated.degree}": stated.degree is not None and stated.degree != found.degree,
        "homogeneity over the reals": stated.degree is not None and stated.field == "real" != found.field,
        "linearity": stated.linear and not found.linear,
        "smoothness": stated.smooth and not found.smooth,
        f"leading order {stated.order}": stated.zero and found.zero and stated.order != found.order,
    }
    wrong = [statement for statement, holds in more.items() if holds]
    return f"{name}: states {', '.join(wrong)}, which was not found" if wrong else f"{name}: as found, but states less"
