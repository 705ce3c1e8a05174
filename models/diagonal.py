"""Diagonal linear networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .arguments import check_key, check_scale, check_sizes, whole
from .description import description
from .features import Features, identity_features
from .initialisation import normal_arrays


class DiagonalLinear(eqx.Module):
    r"""$f(x) = \beta \cdot x$ with $\beta = w_1 \odot \cdots \odot w_L$, all $w_l \in R^{inputs}$.

    It declares no units: every coordinate has an input of its own, so that none can replace another.

    Args:
        inputs: dimension of x, at least 1.
        layers: L, at least 2; by default 2, the network of the source.
        scale: α ≥ 0, the standard deviation of the entries.
        key: random key; without one (the default) $w_L = 0$, hence β = 0, and all other entries are
            $\sqrt 2\, \alpha$, so that $w_1^2 - w_2^2 = 2 \alpha^2$ for L = 2.

    Raises:
        ValueError: for a size below 1, fewer than two layers, or a scale that is negative or not finite.

    Source: Woodworth et al. (2020), "Kernel and rich regimes in overparametrized models".
    """

    weights: tuple[Float[Array, " inputs"], ...]

    def __init__(self, *, inputs: int, layers: int = 2, scale: float, key: PRNGKeyArray | None = None):
        check_sizes(inputs=inputs)
        check_scale(scale)
        if whole("layers", layers) < 2:
            raise ValueError(f"a diagonal network has at least two layers; got {layers}.")
        if key is None:
            equal = jax.device_put(np.full(inputs, np.sqrt(2.0) * scale))
            self.weights = (*(layers - 1) * (equal,), jax.device_put(np.zeros(inputs)))
        else:
            check_key(key)
            self.weights = normal_arrays(key, layers * ((inputs,),), scale)

    @property
    def beta(self) -> Float[Array, " inputs"]:
        """The coefficients β of the linear map."""
        return jnp.prod(jnp.stack(self.weights), axis=0)

    @property
    def features(self) -> Features:
        """The input itself."""
        return Features(of_input=identity_features, coefficients=_coefficients)

    def conserved(self) -> Float[Array, "pairs inputs"]:
        r"""The $L - 1$ conserved quantities $w_l^2 - w_{l+1}^2$ of every coordinate."""
        squares = jnp.stack(self.weights) ** 2
        return squares[:-1] - squares[1:]

    def __call__(self, x: Float[Array, " inputs"]) -> Float[Array, " 1"]:
        """The output for one input (no batch axis)."""
        return jnp.sum(self.beta * x, keepdims=True)

    def __str__(self) -> str:
        return f"{description(self)}\nproduct of {len(self.weights)} layers on {self.weights[0].size} inputs"


def _coefficients(model: DiagonalLinear) -> Float[Array, "1 inputs"]:
    return model.beta[None]
