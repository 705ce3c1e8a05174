"""What the stabilised explicit methods share: as many stages as the spectral radius along the flow requires."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField, flat_field
from ..flat_solver import FlatSolver
from ..interpolation import PolynomialInterpolation
from .spectral_radius import SpectralRadius, cold_start, power_iteration


class StabilisedState(eqx.Module):
    """What a stabilised solver carries from step to step.

    Attributes:
        rate: the field at the current state.
        spectrum: the spectral radius there.
        evaluations: number of evaluations of the field since the start. As Diffrax forgets the state of a rejected
            step, neither these nor the products include the cost of rejected steps.
    """

    rate: Float[Array, " n"]
    spectrum: SpectralRadius
    evaluations: Int[Array, ""]

    def __str__(self) -> str:
        return f"{self.spectrum}\n{self.evaluations} evaluations of the field in the accepted steps"


# Time, state and field at the start of a step.
Start = tuple[Any, Float[Array, " n"], Float[Array, " n"]]


class StabilisedSolver(FlatSolver):
    r"""What stabilised explicit methods share: the radius, the number of stages, the reuse of the last evaluation.

    A step of length h takes the fewest stages whose interval of stability $[-\beta, 0]$ holds $-h\rho$, ρ being the
    spectral radius times `safety`. A step that needs more than `max_stages` is not made: its error is infinite, so that
    an adaptive controller shortens it, and at constant steps the solve ends as `dt_min_reached`. The error of a step
    after which the radius has outgrown its stages is infinite too.

    Its state records the spectral radius (see `sharpness`) and counts evaluations and products.

    Attributes:
        max_stages: number of stages per step (or substep) of RKC2 at most. The rounding error of RKC2's error estimate
            is some $s^2/3$ epsilons, which bounds the number s of stages by itself where the tolerance is near that.
        safety: factor on the estimate of the spectral radius, which is a lower bound, and which may grow in a step.
        quadratures: number of trailing components that do not enter the vector field (pure quadratures). They are kept
            out of the power iteration, whose norms they might dominate.
    """

    max_stages: int = 1000
    safety: float | Float[Array, ""] = 1.1
    quadratures: int = 0

    interpolation_cls: ClassVar[Callable[..., PolynomialInterpolation]] = PolynomialInterpolation

    @abstractmethod
    def stages(self, length: Float[Array, ""]) -> Float[Array, ""]:
        r"""The number of stages whose interval of stability has at least this length $h\rho$."""

    @abstractmethod
    def evaluations(self, stages: Int[Array, ""]) -> Int[Array, ""]:
        """The number of evaluations of the field in a step of these stages."""

    @abstractmethod
    def advance(
        self, field: FlatField, start: Start, h: Float[Array, ""], stages: Int[Array, ""]
    ) -> tuple[Float[Array, " n"], Callable[[Array], Array]]:
        """The increment over a step, and its error estimate as a function of the rate at the step's end."""

    def __check_init__(self) -> None:
        if self.max_stages < 2:
            raise ValueError(f"max_stages must be at least 2; got {self.max_stages}.")
        if not self.safety >= 1:
            raise ValueError(f"safety must be at least 1, as the radius is estimated from below; got {self.safety}.")

    def initial_memory(self, field: FlatField, t0: Any, x: Float[Array, " n"]) -> StabilisedState:
        """The field and the spectral radius at the start."""
        rate, product = self._observe(field, t0, x)
        unknown = cold_start(x.size - self.quadratures, x.dtype)
        spectrum = power_iteration(product, unknown, jnp.zeros_like(unknown.vector))
        return StabilisedState(rate=rate, spectrum=spectrum, evaluations=jnp.ones((), int))

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: Any, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it."""
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
        # Stable with the radius at its end too. From a state without a finite radius no further step would be possible.
        stable = possible & (self.stages(jax.lax.stop_gradient(h) * spectrum.radius) <= stages)
        error = jnp.where(stable, estimate(end_rate), jnp.inf)
        k0, k1 = h * rate, h * end_rate
        hermite = jnp.stack([x, k0, 3 * increment - 2 * k0 - k1, k0 + k1 - 2 * increment])
        result = dfx.RESULTS.where(possible, dfx.RESULTS.successful, dfx.RESULTS.dt_min_reached)
        spent = solver_state.evaluations + self.evaluations(stages)
        state = StabilisedState(rate=end_rate, spectrum=spectrum, evaluations=spent)
        dense_info = {"coefficients": jax.vmap(field.unravel)(hermite)}
        return field.unravel(end), field.unravel(error), dense_info, state, result

    def _observe(
        self, field: FlatField, t: Any, x: Float[Array, " n"]
    ) -> tuple[Float[Array, " n"], Callable[[Array], Array]]:
        """The field at x and its Jacobian's products, which cost a linearisation but no further evaluation."""
        rate, tangent = jax.linearize(lambda state: field(t, state), x)
        tangent = jax.lax.stop_gradient(tangent)
        return rate, lambda v: tangent(jnp.pad(v, (0, self.quadratures)))[: v.size]
