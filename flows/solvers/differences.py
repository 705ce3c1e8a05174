r"""Backward differences of a solution on equidistant times, and the formulas of differentiation built on them.

A step of length h keeps $D_j = \nabla^j y_n$ on the times $t_n - ih$: the polynomial through the last points is
$y(t_n + sh) = \sum_j D_j \prod_{m<j} (s + m)/(m + 1)$.
"""

from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from diffrax import AbstractLocalInterpolation
from jaxtyping import Array, Float, Int

HIGHEST = 5
# Rows of D: up to two differences beyond the order, from which the error at the next higher order is judged.
ROWS = HIGHEST + 3

# By order from 1; Shampine & Reichelt (1997), table 1. Order 5 is the pure backward differentiation formula.
_KAPPA = np.array([np.nan, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])
_HARMONIC = np.array([0.0, *np.cumsum(1 / np.arange(1, HIGHEST + 1))])
# The formula of order q: sum_{j<=q} HARMONIC_j D_j + LEADING_q (y - y_predicted) = h f(t, y), LEADING scaled by 1 - κ.
LEADING = (1 - _KAPPA) * _HARMONIC
# The local error is ERROR_q ∇^(q+1) y.
ERROR = _KAPPA * _HARMONIC + 1 / np.arange(1, HIGHEST + 2)
# U_ij = (-1)^i C(j, i): differences from the values at t_n - jh, and values from the differences, as U² = 1.
_VALUES = np.array([[(-1) ** i * comb(j, i) for j in range(HIGHEST + 1)] for i in range(HIGHEST + 1)], float)


def combine(weights: Float[Array, "*k r"], rows: Float[Array, "r n"]) -> Float[Array, "*k n"]:
    """Weighted sums of rows, in full precision on any device."""
    return jnp.tensordot(weights, rows, axes=1, precision=jax.lax.Precision.HIGHEST)


def start(y: Float[Array, " n"], increment: Float[Array, " n"]) -> Float[Array, "8 n"]:
    """The differences that begin an integration at order 1: y and its increment $hf$."""
    return jnp.zeros((ROWS, y.size), y.dtype).at[0].set(y).at[1].set(increment)


def rescale(differences: Float[Array, "8 n"], order: Int[Array, ""], ratio: Float[Array, ""]) -> Float[Array, "8 n"]:
    """The differences of the same polynomial of degree `order` on times apart by `ratio` times the present step.

    Source: Shampine & Reichelt (1997), section 2.2.
    """
    i, j = np.arange(1, HIGHEST + 1)[:, None], np.arange(HIGHEST + 1)
    factors = (i - 1 - ratio * j) / i
    values = jnp.cumprod(jnp.concatenate([jnp.ones((1, HIGHEST + 1), factors.dtype), factors]), axis=0)
    weights = jnp.dot(values, _VALUES.astype(values.dtype), precision=jax.lax.Precision.HIGHEST)
    inside = (jnp.arange(ROWS) <= order)[:, None]
    low = jnp.where(inside, differences, 0)[: HIGHEST + 1]
    padding = jnp.zeros((ROWS - HIGHEST - 1, differences.shape[1]), differences.dtype)
    return jnp.where(inside, jnp.concatenate([combine(weights.T, low), padding]), differences)


def predict(
    differences: Float[Array, "8 n"], order: Int[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]]:
    r"""The formula of an order for the next point: $y = p + d$ with $d + \psi = f(t, p + d) h / \alpha$.

    **Returns:** p, the extrapolated polynomial; ψ; α.
    """
    low = differences[: HIGHEST + 1]
    inside = jnp.arange(HIGHEST + 1) <= order
    leading = jnp.asarray(LEADING, low.dtype)[order]
    harmonic = jnp.where(inside, jnp.asarray(_HARMONIC, low.dtype), 0)
    return combine(inside.astype(low.dtype), low), combine(harmonic / leading, low), leading


def append(differences: Float[Array, "8 n"], order: Int[Array, ""], d: Float[Array, " n"]) -> Float[Array, "8 n"]:
    r"""The differences at the next point, whose difference of order `order` + 1 is d.

    $\nabla^{q+2} = d - D_{q+1}$, and below $D_j \leftarrow D_j + D_{j+1}$ from the top.
    """
    rows = jnp.arange(ROWS)[:, None]
    top = d - differences[order + 1]
    # D_j + ... + D_q + d for j <= q: sums from the top, as a product, which the compiler does faster than sums.
    inside = jnp.where(rows <= order, differences, jnp.where(rows == order + 1, d, 0))
    sums = combine(jnp.triu(jnp.ones((ROWS, ROWS), d.dtype)), inside)
    return jnp.where(rows == order + 2, top, sums)


class DifferenceInterpolation(AbstractLocalInterpolation):
    """Dense output by the polynomial through the last points of a backward differentiation formula.

    - `differences`: $D_0, …, D_5$ at t1, zero beyond the order, stacked on a leading axis of every leaf of the state.
    """

    t0: Any
    t1: Any
    differences: Any

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True) -> Any:
        """y at t0, or the increment from t0 to t1."""
        del left
        if t1 is not None:
            return jax.tree.map(lambda end, start: end - start, self.evaluate(t1), self.evaluate(t0))
        length = self.t1 - self.t0
        s = jnp.where(length == 0, 0.0, (t0 - self.t1) / jnp.where(length == 0, 1.0, length))
        m = np.arange(HIGHEST)
        weights = jnp.concatenate([jnp.ones(1, s.dtype), jnp.cumprod((s + m) / (m + 1))])
        return jax.tree.map(lambda rows: combine(weights.astype(rows.dtype), rows), self.differences)
