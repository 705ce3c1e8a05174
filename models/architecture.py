"""What a layer of units needs to be stated for a network to be built of it."""

import math
from collections.abc import Callable
from typing import Protocol

from jaxtyping import Array

from .features import Features
from .unit_law import UnitLaw


class Architecture(Protocol):
    r"""The shape of one unit, its law, and the sum $\sum_i \phi(z; u_i)\, v_i$ over units.

    - `shapes`: of one unit's parameter arrays; the last is v, and its last axis counts the outputs.
    - `slot_degrees`: a unit's degree of homogeneity in each array alone, or `None`.
    - `products`: numbers of pairs of arrays that enter through the product $A^\top B$ alone.
    - `output`: the sum over units, a function of the input and the arrays of all units.
    - `features`: those in which `output` is linear, with coefficients in terms of a model's `parameters`.
    """

    @property
    def law(self) -> UnitLaw: ...

    @property
    def outputs(self) -> int: ...

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]: ...

    @property
    def slot_degrees(self) -> tuple[int | None, ...]: ...

    @property
    def products(self) -> tuple[tuple[int, int], ...]: ...

    @property
    def output(self) -> Callable[..., Array]: ...

    @property
    def features(self) -> Features | None: ...


def check_sizes(**sizes: int) -> None:
    """Refuses sizes below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}.")


def check_scale(scale: float) -> None:
    """Refuses a standard deviation of initial weights that is negative or not finite."""
    if not (math.isfinite(scale) and scale >= 0):
        raise ValueError(f"the initialisation scale must be finite and not negative; got {scale}.")
