"""The tolerances of an iteration inside a step, by default those of the step-size controller."""

from collections.abc import Callable
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Tolerances(eqx.Module):
    """Tolerances of the local error, which also decide when an iteration inside a step may stop.

    Attributes:
        rtol: relative tolerance, positive.
        atol: absolute tolerance, positive, in units of the state.
        norm: norm of the error divided by its tolerance, a PyTree like the state.
    """

    rtol: Any
    atol: Any
    norm: Callable[[Any], Any]

    def tolerated(self, y0: Any, y1: Any) -> Any:
        """The tolerated error of each component in a step from y0 to y1, as `diffrax.PIDController` defines it."""
        return jax.tree.map(lambda a, b: self.atol + self.rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)), y0, y1)

    def scaled_norm(self, error: Any, tolerated: Any) -> Float[Array, ""]:
        """The norm of an error in units of the tolerated one: 1 is just acceptable."""
        return self.norm(jax.tree.map(jnp.divide, error, tolerated))


# Diffrax replaces these placeholders by the tolerances of the controller, in the field that it calls `root_finder`.
CONTROLLER_TOLERANCES: Any = dfx.with_stepsize_controller_tols(Tolerances)()  # pyright: ignore[reportArgumentType]
