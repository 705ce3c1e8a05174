"""The vector field of gradient flow on a landscape."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array

from .landscape import Landscape


class GradientFlow(eqx.Module):
    r"""The vector field of gradient flow, $\dot\theta = -\nabla L(\theta)$, with the dissipated energy beside it.

    The state is the pair $(\theta, E)$ with $\dot E = \|\nabla L\|^2$, so that $L(0) - L(t) - E(t)$, which is zero for
    the exact flow, measures the integrator's error. For Diffrax: `ODETerm(GradientFlow(landscape))`.

    Attributes:
        landscape: the landscape of the loss L.
    """

    landscape: Landscape

    def __call__(self, t: Any, state: tuple[Array, Array], args: Any = None) -> tuple[Array, Array]:
        """The time derivatives of (θ, E); time and `args` do not matter."""
        gradient = self.landscape.gradient(state[0])
        return -gradient, jnp.sum(gradient**2)

    def __str__(self) -> str:
        return f"Gradient flow dθ/dt = -∇L(θ), with the dissipated energy beside it, on the\n{self.landscape}"
