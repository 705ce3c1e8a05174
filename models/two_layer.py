"""Two-layer networks of units."""

from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray

from .architecture import Architecture
from .arguments import check_sizes
from .declaration import Units
from .features import Features
from .unit_layer import UnitLayer, first_units


class TwoLayer(UnitLayer):
    r"""The network $f(x) = \sum_{i=1}^H \phi(x; u_i)\, v_i$ of one architecture.

    Args:
        architecture: what a unit is.
        width: number H of units, at least 1.
        scale: standard deviation $\varepsilon \ge 0$ of the entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Raises:
        ValueError: for a width below 1, or a scale that is negative or not finite.
    """

    def __init__(self, architecture: Architecture, *, width: int, scale: float, key: PRNGKeyArray):
        check_sizes(width=width)
        super().__init__(architecture, width=width, scale=scale, key=key)

    @property
    def units(self) -> Units:
        """Every parameter array is a slot with the units on its first axis; the last one is outgoing."""
        return first_units(self.architecture, additive=True)

    @property
    def features(self) -> Features | None:
        """The features in which the network is linear, if its architecture has such."""
        return self.architecture.features

    def __call__(self, x: Any) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""
        return self.architecture.output(x, *self.parameters)
