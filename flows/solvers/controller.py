"""A step-size controller whose solves can be stopped and continued."""

from typing import Any

import diffrax as dfx
import jax.numpy as jnp


class ResumableController(dfx.PIDController):
    """`diffrax.PIDController` that remembers the step it proposed, which a step cut to end at t1 does not shorten.

    The state is a pair: what `PIDController` remembers, and the step proposed. A solve that stopped is continued, with
    the steps of an uninterrupted one, by
    `diffeqsolve(..., dt0=controller_state[1], controller_state=controller_state, solver_state=solver_state)`.
    """

    def init(self, *args: Any, **kwargs: Any) -> Any:
        tnext, state = super().init(*args, **kwargs)
        return tnext, (state, jnp.asarray(tnext - args[1]))

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
        state, proposed = controller_state
        keep, next_t0, next_t1, jump, state, result = super().adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, state
        )
        dt = next_t1 - next_t0
        # A hair shorter is rounding of the time.
        cut = keep & (t1 - t0 < proposed * (1 - 1e-6))
        dt = jnp.where(cut, jnp.maximum(dt, proposed), dt)
        return keep, next_t0, next_t0 + dt, jump, (state, dt), result
