"""What networks on a layer of units share: its arrays, and the declaration of where the units are."""

import abc
import functools
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .architecture import Architecture, form
from .arguments import check_key, check_scale, record
from .declaration import Slot, Units
from .description import description
from .initialisation import normal_arrays


class UnitLayer(eqx.Module):
    r"""A network whose first layer computes $\sum_{i=1}^H \phi(x; u_i)\, v_i$.

    Attributes:
        parameters: the arrays of the first layer, each with its H units on the first axis; the last one is v.
        architecture: what a unit of the first layer is.
    """

    parameters: tuple[Float[Array, "H ..."], ...]
    architecture: Architecture = eqx.field(static=True)

    def __init__(self, architecture: Architecture, *, width: int, scale: float, key: PRNGKeyArray):
        record("architecture", architecture, Architecture, "such as Dense(relu, inputs=2)")
        check_scale(scale)
        check_key(key)
        self.parameters = normal_arrays(key, unit_shapes(architecture, width), scale)
        self.architecture = architecture

    @property
    def u(self) -> Any:
        """The first array of incoming parameters of the first layer, (H, …): weights, kernels, or keys."""
        return self.parameters[0]

    @property
    def v(self) -> Any:
        """The outgoing parameters of the first layer, (H, …)."""
        return self.parameters[-1]

    @abc.abstractmethod
    def __call__(self, x: Any) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""

    def __str__(self) -> str:
        return f"{description(self)}\nfirst layer of {form(self.architecture)}"


class Parameter(eqx.Module):
    """Picks an array of a model; a class, not a lambda, so that equal declarations compare equal.

    Attributes:
        index: position of the array in its tuple.
        group: the model's attribute that holds the tuple.
    """

    index: int = eqx.field(static=True)
    group: str = eqx.field(static=True, default="parameters")

    def __call__(self, model: Any) -> Any:
        """The array, or what stands in its place in a tree of the same structure."""
        return getattr(model, self.group)[self.index]


def unit_shapes(architecture: Architecture, width: int) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays of `width` units."""
    return tuple((width, *shape) for shape in architecture.shapes)


# The declaration is asked for a hundred times in an analysis, and its records take a fifth of a millisecond to make.
@functools.lru_cache(maxsize=256)
def first_units(architecture: Architecture, name: str = "", *, additive: bool = False) -> Units:
    """The declaration of the units whose arrays are a model's `parameters`."""
    stated = zip(architecture.slot_degrees, architecture.names, strict=True)
    slots = tuple(Slot(Parameter(k), axis=0, degree=degree, name=name) for k, (degree, name) in enumerate(stated))
    products = tuple((slots[a], slots[b]) for a, b in architecture.products)
    return Units(
        incoming=slots[:-1],
        outgoing=slots[-1:],
        law=architecture.law,
        products=products,
        name=name,
        additive=additive,
    )
