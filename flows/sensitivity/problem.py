"""A flow as one differentiable solve, from its initial weights to a time or an event."""

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
from ..landscapes.landscape import Landscape
from ..landscapes.parameters import flatten
from ..simulation.checks import check_data, check_loss, check_model, check_tolerances
from ..simulation.solver_state import parameter_norm
from ..simulation.tolerances import default_atol, default_rtol


class Problem(eqx.Module):
    """A flow and how to integrate it.

    Attributes:
        landscape: the landscape to integrate on.
        solver: the Diffrax solver.
        controller: the step-size controller.
        adjoint: the method of differentiation.
        max_steps: the number of steps, rejected ones included, after which to stop.
    """

    landscape: Landscape
    solver: dfx.AbstractSolver[Any]
    controller: dfx.PIDController
    adjoint: dfx.AbstractAdjoint
    max_steps: int = eqx.field(static=True)

    def solve(
        self, theta: Float[Any, " n"], t1: Any, event: dfx.Event | None = None
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
            # A search is not differentiated, so a plain loop suffices.
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
    solver: dfx.AbstractSolver[Any] | None = None,
    rtol: float | None = None,
    atol: Any = None,
    adjoint: dfx.AbstractAdjoint | None = None,
    max_steps: int = 100_000,
) -> tuple[Problem, Float[Any, " n"]]:
    """The problem of a model's flow, and the θ it starts from.

    Args:
        model: the initial model.
        loss: scalar function of (model, data).
        data: any PyTree of arrays.
        solver: a Diffrax solver with error estimate; `None`: Tsit5.
        rtol: relative tolerance; `None`: as in `simulate`.
        atol: absolute tolerance; `None`: as in `simulate`.
        adjoint: the method of differentiation; `None`: `diffrax.RecursiveCheckpointAdjoint()`.
        max_steps: the number of steps, rejected ones included, after which to stop.

    Returns:
        The problem and θ. Invalid arguments raise `ValueError`, as far as their values are known.
    """
    _check(model, loss, data, adjoint, max_steps)
    theta = flatten(model)
    rtol = default_rtol(theta.dtype) if rtol is None else rtol
    check_tolerances(rtol, atol if atol is not None and known(atol) else rtol, theta.dtype)
    atol = default_atol(stopped(jnp.asarray(theta)), rtol) if atol is None else atol
    if not all(units.law.smooth for units in layers_of(model)):
        theta, data = _map_inexact(_not_differentiable, (theta, data))
    problem = Problem(
        landscape=Landscape(stopped(model), loss, data),  # θ replaces the weights
        solver=dfx.Tsit5() if solver is None else solver,
        controller=dfx.PIDController(rtol=rtol, atol=atol, norm=parameter_norm),
        adjoint=dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
        max_steps=max_steps,
    )
    return problem, theta


def _check(model: Any, loss: Callable[[Any, Any], Any], data: Any, adjoint: Any, max_steps: int) -> None:
    # Under `jax.jit`, operations on known values would be traced.
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
def _not_differentiable(leaf: Any) -> Any:
    return leaf


@_not_differentiable.defjvp
def _raise(primals: Any, tangents: Any) -> Any:
    raise ValueError(
        "the model's units are not smooth: the vector field jumps at their kinks, and the derivative with it, which "
        "discretise-then-optimise does not see. Take finite differences instead."
    )


def stopped(tree: Any) -> Any:
    """The same values without derivatives."""
    return _map_inexact(jax.lax.stop_gradient, tree)


def _map_inexact(function: Callable[[Array], Array], tree: Any) -> Any:
    return jax.tree.map(lambda leaf: function(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def known(tree: Any) -> bool:
    """Whether no value is traced."""
    return not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def check_number(name: str, value: Any, positive: bool = False) -> None:
    """Checks that a number, if it is not traced, is finite, and positive if it must be."""
    if known(value) and not (np.isfinite(value) and (value > 0 or not positive)):
        raise ValueError(f"{name} must be {'positive and ' if positive else ''}finite; got {value}.")
