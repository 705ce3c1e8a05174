"""Networks with a skip connection."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .activation import Activation, check_activation
from .arguments import check_key, check_scale, check_sizes, whole
from .declaration import Slot, Units
from .description import description
from .features import Features, identity_features
from .initialisation import normal_arrays
from .unit_layer import Parameter


class SkipConnected(eqx.Module):
    r"""A network with one skip connection, which bypasses the s layers after the first.

    $f(x) = W_L h_{L-1}$ with $h_0 = x$, $h_l = \sigma(W_l h_{l-1})$ and, at the end of the skip,
    $h_{1+s} = \sigma(W_{1+s} h_s) + h_1$.

    The entries of $h_1$ and $h_{1+s}$ are one layer of units, the stream: layers 1 and 1 + s write to an entry, which
    makes their weights incoming, and the layers after them read it, which makes theirs outgoing. With s = 1 the matrix
    $W_2$ both reads the stream and writes to it.

    Args:
        activation: σ.
        inputs: dimension of x, at least 1.
        width: number of units of every hidden layer, at least 1.
        outputs: dimension of f(x), at least 1.
        layers: L, at least 2; by default 4, the network of the source.
        skip: s, from 0 for no skip to L − 2.
        scale: standard deviation $\varepsilon \ge 0$ of the entries, drawn from $N(0, \varepsilon^2)$.
        key: random key.

    Raises:
        ValueError: for a size below 1, a skip that does not fit, or a scale that is negative or not finite.

    Source: Zhang, Saxe & Latham (2025), Eq. 18, for linear networks of four layers.
    """

    weights: tuple[Float[Array, "to from"], ...]
    activation: Activation = eqx.field(static=True)
    skip: int = eqx.field(static=True)

    def __init__(
        self,
        activation: Activation,
        *,
        inputs: int,
        width: int,
        outputs: int,
        layers: int = 4,
        skip: int,
        scale: float,
        key: PRNGKeyArray,
    ):
        check_sizes(inputs=inputs, width=width, outputs=outputs)
        check_activation(activation)
        check_scale(scale)
        check_key(key)
        if whole("layers", layers) < 2 or not 0 <= whole("skip", skip) <= layers - 2:
            raise ValueError(f"a skip passes by 0 to layers − 2 layers; got skip={skip}, layers={layers}.")
        sizes = (inputs, *(layers - 1) * (width,), outputs)
        self.weights = normal_arrays(key, tuple(zip(sizes[1:], sizes, strict=False)), scale)
        self.activation, self.skip = activation, skip

    @property
    def units(self) -> tuple[Units, ...]:
        """The stream, then the bypassed layers except the last, then the layers above the skip."""
        s, count, law = self.skip, len(self.weights), self.activation.law
        reads = lambda k: Slot(Parameter(k, "weights"), axis=1, name=f"weights of layer {k + 1}")  # noqa: E731
        writes = lambda k: Slot(Parameter(k, "weights"), axis=0, name=f"weights of layer {k + 1}")  # noqa: E731
        ends = (0, s) if s else (0,)
        stream = Units(
            incoming=tuple(map(writes, ends)), outgoing=tuple(reads(k + 1) for k in ends), law=law, name="stream"
        )
        others = [k for k in range(1, count - 1) if k not in ends]
        return stream, *(
            Units(incoming=(writes(k),), outgoing=(reads(k + 1),), law=law, name=f"layer {k + 1}") for k in others
        )

    @property
    def features(self) -> Features | None:
        """The input itself, if σ is linear."""
        if not self.activation.law.linear:
            return None
        return Features(of_input=identity_features, coefficients=_product, rank=_rank)

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
        """The output for one input (no batch axis)."""
        return _apply(self, x)

    def __str__(self) -> str:
        return f"{description(self)}\nactivation {self.activation.name}, skip={self.skip}"


def _apply(model: SkipConnected, h: Array) -> Array:
    stream = h
    for k, weight in enumerate(model.weights[:-1]):
        h = model.activation(weight @ h)
        if k == 0:
            stream = h
        elif k == model.skip:
            h = h + stream
    return model.weights[-1] @ h


def _product(model: SkipConnected) -> Float[Array, "outputs inputs"]:
    return _apply(model, jnp.eye(model.weights[0].shape[1], dtype=model.weights[0].dtype))


def _rank(model: SkipConnected) -> int:
    """The width, which all hidden layers share."""
    return model.weights[0].shape[0]
