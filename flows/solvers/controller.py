"""A step-size controller whose solves can be stopped and continued."""

from typing import Any

import diffrax as dfx
import jax.numpy as jnp


class ResumableController(dfx.AbstractAdaptiveStepSizeController[Any, Any]):
    """Wraps a step-size controller and remembers the step that it proposed.

    A step that is cut to end at t1 does not shorten the next: the step proposed before the cut is tried again. The
    controller state is a pair: the state of the wrapped controller, and the proposed step. A solve that stopped is
    continued with the steps of an uninterrupted one by
    `diffeqsolve(..., dt0=controller_state[1], controller_state=controller_state, solver_state=solver_state)`.

    Attributes:
        controller: the wrapped controller, such as `diffrax.PIDController`.
    """

    controller: dfx.AbstractAdaptiveStepSizeController[Any, Any]

    def __init__(self, controller: dfx.AbstractAdaptiveStepSizeController[Any, Any]) -> None:
        self.controller = controller

    @property
    def rtol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The relative tolerance."""
        return self.controller.rtol

    @property
    def atol(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The absolute tolerance."""
        return self.controller.atol

    @property
    def norm(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The norm of an error divided by its tolerance."""
        return self.controller.norm

    def wrap(self, direction: Any) -> "ResumableController":
        """The controller for integration forwards or backwards in time, `direction` = 1 or -1."""
        controller: Any = self.controller.wrap(direction)
        return ResumableController(controller)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, error_order: Any
    ) -> tuple[Any, Any]:
        """The end of the first step and the controller state before it, as Diffrax asks for them."""
        end, state = self.controller.init(terms, t0, t1, y0, dt0, args, func, error_order)
        return end, (state, jnp.asarray(end - t0))

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: Any,
    ) -> Any:
        """Whether the step is accepted, start and end of the next, and the new state, as Diffrax asks for them."""
        state, proposed = controller_state
        keep, next_t0, next_t1, jump, state, result = self.controller.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state
        )
        dt = next_t1 - next_t0
        # Differences below 1e-6 come from rounding of the time.
        cut = keep & (t1 - t0 < proposed * (1 - 1e-6))
        dt = jnp.where(cut, jnp.maximum(dt, proposed), dt)
        return keep, next_t0, next_t0 + dt, jump, (state, dt), result
