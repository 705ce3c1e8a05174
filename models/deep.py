"""Deep networks: a first layer of units of any architecture, and dense layers on top of it."""

import dataclasses
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from .activation import Activation, linear
from .architecture import Architecture
from .arguments import check_key, check_sizes, quoted, record
from .declaration import Slot, Units
from .features import Features
from .initialisation import normal_array, split_key
from .unit_layer import Parameter, UnitLayer, first_units


class Deep(UnitLayer):
    r"""$f(x) = \sigma_L(\cdots \sigma_2(\sum_i \phi(x; u_i)\, v_i + b_2)\, C_2 \cdots + b_L)\, C_L + c$.

    The first layer is that of a two-layer network of the architecture, with as many outputs as there are units above.
    Every further layer has units $\sigma_l(u \cdot z + b)$, whose weights $u$ are a column of the matrix below and
    whose outputs are read by a row of the matrix above. Biases belong to their units, the output's $c$ to none.

    Args:
        architecture: what a unit of the first layer is; its `outputs` are those of the whole network.
        widths: number of units of each layer, from the first, each at least 1.
        activation: of the layers above the first, one for all or one for each; by default the architecture's own, or
            linear where it has none.
        bias: whether the layers above the first and the output have biases (the first layer's are the
            architecture's); by default not.
        scale: standard deviation $\varepsilon \ge 0$ of all entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Raises:
        ValueError: for no width or a width below 1, a scale that is negative or not finite, or another number of
            activations than of layers above the first.
    """

    connections: tuple[Float[Array, "below above"], ...]
    biases: tuple[Float[Array, " above"], ...]
    offset: Float[Array, " outputs"] | None
    activations: tuple[Activation, ...] = eqx.field(static=True)

    def __init__(
        self,
        architecture: Architecture,
        *,
        widths: tuple[int, ...],
        activation: Activation | tuple[Activation, ...] | None = None,
        bias: bool = False,
        scale: float,
        key: PRNGKeyArray,
    ):
        if not hasattr(widths, "__len__") or not len(widths):
            raise ValueError(f"a network needs a width for each layer of units, as in (3, 2); got {quoted(widths)}.")
        record("architecture", architecture, Architecture, "such as Dense(relu, inputs=2)")
        check_key(key)
        check_sizes(**{f"width {k}": width for k, width in enumerate(widths)})
        sizes = (*widths[1:], architecture.outputs)
        first, *keys = split_key(key, 2 * len(sizes))
        below = dataclasses.replace(architecture, outputs=sizes[0])
        super().__init__(below, width=widths[0], scale=scale, key=first)
        pairs, biased = zip(sizes, sizes[1:], strict=False), sizes[:-1] if bias else ()
        self.connections = tuple(normal_array(k, pair, scale) for k, pair in zip(keys[::2], pairs, strict=False))
        self.biases = tuple(normal_array(k, (size,), scale) for k, size in zip(keys[1::2], biased, strict=False))
        self.offset = normal_array(keys[-1], sizes[-1:], scale) if bias else None
        self.activations = _one_for_each(activation, architecture, len(widths) - 1)

    @property
    def units(self) -> tuple[Units, ...]:
        """The units of every layer; the matrix between two layers belongs to both."""
        layers = [first_units(self.architecture, name="layer 1", additive=not self.connections)]
        incoming, biases, outgoing = "incoming weights of units", "biases of units", "outgoing weights of units"
        below = Slot(Parameter(len(self.parameters) - 1), axis=-1, name=incoming)
        for k, activation in enumerate(self.activations):
            bias = (Slot(Parameter(k, "biases"), name=biases),) if self.biases else ()
            above = Parameter(k, "connections")
            writes = Slot(above, name=outgoing)
            layers.append(Units(incoming=(below, *bias), outgoing=(writes,), law=activation.law, name=f"layer {k + 2}"))
            below = Slot(above, axis=-1, name=incoming)
        return tuple(layers)

    @property
    def features(self) -> Features | None:
        """The features of the first layer, if everything above it is linear without biases."""
        first = self.architecture.features
        affine = bool(self.biases) or self.offset is not None
        if first is None or affine or not all(activation.law.linear for activation in self.activations):
            return None
        return Features(of_input=first.of_input, coefficients=_coefficients, rank=_rank)

    def __call__(self, x: Any) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""
        z = self.architecture.output(x, *self.parameters)
        for k, (activation, connection) in enumerate(zip(self.activations, self.connections, strict=True)):
            z = activation(z + self.biases[k] if self.biases else z) @ connection
        return z if self.offset is None else z + self.offset


def _one_for_each(
    activation: Activation | tuple[Activation, ...] | None, architecture: Architecture, count: int
) -> tuple[Activation, ...]:
    own: Activation = getattr(architecture, "activation", linear)
    activations = activation if isinstance(activation, tuple) else (activation or own,) * count
    if len(activations) != count:
        raise ValueError(f"{count} layers above the first need one activation each; got {len(activations)}.")
    return activations


def _coefficients(model: Deep) -> Float[Array, "outputs F"]:
    first = model.architecture.features
    assert first is not None  # a network that declares features has those
    product = first.coefficients(model)
    for activation, connection in zip(model.activations, model.connections, strict=True):
        product = connection.T @ activation(product)
    return product


def _rank(model: Deep) -> int:
    """The width of the narrowest layer, except where the first layer's maps have no rank."""
    first = model.architecture.features
    below = () if first is None or first.rank is None else (first.rank(model),)
    return min((*below, *(min(connection.shape) for connection in model.connections), model.parameters[-1].shape[-1]))
