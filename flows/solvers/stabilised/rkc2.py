"""RKC2: explicit stages that follow Chebyshev polynomials, as many as stability asks for."""

from abc import abstractmethod
from collections.abc import Callable
from math import factorial, sqrt
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField, check_quadratures, flat_field
from ..interpolation import PolynomialInterpolation
from .spectral_radius import SpectralRadius, cold_start, power_iteration


class StabilisedState(eqx.Module):
    """What a stabilised solver carries from step to step.

    - `rate`: the field at the current state;
    - `spectrum`: the spectral radius there;
    - `evaluations`: number of evaluations of the field since the start. As Diffrax forgets the state of a rejected
      step, neither these nor the products include the cost of rejected steps.
    """

    rate: Float[Array, " n"]
    spectrum: SpectralRadius
    evaluations: Int[Array, ""]


class StabilisedSolver(dfx.AbstractAdaptiveSolver):
    r"""What stabilised explicit methods share: the radius, the number of stages, the reuse of the last evaluation.

    A step of length h takes the fewest stages whose interval of stability $[-\beta, 0]$ holds $-h\rho$, ρ being the
    spectral radius times `safety`. A step that asks for more than `max_stages` is not made: its error is infinite, so
    that an adaptive controller shortens it, and at constant steps the solve ends as `dt_min_reached`. The error of a
    step after which the radius has outgrown its stages is infinite too.
    """

    max_stages: eqx.AbstractVar[int]
    safety: eqx.AbstractVar[float]
    quadratures: eqx.AbstractVar[int]

    term_structure: ClassVar = dfx.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., PolynomialInterpolation]] = PolynomialInterpolation

    @abstractmethod
    def stages(self, length: Float[Array, ""]) -> Float[Array, ""]:
        r"""The number of stages whose interval of stability has at least this length $h\rho$."""

    @abstractmethod
    def evaluations(self, stages: Array) -> Array:
        """Number of evaluations that a step of so many stages makes."""

    @abstractmethod
    def advance(
        self, field: FlatField, start: tuple[Any, Array, Array], h: Array, stages: Array
    ) -> tuple[Array, Callable[[Array], Array]]:
        """The increment over a step from (t, x, rate); the error estimate as a function of the rate at its end."""

    def __check_init__(self) -> None:
        if self.max_stages < 2:
            raise ValueError(f"max_stages must be at least 2; got {self.max_stages}.")
        if not self.safety >= 1:
            raise ValueError(f"safety must be at least 1, as the radius is estimated from below; got {self.safety}.")

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any) -> StabilisedState:
        field, x = flat_field(terms, y0, args)
        check_quadratures(self.quadratures, x.size)
        rate, product = self._observe(field, t0, x)
        unknown = cold_start(x.size - self.quadratures, x.dtype)
        spectrum = power_iteration(product, unknown, jnp.zeros_like(unknown.vector))
        return StabilisedState(rate, spectrum, jnp.ones((), int))

    def func(self, terms: Any, t0: Any, y0: Any, args: Any) -> Any:
        return terms.vf(t0, y0, args)

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        field, x = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, x.dtype)
        rate, spectrum = solver_state.rate, solver_state.spectrum
        if made_jump is not False:
            rate = jax.lax.cond(made_jump, lambda: field(t0, x), lambda: rate)
        stages = self.stages(jax.lax.stop_gradient(h) * self.safety * spectrum.radius)
        possible = stages <= self.max_stages
        stages = jnp.where(possible, stages, 2.0).astype(int)
        increment, estimate = self.advance(field, (t0, x, rate), h, stages)
        end = x + increment
        end_rate, product = self._observe(field, t1, end)
        change = jax.lax.stop_gradient(end_rate - rate)[: spectrum.vector.size]
        spectrum = power_iteration(product, spectrum, change)
        # Stable with the radius found at its end too; a state without a finite radius could not be left again.
        stable = possible & (self.stages(jax.lax.stop_gradient(h) * spectrum.radius) <= stages)
        error = jnp.where(stable, estimate(end_rate), jnp.inf)
        k0, k1 = h * rate, h * end_rate
        hermite = jnp.stack([x, k0, 3 * increment - 2 * k0 - k1, k0 + k1 - 2 * increment])
        result = dfx.RESULTS.where(possible, dfx.RESULTS.successful, dfx.RESULTS.dt_min_reached)
        spent = solver_state.evaluations + self.evaluations(stages)
        state = StabilisedState(end_rate, spectrum, spent)
        return (
            field.unravel(end),
            field.unravel(error),
            {"coefficients": jax.vmap(field.unravel)(hermite)},
            state,
            result,
        )

    def _observe(self, field: FlatField, t: Any, x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """The field at x and its Jacobian's products, which cost a linearisation but no further evaluation."""
        rate, tangent = jax.linearize(lambda state: field(t, state), x)
        tangent = jax.lax.stop_gradient(tangent)
        return rate, lambda v: tangent(jnp.pad(v, (0, self.quadratures)))[: v.size]


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
    field: FlatField, start: tuple[Any, Array, Array], h: Array, stages: Array, phi: float, max_stages: int
) -> Array:
    """The increment over a step of RKC2 from (t, x, field there), with the damping $T_s(w_0) = \\cosh\\varphi$."""
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
        # Increments over the start instead of stages: theirs are the smaller rounding errors.
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
    twice as much. For fields whose Jacobian has its eigenvalues near the negative real axis, as gradient
    flows have; no linear systems, only evaluations and a Jacobian–vector product or two per step.

    Its state records the spectral radius (see `radius`) and counts evaluations and products.

    - `max_stages`: stages per step at most. The estimate's rounding error is some $s^2/3$ epsilons, which bounds s by
      itself where the tolerance is near that.
    - `safety`: factor on the estimate of the spectral radius, which is a lower bound, and which may grow in a step.
    - `quadratures`: the last components of the ravelled state, so many, do not feed back into the field (the dissipated
      energy of a gradient flow). They are kept out of the power iteration, whose norms they may dominate.

    Source: Sommeijer, Shampine & Verwer (1997), "RKC: an explicit solver for parabolic PDEs", J. Comput. Appl. Math.
    88.
    """

    max_stages: int = 1000
    safety: float = 1.1
    quadratures: int = 0

    def order(self, terms: Any) -> int:
        return 2

    def error_order(self, terms: Any) -> int:
        return 3  # the estimate is of the error of the method itself

    def stages(self, length: Float[Array, ""]) -> Float[Array, ""]:
        # β = (1 + cosh θ) T_s''/T_s' is at least 0.65 (s² - 1).
        return jnp.maximum(2.0, jnp.ceil(jnp.sqrt(1 + length / 0.65)))

    def evaluations(self, stages: Array) -> Array:
        return stages

    def advance(self, field: FlatField, start: Any, h: Array, stages: Array) -> tuple[Array, Any]:
        t, x, rate = start
        increment = chebyshev_step(field, (t, x, rate), h, stages, PHI, self.max_stages)
        return increment, lambda end_rate: 0.4 * h * (rate + end_rate) - 0.8 * increment
