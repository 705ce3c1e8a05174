"""Diffrax's Kvaerno5 with a repaired chord iteration.

Versions concerned: diffrax 0.7.2 with optimistix 0.1.0. There `diffrax.VeryChord` reports divergence after every
iteration that has not yet converged. Older releases of optimistix read that report only when the iteration asked to
stop; 0.1.0 reads it after every iteration and gives up, so that nearly every implicit step is rejected until the step
is so short that two iterations suffice.
"""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx
from jax.flatten_util import ravel_pytree


class _DenseLU(lx.AbstractLinearSolver[Any]):
    """An LU factorisation of any operator's matrix, also within `jax.shard_map`.

    There Lineax takes a vector for another one than its operator was made for, as it compares how they are sharded.
    """

    def init(self, operator: lx.AbstractLinearOperator, options: dict[str, Any]) -> Any:
        """The factorisation, as Lineax asks for it."""
        return jax.scipy.linalg.lu_factor(operator.as_matrix())

    def compute(self, state: Any, vector: Any, options: dict[str, Any]) -> tuple[Any, lx.RESULTS, dict[str, Any]]:
        """The solution, as Lineax asks for it: of the structure of the right-hand side."""
        right, unravel = ravel_pytree(vector)
        solution = jax.scipy.linalg.lu_solve(state, right)
        failed = jnp.all(jnp.isfinite(right)) & ~jnp.all(jnp.isfinite(solution))
        return unravel(solution), lx.RESULTS.where(failed, lx.RESULTS.singular, lx.RESULTS.successful), {}

    def transpose(self, state: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Not needed: derivatives do not go through the iteration."""
        raise NotImplementedError("the iteration of an implicit step is not differentiated.")

    def conj(self, state: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The same: states are real."""
        return state, options

    def assume_full_rank(self) -> bool:
        """A singular matrix is a failure."""
        return True


class PatientChord(optx.AbstractRootFinder[Any, Any, Any, Any]):
    """Wraps `diffrax.VeryChord` and reports divergence only when the iteration stops.

    Attributes:
        rtol: relative tolerance of a correction.
        atol: absolute tolerance.
        norm: norm of a correction divided by its tolerance.
    """

    rtol: Any
    atol: Any
    norm: Callable[[Any], Any]

    @property
    def chord(self) -> dfx.VeryChord:
        """The wrapped iteration."""
        return dfx.VeryChord(rtol=self.rtol, atol=self.atol, norm=self.norm, linear_solver=_DenseLU())

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """The state before the first iteration, as Optimistix asks for it."""
        return self.chord.init(*args, **kwargs)

    def step(self, *args: Any, **kwargs: Any) -> Any:
        """One iteration, as Optimistix asks for it."""
        return self.chord.step(*args, **kwargs)

    def terminate(
        self, fn: Any, y: Any, args: Any, options: dict[str, Any], state: Any, tags: frozenset[object]
    ) -> tuple[Any, optx.RESULTS]:
        """Whether to stop, and the result, which is a failure only then or when a linear system could not be solved."""
        stop, result = self.chord.terminate(fn, y, args, options, state, tags)
        linear_failure = state.result != optx.RESULTS.successful
        return stop, optx.RESULTS.where(stop | linear_failure, result, optx.RESULTS.successful)

    def postprocess(self, *args: Any, **kwargs: Any) -> Any:
        """The solution as Optimistix returns it."""
        return self.chord.postprocess(*args, **kwargs)


def kvaerno5() -> dfx.AbstractSolver[Any]:
    """Kvaerno's L-stable method of order 5 with `PatientChord` at the controller's tolerances.

    Its steps are not limited by the fastest rate and cost one Jacobian (a Hessian) each: for long plateaus beside large
    curvatures and up to about a thousand parameters.

    Returns:
        Diffrax's solver.

    Source: Kværnø (2004), ESDIRK 5/4.
    """
    make: Any = dfx.with_stepsize_controller_tols(PatientChord)  # pyright: ignore[reportArgumentType]
    return dfx.Kvaerno5(root_finder=make())
