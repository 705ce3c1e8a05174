r"""Backward differences of a solution on equidistant times, and the differentiation formulas built on them.

A step of length h keeps $D_j = \nabla^j y_n$ on the times $t_n - ih$: the polynomial through the last points is
$y(t_n + sh) = \sum_j D_j \prod_{m<j} (s + m)/(m + 1)$.
"""

from math import comb, factorial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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


def _rescalings() -> Float[np.ndarray, "8 8 6"]:
    r"""The differences of a polynomial on the spacing r h, as polynomials in r.

    $\nabla^i = \sum_m (-1)^m \binom{i}{m} y(t_n - m r h)$, where
    $y(t_n - m r h) = \sum_j D_j \prod_{l<j} (l - m r)/(l + 1)$.

    Returns:
        The coefficients of $D_j r^k$ in $\nabla^i$, with the axes i, j, k.
    """
    coefficients = np.zeros((ROWS, ROWS, HIGHEST + 1))
    for i, j in np.ndindex(HIGHEST + 1, HIGHEST + 1):
        # Ascending powers of r, in integers, so that what vanishes does so exactly.
        total = np.zeros(j + 1, int)
        for m in range(i + 1):
            product = np.array([(-1) ** m * comb(i, m)])
            for l in range(j):  # noqa: E741
                product = np.convolve(product, [l, -m])
            total += product
        coefficients[i, j, : j + 1] = total / factorial(j)
    return coefficients


_RESCALINGS = _rescalings()


def start(y: Float[Array, " n"], increment: Float[Array, " n"]) -> Float[Array, "8 n"]:
    """The differences that begin an integration at order 1: y and its increment $hf$."""
    return jnp.zeros((ROWS, y.size), y.dtype).at[0].set(y).at[1].set(increment)


def rescaling(order: Int[Array, ""], ratio: Float[Array, ""]) -> Float[Array, "8 8"]:
    """W such that W D are the differences on another spacing.

    Differences beyond the order are only estimates: they are multiplied by the power of the ratio with which they grow.

    Args:
        order: the order q up to which differences are exact.
        ratio: the new spacing over the present one.

    Returns:
        The matrix W.

    Source: Shampine & Reichelt (1997), section 2.2.
    """
    powers = jnp.cumprod(jnp.full(ROWS - 1, ratio))
    powers = jnp.concatenate([jnp.ones(1, powers.dtype), powers])
    weights = combine(jnp.asarray(_RESCALINGS, powers.dtype), powers[: HIGHEST + 1])
    low = jnp.arange(ROWS) <= order
    return jnp.where(low & low[:, None], weights, jnp.diag(powers))


def predict(
    differences: Float[Array, "8 n"], order: Int[Array, ""], weights: Float[Array, "8 8"]
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]]:
    r"""The formula of an order for the next point: $y = p + d$ with $d + \psi = f(t, p + d) h / \alpha$.

    Args:
        differences: the backward differences on the kept spacing.
        order: the order q of the formula.
        weights: W of `rescaling`: the differences on the step's spacing are W D.

    Returns:
        p, the extrapolated polynomial; ψ; α.
    """
    inside = jnp.arange(ROWS) <= order
    leading = jnp.asarray(LEADING, differences.dtype)[order]
    harmonic = jnp.where(inside, jnp.asarray(_HARMONIC, differences.dtype), 0)
    sums = jnp.stack([inside.astype(differences.dtype), harmonic / leading])
    p, psi = combine(combine(sums, weights), differences)
    return p, psi, leading


def append(
    differences: Float[Array, "8 n"], order: Int[Array, ""], weights: Float[Array, "8 8"], d: Float[Array, " n"]
) -> Float[Array, "8 n"]:
    r"""The differences at the next point, whose difference of order `order` + 1 is d.

    $\nabla^{q+2} = d - D_{q+1}$, and below $D_j \leftarrow D_j + D_{j+1}$ from the top. One matrix product does all of
    it, since each row is as long as the state.

    Args:
        differences: the backward differences at the last point, on the kept spacing.
        order: the order q of the formula.
        weights: W of `rescaling`: the differences on the step's spacing are W D.
        d: the correction of the prediction, $\nabla^{q+1} y$ at the next point.

    Returns:
        The differences at the next point, on the step's spacing.
    """
    i, j = jnp.arange(ROWS)[:, None], jnp.arange(ROWS)
    sums = ((i <= j) & (j <= order)).astype(d.dtype) - ((i == order + 2) & (j == order + 1))
    return combine(combine(sums, weights), differences) + jnp.where(i <= order + 2, d, 0)


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
