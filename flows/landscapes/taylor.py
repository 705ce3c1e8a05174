"""Taylor coefficients of the gradient along a curve, of all orders from one program."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import jet
from jaxtyping import Array, Float

from ..compilation.traced import compiled
from .landscape import Landscape

# Order to which the gradient is expanded; the loss is then known to one more.
ORDER = 5


def gradient_series(
    landscape: Landscape, theta: Float[np.ndarray, " n"], curve: Float[np.ndarray, "k n"]
) -> Float[np.ndarray, "6 n"]:
    r"""The coefficients $g_0, \ldots, g_5$ of $\nabla L(\theta + \sum_k s^k c_k) = \sum_k s^k g_k + O(s^6)$.

    By Taylor arithmetic (`jax.experimental.jet`), in which all orders cost little more than the last; where the loss
    has operations or rules of differentiation that it does not know, by nested forward derivatives.

    Args:
        landscape: the landscape of the loss L.
        theta: θ.
        curve: $c_1, c_2, \ldots$, at most five rows.

    Returns:
        $g_0, \ldots, g_5$, one row each.
    """
    padded = np.zeros((ORDER, theta.size), theta.dtype)
    padded[: len(curve)] = curve
    return np.asarray(_series(landscape, theta, padded))


@compiled
def _series(landscape: Landscape, theta: Any, curve: Float[Any, "5 n"]) -> Float[Array, "6 n"]:
    factorials = np.array([math.factorial(k) for k in range(1, ORDER + 1)])
    derivatives = [factorial * row for factorial, row in zip(factorials, curve, strict=True)]
    try:
        value, series = jet.jet(landscape.gradient, (theta,), (derivatives,))
    except Exception:  # jet has half a dozen ways to report that it does not know an operation
        return _nested(landscape, theta, curve)
    return jnp.stack([value, *(row / factorial for row, factorial in zip(series, factorials, strict=True))])


def _nested(landscape: Landscape, theta: Any, curve: Float[Any, "5 n"]) -> Float[Array, "6 n"]:
    def along(s: Any) -> Any:
        displacement = jnp.zeros_like(theta)
        # By Horner's rule: derivatives of powers are not finite at zero.
        for row in curve[::-1]:
            displacement = s * (displacement + row)
        return landscape.gradient(theta + displacement)

    function, zero, rows = along, jnp.zeros((), theta.dtype), []
    for k in range(ORDER + 1):
        rows.append(function(zero) / math.factorial(k))
        function = lambda s, inner=function: jax.jvp(inner, (s,), (jnp.ones_like(s),))[1]  # noqa: E731
    return jnp.stack(rows)


def third_products(
    landscape: Landscape, theta: Float[np.ndarray, " n"], directions: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, "n k"]:
    r"""The vectors $D^3 L(d, d, \cdot)$ for several directions d, as columns."""
    return np.asarray(_third_products(landscape, theta, directions))


@compiled
def _third_products(landscape: Landscape, theta: Any, directions: Float[Any, "n k"]) -> Float[Array, "n k"]:
    def third(d: Array) -> Any:
        return jax.jvp(lambda point: landscape.hessian_product(point, d), (theta,), (d,))[1]

    return jax.vmap(third, in_axes=1, out_axes=1)(directions)
