"""RKC2: explicit stages that follow Chebyshev polynomials, as many as stability asks for.

Our own: Diffrax has no stabilised method.
"""

from collections.abc import Callable
from math import factorial, sqrt
from typing import Any

import equinox.internal as eqxi
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField
from .solver import StabilisedSolver, Start

# The damping of Sommeijer, Shampine & Verwer: w_0 = 1 + ε/s² with ε = 2/13, here w_0 = cosh(φ/s) with φ² = 2ε, which
# differs by O(s⁻⁴) and makes T_s(w_0) = cosh φ for every s.
PHI = sqrt(4 / 13)


def _series(coefficients: list[float], square: Array) -> Array:
    return jnp.polyval(jnp.asarray(coefficients[::-1], square.dtype), square)


def _sinhc(u: Array) -> Array:
    # sinh(u)/u. Twelve terms of the series are exact to rounding for |u| ≤ 1.5, and cancel nowhere.
    return _series([1 / factorial(2 * k + 1) for k in range(12)], u**2)


def _coshc(u: Array) -> Array:
    # (cosh(u) - sinh(u)/u)/u².
    return _series([2 * k / factorial(2 * k + 1) for k in range(1, 13)], u**2)


def _derivatives(j: Array, theta: Array) -> tuple[Array, Array]:
    r"""$T_j'(w)$ and $T_j''(w)$ at $w = \cosh\theta$, accurate for small θ in single precision too."""
    one, many = _sinhc(theta), _sinhc(j * theta)
    first = j**2 * many / one
    second = j**2 * (j**2 * _coshc(j * theta) - _coshc(theta) * many / one) / one**2
    return first, second


def chebyshev_step(
    field: FlatField,
    start: Start,
    h: Float[Array, ""],
    stages: Int[Array, ""],
    phi: float,
    max_stages: int,
) -> Float[Array, " n"]:
    r"""A step of RKC2.

    Args:
        field: f on flat vectors.
        start: time, state and field at the start of the step.
        h: the length of the step.
        stages: the number s of stages, at least 2.
        phi: the damping φ, $T_s(w_0) = \cosh\varphi$.
        max_stages: upper bound of s, known when the step is compiled.

    Returns:
        The increment of the state over the step.
    """
    t, x, rate = start
    theta = phi / stages.astype(x.dtype)
    first, second = _derivatives(stages.astype(x.dtype), theta)
    w0, w1 = jnp.cosh(theta), first / second

    def b(j: Array) -> Array:
        first, second = _derivatives(jnp.maximum(j, 2), theta)
        return second / first**2

    def node(j: Array) -> Array:
        first, second = _derivatives(jnp.maximum(j, 2), theta)
        return w1 * second / first * jnp.where(j == 1, 1 / (4 * w0), 1.0)

    def stage(carry: Any) -> Any:
        # Increments over the start instead of stages: their rounding errors are smaller.
        count, last, before = carry
        j = count.astype(x.dtype)
        here, below = b(j), b(j - 1)
        a = 1 - below * jnp.cosh((j - 1) * theta)
        mu, nu, slope = 2 * w0 * here / below, -here / b(j - 2), 2 * w1 * here / below
        value = field(t + (node(j - 1) * h).astype(jnp.result_type(t)), x + last)
        return count + 1, mu * last + nu * before + slope * h * (value - a * rate), last

    first_stage = b(jnp.ones_like(theta)) * w1 * h * rate
    _, increment, _ = eqxi.while_loop(
        lambda carry: carry[0] <= stages,
        stage,
        (jnp.asarray(2), first_stage, jnp.zeros_like(x)),
        max_steps=max_stages - 1,
        kind="checkpointed",
    )
    return increment


class RKC2(StabilisedSolver):
    r"""Runge–Kutta–Chebyshev method of order 2 with as many stages as stability asks for.

    With s stages it is stable on $[-\beta, 0]$ with $\beta \approx 0.65 s^2$, so that a step four times as long costs
    twice as much. For fields whose Jacobian has its eigenvalues near the negative real axis, as that of a gradient flow
    has; no linear systems, only evaluations and a Jacobian–vector product or two per step.

    `max_stages`, `safety`, `quadratures` and the solver state are those of `StabilisedSolver`.

    Source: Sommeijer, Shampine & Verwer (1997), "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math.
    88.
    """

    def order(self, terms: Any) -> int:
        """The order, 2."""
        return 2

    def error_order(self, terms: Any) -> int:
        """The order of the error estimate, which is that of the method itself."""
        return 3

    def stages(self, length: Float[Array, ""]) -> Float[Array, ""]:
        r"""The number of stages whose interval of stability has at least this length $h\rho$."""
        # β = (1 + cosh θ) T_s''/T_s' is at least 0.65 (s² - 1).
        return jnp.maximum(2.0, jnp.ceil(jnp.sqrt(1 + length / 0.65)))

    def evaluations(self, stages: Int[Array, ""]) -> Int[Array, ""]:
        """The number of evaluations of the field in a step of these stages."""
        return stages

    def advance(
        self, field: FlatField, start: Start, h: Float[Array, ""], stages: Int[Array, ""]
    ) -> tuple[Float[Array, " n"], Callable[[Array], Array]]:
        """The increment over a step, and its error estimate as a function of the rate at the step's end."""
        _, _, rate = start
        increment = chebyshev_step(field, start, h, stages, PHI, self.max_stages)
        return increment, lambda end_rate: 0.4 * h * (rate + end_rate) - 0.8 * increment
