"""Backward differentiation of variable order and step, with a kept Jacobian: about one field evaluation per step.

Our own: JAX has no implicit multistep solver (Diffrax has one-step methods only).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jaxtyping import Array, Float, Int

from ..flat_field import FlatField, Jacobian, flat_field
from ..flat_solver import FlatSolver
from ..tolerances import CONTROLLER_TOLERANCES
from .chord import MAX_ITERATIONS, Chord, correct, no_chord, with_implicit_derivative
from .differences import ERROR, HIGHEST, ROWS, DifferenceInterpolation, append, predict
from .newton import System
from .newton_krylov import NewtonKrylov, correct_without_matrix, no_memory, with_implicit_derivative_matrix_free

# The controller multiplies the step by SAFETY / (scaled error)^(1/ERROR_ORDER): Diffrax's default safety, and the
# order of the error of the first steps, from which it also guesses the length of the first.
SAFETY, ERROR_ORDER = 0.9, 2
# A scaled error that the controller accepts without making the step longer.
HOLD = 0.99
# A step's estimated error may be this part of the tolerance: where differences beyond the order are not small, as
# behind a kink or at the end of a plateau, the estimate is several times too small. With all of the tolerance, errors
# behind kinks were twice those of the formulas with the classical constants; with less than this part, there are too
# many steps.
SHARE = 0.4
# Growth of a step by less is not worth a new factorisation; by more is not safe, and the controller's default limit.
MIN_GROWTH, MAX_GROWTH = 1.2, 10.0
# Safety factor: a step grows by this much less than its error allows.
CAUTION = 1.2
# Factors after a rejected step: the controller's lower limit, and the largest that it takes for a rejection; and the
# factor where Newton's iteration did not converge.
MIN_FACTOR, MAX_FACTOR, NOT_CONVERGED = 0.2, 0.85, 0.25
# A step shorter by this factor has been rejected five times: the past is no guide, and the order starts from 1 again.
RESTART = 1e-3
# Equal steps differ by rounding of the time.
EQUAL = 1e-2


class State(eqx.Module):
    """What `BDF` remembers between steps.

    Attributes:
        differences: backward differences of the solution on steps of length `h`.
        h: the length of the last step, negative backwards in time.
        order: the order of the next step.
        equal_steps: number of steps since order or length changed.
        newton: what Newton's iteration keeps, and the counts of work.
    """

    differences: Float[Array, "8 n"]
    h: Float[Array, ""]
    order: Int[Array, ""]
    equal_steps: Int[Array, ""]
    newton: Chord | NewtonKrylov

    def __str__(self) -> str:
        work = self.newton.counts if isinstance(self.newton, Chord) else self.newton
        return f"BDF of order {self.order} at steps of {self.h:.3g}\n{work} in the accepted steps"


class BDF(dfx.AbstractImplicitSolver[Any], FlatSolver):
    r"""Numerical differentiation formulas of orders 1–5 on quasi-constant steps, for stiff problems.

    With the differences $D_j = \nabla^j y_n$ the formula of order q is
    $\sum_{j=1}^q D_j(t_{n+1})/j - \kappa_q \gamma_q d = h f(t_{n+1}, y_{n+1})$, with $d = y_{n+1} - \sum_{j \le q} D_j$
    and $\gamma_q = \sum_{j \le q} 1/j$; the local error is $(\kappa_q \gamma_q + 1/(q + 1)) d$, of which a step may
    make two fifths of the tolerance.

    Order and length of the next step are chosen here and announced to the controller by a `y_error` of suitable size,
    all of whose components are equal shares of the tolerated error. The controller therefore has to be
    `diffrax.PIDController` with its default coefficients. A step grows only by a fifth or more, after q + 1 equal
    steps, and shrinks only after a failure; in between, the factorisation is kept. Counts of work are in the state's
    `newton`.

    Attributes:
        root_finder: the `Tolerances` (Diffrax's name for the field); by default the controller's. To be given with
            constant steps.
        root_find_max_steps: iterations of Newton's method after which a step, or an old Jacobian, has failed.
        max_order: highest order, 1–5; above 2 the formulas are stable only near the negative real axis, within 80°, 59°
            and 36° of it.
        jacobian: function (t, y, args) of the Jacobian of the ravelled field; by default forward differentiation.
        matrix_free: whether to solve with Jacobian–vector products, some five per step, instead of a Jacobian; it must
            then be symmetric except for the quadratures. Takes some twenty vectors of memory. With steps longer than
            some $10^6/\lambda_{\max}$, conjugate gradients need more products than a step may have, and a matrix is
            the better choice.
        quadratures: number of trailing components that do not enter the vector field (pure quadratures).

    Source: Shampine & Reichelt (1997), "The MATLAB ODE Suite", SIAM J. Sci. Comput. 18.
    """

    root_finder: Any = CONTROLLER_TOLERANCES
    root_find_max_steps: int = MAX_ITERATIONS  # pyright: ignore[reportIncompatibleVariableOverride]
    max_order: int = HIGHEST
    jacobian: Jacobian | None = None
    matrix_free: bool = False
    quadratures: int = 0

    interpolation_cls: ClassVar[Callable[..., DifferenceInterpolation]] = DifferenceInterpolation

    def __check_init__(self) -> None:
        if not 1 <= self.max_order <= HIGHEST:
            raise ValueError(f"max_order must be between 1 and {HIGHEST}; got {self.max_order}.")
        if self.root_find_max_steps < 2:
            raise ValueError(f"root_find_max_steps must be at least 2; got {self.root_find_max_steps}.")
        if self.matrix_free and self.jacobian is not None:
            raise ValueError("a matrix-free BDF has no use for a Jacobian: give either `matrix_free` or `jacobian`.")

    def order(self, terms: Any) -> int:
        """The highest order."""
        return self.max_order

    def error_order(self, terms: Any) -> int:
        """The order that the controller is to assume of the announced error."""
        return ERROR_ORDER

    def initial_memory(self, field: FlatField, t0: Any, x: Float[Array, " n"]) -> State:
        """Differences that do not count, since the first step begins an integration."""
        newton = no_memory(x.dtype) if self.matrix_free else no_chord(x.size, x.dtype)
        return State(
            differences=jnp.zeros((ROWS, x.size), x.dtype),
            # Any step is so much shorter than an infinite one that it begins again, as it does after many failures.
            h=jnp.asarray(jnp.inf, x.dtype),
            order=jnp.asarray(1),
            equal_steps=jnp.asarray(0),
            newton=newton,
        )

    def step(self, terms: Any, t0: Any, t1: Any, y0: Any, args: Any, solver_state: State, made_jump: Any) -> Any:
        """One step from t0 to t1, as Diffrax asks for it."""
        field, x = flat_field(terms, y0, args)
        h = jnp.asarray(t1 - t0, x.dtype)
        ratio = h / solver_state.h
        begins = (ratio < RESTART) | jnp.asarray(made_jump)
        state = _onto(solver_state, h, ratio, begins)
        first = lambda: jnp.stack([x, h * field(t0, x)])  # noqa: E731
        prediction = predict(state.differences, state.order, ratio, begins, first)
        size = self._size(y0, field.unravel(prediction.p), field.unravel)
        system = System(field, t1, prediction.p, prediction.psi, h / prediction.leading, self.jacobian)
        constant = jnp.asarray(ERROR / SHARE, x.dtype)
        tolerated = lambda v: size(constant[state.order] * v)  # noqa: E731
        d, converged, newton = self._corrected(system, state.newton, tolerated)
        # A failed step must not spoil derivatives, which exist at its start.
        system = eqx.tree_at(lambda system: system.p, system, jnp.where(converged, system.p, x))
        d = (with_implicit_derivative_matrix_free if self.matrix_free else with_implicit_derivative)(system, d)
        x1 = system.p + d
        y1 = field.unravel(x1)

        differences = append(prediction.differences, state.order, d).at[0].set(x1)
        size = self._size(y0, y1, field.unravel)
        around = state.order + jnp.arange(-1, 2)
        errors = jax.vmap(size)(constant[around.clip(1, HIGHEST)][:, None] * differences[around + 1])
        order, equal_steps, factor = _choose(state, lax.stop_gradient(errors), self.max_order)
        y_error = self._announce(jnp.where(converged, factor, NOT_CONVERGED), y0, y1)
        dense_info = {"differences": jax.vmap(field.unravel)(differences), "order": state.order}
        result = optx.RESULTS.where(converged, optx.RESULTS.successful, optx.RESULTS.nonlinear_divergence)
        state = State(differences=differences, h=h, order=order, equal_steps=equal_steps, newton=newton)
        return y1, y_error, dense_info, state, dfx.RESULTS.promote(result)

    def _corrected(self, system: System, newton: Any, tolerated: Callable[..., Any]) -> tuple[Array, Array, Any]:
        if self.matrix_free:
            return correct_without_matrix(system, newton, tolerated, self.root_find_max_steps, self.quadratures)
        return correct(system, newton, tolerated, self.root_find_max_steps)

    def _size(self, y0: Any, y1: Any, unravel: Callable[..., Any]) -> Callable[[Array], Float[Array, ""]]:
        """The norm of a flat error in a step from y0 to y1, divided by what is tolerated."""
        tolerated = self.root_finder.tolerated(y0, y1)
        return lambda error: self.root_finder.scaled_norm(unravel(error), tolerated)

    def _announce(self, factor: Float[Array, ""], y0: Any, y1: Any) -> Any:
        """An error estimate that makes the controller multiply the step by the factor, and reject it if below 1."""
        tolerated = self.root_finder.tolerated(y0, y1)
        unit = self.root_finder.norm(jax.tree.map(jnp.ones_like, tolerated))
        scaled = jnp.where(factor == 1, HOLD, (SAFETY / factor) ** ERROR_ORDER)
        return lax.stop_gradient(jax.tree.map(lambda leaf: leaf * (scaled / unit), tolerated))


def _onto(state: State, h: Array, ratio: Array, begins: Array) -> State:
    """The state for a step of length h, of order 1 again where an integration begins, as after many failures."""
    order = jnp.where(begins, 1, state.order)
    equal_steps = jnp.where(begins | (jnp.abs(ratio - 1) > EQUAL), 0, state.equal_steps)
    newton = state.newton.restarted(begins)
    return State(differences=state.differences, h=h, order=order, equal_steps=equal_steps, newton=newton)


def _choose(
    state: State, errors: Float[Array, " 3"], max_order: int
) -> tuple[Int[Array, ""], Int[Array, ""], Float[Array, ""]]:
    r"""Chooses order and length of the next step.

    With the errors e at the orders q - 1, q, q + 1 a step may grow by $e^{-1/q}, e^{-1/(q + 1)}, e^{-1/(q + 2)}$.

    Args:
        state: the state in which the step was made.
        errors: the errors e, 1 for what is tolerated.
        max_order: the highest order allowed.

    Returns:
        The order, the number of equal steps, and the factor for the step's length, below 1 for a rejection.
    """
    order, equal_steps = state.order, state.equal_steps + 1
    orders = order + jnp.arange(-1, 2)
    growth = errors ** (-1 / (orders + 1).astype(errors.dtype)) / CAUTION
    shorter = jnp.clip(growth[1], MIN_FACTOR, MAX_FACTOR)
    growth = jnp.minimum(jnp.where((orders >= 1) & (orders <= max_order), growth, 0), MAX_GROWTH)
    best = jnp.argmax(growth)
    change = (equal_steps > order) & (growth[best] >= MIN_GROWTH)
    factor = jnp.where(errors[1] < 1, jnp.where(change, growth[best], 1), shorter)
    return jnp.where(change, orders[best], order), jnp.where(change, 0, equal_steps), factor
