r"""Backward differences of a solution on equidistant times, and the differentiation formulas built on them.

A step of length h keeps $D_j = \nabla^j y_n$ on the times $t_n - ih$: the polynomial through the last points is
$y(t_n + sh) = \sum_j D_j \prod_{m<j} (s + m)/(m + 1)$.
"""

from collections.abc import Callable
from math import comb, factorial
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from ..flat_field import combine
from ..interpolation import StepInterpolation, fraction

HIGHEST = 5
# Rows of D: up to two differences beyond the order, from which the error at the next higher order is judged.
ROWS = HIGHEST + 3

# By order from 1. Orders 1-3: Shampine & Reichelt (1997), table 1. Theirs of orders 4 and 5, -0.0415 and 0, keep the
# formulas stable for |arg(-λ)| < 66° and 52°. A gradient flow's eigenvalues are real: with the values here it is 59°
# and 36°, but the error constants are half as large, and steps at the same error some 15 % longer.
_KAPPA = np.array([np.nan, -0.185, -1 / 9, -0.0823, -0.07, -0.04])
_HARMONIC = np.array([0.0, *np.cumsum(1 / np.arange(1, ROWS))])
# The formula of order q: sum_{j<=q} HARMONIC_j D_j + LEADING_q (y - y_predicted) = h f(t, y), LEADING scaled by 1 - κ.
LEADING = (1 - _KAPPA) * _HARMONIC[: HIGHEST + 1]
# The local error is ERROR_q ∇^(q+1) y.
ERROR = _KAPPA * _HARMONIC[: HIGHEST + 1] + 1 / np.arange(1, HIGHEST + 2)


def _rescaling(order: int) -> Float[np.ndarray, "8 8 8"]:
    r"""W such that W D are the differences on the spacing r h, as polynomials in r.

    $\nabla^i = \sum_m (-1)^m \binom{i}{m} y(t_n - m r h)$, where
    $y(t_n - m r h) = \sum_j D_j \prod_{l<j} (l - m r)/(l + 1)$. Differences beyond the order are only estimates: they
    are multiplied by the power of the ratio with which they grow.

    Args:
        order: the order q up to which differences are exact.

    Returns:
        The coefficients of $D_j r^k$ in $\nabla^i$, with the axes i, j, k.

    Source: Shampine & Reichelt (1997), section 2.2.
    """
    coefficients = np.zeros((ROWS, ROWS, ROWS))
    for i, j in np.ndindex(order + 1, order + 1):
        # Ascending powers of r, in integers, so that what vanishes does so exactly.
        total = np.zeros(j + 1, int)
        for m in range(i + 1):
            product = np.array([(-1) ** m * comb(i, m)])
            for l in range(j):  # noqa: E741
                product = np.convolve(product, [l, -m])
            total += product
        coefficients[i, j, : j + 1] = total / factorial(j)
    beyond = np.arange(order + 1, ROWS)
    coefficients[beyond, beyond, beyond] = 1.0
    return coefficients


def _sums(order: int) -> Float[np.ndarray, "10 8"]:
    r"""What the formula of an order makes of the differences on the step's spacing.

    Args:
        order: the order q of the formula.

    Returns:
        The weights of $D_j$ in p, in ψ and in the differences at the next point for d = 0, of which the one of order
        q + 2 is $-D_{q+1}$ and those below are $D_j \leftarrow D_j + D_{j+1}$ from the top.
    """
    i, j = np.arange(ROWS)[:, None], np.arange(ROWS)
    appended = 1.0 * ((i <= j) & (j <= order)) - ((i == order + 2) & (j == order + 1))
    return np.stack([1.0 * (j <= order), np.where(j <= order, _HARMONIC, 0) / LEADING[order], *appended])


_SUMS = [_sums(order) for order in range(1, HIGHEST + 1)]
# By order from 1, with the axes of `_rescaling`.
_WEIGHTS = np.stack([np.tensordot(sums, _rescaling(order), 1) for order, sums in enumerate(_SUMS, 1)])
# Those of y and its increment hf, where an integration begins.
_FIRST = _SUMS[0][:, :2]


class Prediction(eqx.Module):
    r"""The formula of an order for the next point: $y = p + d$ with $d + \psi = f(t, p + d) h / \alpha$.

    Attributes:
        p: the extrapolated polynomial.
        psi: ψ.
        leading: α.
        differences: what the differences at the next point would be for d = 0.
    """

    p: Float[Array, " n"]
    psi: Float[Array, " n"]
    leading: Float[Array, ""]
    differences: Float[Array, "8 n"]


def predict(
    differences: Float[Array, "8 n"],
    order: Int[Array, ""],
    ratio: Float[Array, ""],
    begins: Bool[Array, ""],
    first: Callable[[], Float[Array, "2 n"]],
) -> Prediction:
    """The prediction for the next point, and all that its correction will be added to.

    One matrix product does all of it, since each row is as long as the state.

    Args:
        differences: the backward differences on the kept spacing.
        order: the order of the formula, 1 where an integration begins.
        ratio: the step over the kept spacing.
        begins: whether an integration begins, for which no differences count.
        first: makes y and its increment hf, from which an integration begins.

    Returns:
        The prediction.
    """
    dtype = differences.dtype
    coefficients = jnp.asarray(_WEIGHTS, dtype)[order - 1]
    # Horner's rule, number by number: the compiler makes one loop of all.
    weights = coefficients[..., ROWS - 1]
    for power in reversed(range(ROWS - 1)):
        weights = weights * ratio + coefficients[..., power]
    # Not a conditional between the differences, which it would copy.
    rows = lax.cond(
        eqxi.unvmap_any(begins),
        lambda: jnp.where(begins, combine(jnp.asarray(_FIRST, dtype), first()), combine(weights, differences)),
        lambda: combine(weights, differences),
    )
    return Prediction(p=rows[0], psi=rows[1], leading=jnp.asarray(LEADING, dtype)[order], differences=rows[2:])


def append(predicted: Float[Array, "8 n"], order: Int[Array, ""], d: Float[Array, " n"]) -> Float[Array, "8 n"]:
    r"""The differences at the next point, whose difference of order `order` + 1 is d.

    Args:
        predicted: the differences at the next point for d = 0.
        order: the order q of the formula.
        d: the correction of the prediction, $\nabla^{q+1} y$ at the next point.

    Returns:
        The differences at the next point, on the step's spacing.
    """
    return predicted + jnp.where(jnp.arange(ROWS)[:, None] <= order + 2, d, 0)


class DifferenceInterpolation(StepInterpolation):
    """Dense output by the polynomial through the last points of a backward differentiation formula.

    Attributes:
        differences: $D_0, …, D_7$ at t1, stacked on a leading axis of every leaf of the state.
        order: the degree of the polynomial; differences beyond it do not count.
    """

    differences: Any
    order: Int[Array, ""]

    def at(self, t: Any) -> Any:
        """The state at time t."""
        s = fraction(t - self.t1, self.t1 - self.t0)
        m = np.arange(ROWS - 1)
        weights = jnp.concatenate([jnp.ones(1, s.dtype), jnp.cumprod((s + m) / (m + 1))])
        weights = jnp.where(jnp.arange(ROWS) <= self.order, weights, 0)
        return jax.tree.map(lambda rows: combine(weights.astype(rows.dtype), rows), self.differences)
