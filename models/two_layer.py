"""Two-layer networks of units."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .architecture import Architecture, check_scale, check_sizes
from .features import Features
from .initialisation import normal_arrays
from .units import Slot, Units


class TwoLayer(eqx.Module):
    r"""The network $f(x) = \sum_{i=1}^H \phi(x; u_i)\, v_i$ of one architecture.

    **Arguments:** `architecture`: what a unit is; `width`: number H of units; `scale`: standard deviation
    $\varepsilon \ge 0$ of the entries, drawn from $N(0, \varepsilon^2)$; `key`: random key.

    **Raises:** `ValueError` for a width below 1 or a negative or non-finite scale.
    """

    parameters: tuple[Float[Array, "H ..."], ...]
    architecture: Architecture = eqx.field(static=True)

    def __init__(self, architecture: Architecture, *, width: int, scale: float, key: PRNGKeyArray):
        check_sizes(width=width)
        check_scale(scale)
        self.parameters = normal_arrays(key, unit_shapes(architecture, width), scale)
        self.architecture = architecture

    @property
    def units(self) -> Units:
        """Every parameter array is a slot with the units on its first axis; the last one is outgoing."""
        return first_units(self.architecture)

    @property
    def features(self) -> Features | None:
        """The features in which the network is linear, if its architecture has such."""
        return self.architecture.features

    @property
    def v(self) -> Float[Array, "H ..."]:
        """The outgoing parameters of the units."""
        return self.parameters[-1]

    @property
    def u(self) -> Float[Array, "H ..."]:
        """The first array of incoming parameters: weights, kernels, or keys."""
        return self.parameters[0]

    def __call__(self, x: Any) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""
        return self.architecture.output(x, *self.parameters)


class Parameter(eqx.Module):
    """Picks array `index` of a tuple `group`; a class, not a lambda, so that equal declarations compare equal."""

    index: int = eqx.field(static=True)
    group: str = eqx.field(static=True, default="parameters")

    def __call__(self, model: Any) -> Array:
        return getattr(model, self.group)[self.index]


def unit_shapes(architecture: Architecture, width: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays of `width` units."""
    return tuple((width, *shape) for shape in architecture.shapes)


def first_units(architecture: Architecture) -> Units:
    """The units whose arrays are a model's `parameters`."""
    slots = tuple(Slot(Parameter(k), axis=0, degree=degree) for k, degree in enumerate(architecture.slot_degrees))
    products = tuple((slots[a], slots[b]) for a, b in architecture.products)
    return Units(incoming=slots[:-1], outgoing=slots[-1:], law=architecture.law, products=products)
