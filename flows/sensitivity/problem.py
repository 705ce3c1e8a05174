"""A flow as one differentiable solve, from a start to a time or an event."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ...models.units import layers_of
from ..landscapes.field import GradientFlow
from ..landscapes.landscape import Landscape, flatten
from ..simulation.checks import check_data, check_loss, check_model, check_tolerances
from ..simulation.simulate import default_rtol
from ..simulation.stepping import parameter_norm


class Problem(eqx.Module):
    """A flow and how to integrate it: Diffrax's `solver`, `controller`, `adjoint`, and `max_steps`."""

    landscape: Landscape
    solver: dfx.AbstractSolver
    controller: dfx.PIDController
    adjoint: dfx.AbstractAdjoint
    max_steps: int = eqx.field(static=True)

    def solve(
        self, theta: Float[Array, " n"], t1: Any, event: dfx.Event | None = None
    ) -> tuple[Float[Array, ""], Float[Array, " n"], dfx.RESULTS]:
        """(t, θ(t), result) of the flow from θ at time t1, or at the event if that is earlier."""
        zero = jnp.zeros((), theta.dtype)
        solution = dfx.diffeqsolve(
            dfx.ODETerm(GradientFlow(self.landscape)),
            self.solver,
            zero,
            jnp.asarray(t1, theta.dtype),
            None,
            (theta, zero),
            saveat=dfx.SaveAt(t1=True),
            stepsize_controller=self.controller,
            # A search is not differentiated: a plain loop serves.
            adjoint=self.adjoint if event is None else dfx.ForwardMode(),
            event=event,
            max_steps=self.max_steps,
            throw=False,
        )
        assert solution.ts is not None and solution.ys is not None  # as saveat asks for t1
        return solution.ts[-1], solution.ys[0][-1], solution.result


def problem_of(
    model: Any,
    loss: Callable[[Any, Any], Any],
    data: Any,
    *,
    solver: dfx.AbstractSolver | None = None,
    rtol: float | None = None,
    atol: Any = None,
    adjoint: dfx.AbstractAdjoint | None = None,
    max_steps: int = 100_000,
) -> tuple[Problem, Float[Array, " n"]]:
    """The problem of a model's flow, and the θ it starts from.

    **Arguments:** as for `flow_map`.

    **Raises:** `ValueError` for what makes no sense, as far as the values are known.
    """
    _check(model, loss, data, adjoint, max_steps)
    theta = flatten(model)
    rtol = default_rtol(theta.dtype) if rtol is None else rtol
    check_tolerances(rtol, atol if atol is not None and known(atol) else rtol, theta.dtype)
    atol = _default_atol(theta, rtol) if atol is None else atol
    if not all(units.law.smooth for units in layers_of(model)):
        theta, data = _map_inexact(_not_differentiable, (theta, data))
    problem = Problem(
        Landscape(stopped(model), loss, data),  # θ replaces the weights
        dfx.Tsit5() if solver is None else solver,
        dfx.PIDController(rtol=rtol, atol=atol, norm=parameter_norm),
        dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        max_steps,
    )
    return problem, theta


def _check(model: Any, loss: Callable, data: Any, adjoint: Any, max_steps: int) -> None:
    # Under `jax.jit`, known values would become unknown by being looked at.
    with jax.ensure_compile_time_eval():
        if known(model):
            check_model(model)
        if known(data):
            check_data(data)
    check_loss(loss, model, data)
    if isinstance(adjoint, dfx.BacksolveAdjoint):
        raise ValueError("gradient flow cannot be integrated backwards; use RecursiveCheckpointAdjoint or ForwardMode.")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1; got {max_steps}.")


@jax.custom_jvp
def _not_differentiable(leaf: Array) -> Array:
    return leaf


@_not_differentiable.defjvp
def _refuse(primals: Any, tangents: Any) -> Any:
    raise ValueError(
        "the model's units are not smooth: the vector field jumps at their kinks, and the derivative with it, which "
        "differentiated steps do not see. Take differences of times instead."
    )


def _default_atol(theta: Float[Array, " n"], rtol: float) -> Float[Array, ""]:
    """As `simulate`'s, but traceable: rtol times the tenth percentile of the sizes of the weights that are not zero."""
    sizes = jnp.abs(stopped(theta))
    size = jnp.nanquantile(jnp.where(sizes > 0, sizes, jnp.nan), 0.1)
    return rtol * jnp.where(jnp.isnan(size), 1.0, size)


def stopped(tree: Any) -> Any:
    """The same values without derivatives."""
    return _map_inexact(jax.lax.stop_gradient, tree)


def _map_inexact(function: Callable[[Array], Array], tree: Any) -> Any:
    return jax.tree.map(lambda leaf: function(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def known(tree: Any) -> bool:
    """Whether all values are there to be looked at."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def check_number(name: str, value: Any, positive: bool = False) -> None:
    """Refuses a known number that is not finite, or not positive."""
    if known(value) and not (np.isfinite(value) and (value > 0 or not positive)):
        raise ValueError(f"{name} must be {'positive and ' if positive else ''}finite; got {value}.")
