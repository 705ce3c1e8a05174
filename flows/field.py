"""The vector field: a model and a loss become dθ/dt = −∇L(θ) on a flat parameter vector."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def flatten(model: Any) -> Float[Array, " n"]:
    """All inexact arrays of a model as one vector θ, in the order of its leaves."""
    leaves = jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array))
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])


def unflatten(model: Any, theta: Float[Array, " n"]) -> Any:
    """The model with its inexact arrays taken from the vector θ; inverse of `flatten`."""
    dynamic, static = eqx.partition(model, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(dynamic)
    filled, start = [], 0
    for leaf in leaves:
        filled.append(theta[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return eqx.combine(jax.tree.unflatten(structure, filled), static)


class GradientFlow(eqx.Module):
    r"""The vector field of gradient flow, $\dot\theta = -\nabla L(\theta)$, with the dissipated energy beside it.

    The state is the pair $(\theta, E)$ with $\dot E = \|\nabla L\|^2$, so that $L(0) - L(t) - E(t)$, which is zero for
    the exact flow, measures the integrator's error.

    - `model`: any Equinox module; only the shapes and static parts of it matter here.
    - `loss`: scalar function of (model, data).
    """

    model: Any
    loss: Callable[[Any, Any], Float[Array, ""]] = eqx.field(static=True)

    def value(self, theta: Float[Array, " n"], data: Any) -> Float[Array, ""]:
        """The loss L(θ)."""
        return self.loss(unflatten(self.model, theta), data)

    def value_and_gradient(self, theta: Float[Array, " n"], data: Any) -> tuple[Array, Float[Array, " n"]]:
        """The loss L(θ) and its gradient ∇L(θ)."""
        return jax.value_and_grad(self.value)(theta, data)

    def __call__(self, t: Any, state: tuple[Array, Array], data: Any) -> tuple[Array, Array]:
        gradient = jax.grad(self.value)(state[0], data)
        return -gradient, jnp.sum(gradient**2)
