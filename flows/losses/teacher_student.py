"""Losses on infinitely many Gaussian inputs, in closed form."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ...models import Activation, Committee, Dense, TwoLayer
from .declaration import declares


@declares(lower_bound=0.0, convex=True)
def gaussian_loss(model: Any, teacher: Any) -> Float[Array, ""]:
    r"""$L = \frac{1}{2} E \|f(x) - f^*(x)\|^2$ over $x \sim N(0, 1)$, exactly.

    With the rows z of the incoming weights of student and teacher and ω their outgoing ones, the teacher's negative,
    $L = \frac{1}{2} \sum_{ij} \omega_i \cdot \omega_j K(z_i, z_j)$ with $K$ the activation's Gaussian kernel. Use it as
    a loss, with the teacher as data: `simulate(student, gaussian_loss, teacher, t1=100.0)`.

    Args:
        model: the student, a `TwoLayer` network of `Dense` units without biases or a `Committee`.
        teacher: a network of the same activation, inputs and outputs.

    Returns:
        The loss.

    Raises:
        ValueError: when the models are others, or their activation has no kernel.

    Source: Saad & Solla (1995) for the error function; Cho & Saul (2009) for ReLU.
    """
    activation, u, v = _hidden(model)
    other, u_teacher, v_teacher = _hidden(teacher)
    if activation != other:
        raise ValueError(f"student and teacher must have one activation; got {activation.name} and {other.name}.")
    if activation.kernel is None:
        raise ValueError(f"the activation {activation.name} has no Gaussian kernel: give it one, Activation(kernel=…).")
    if u.shape[1] != u_teacher.shape[1] or v.shape[1] != v_teacher.shape[1]:
        raise ValueError(f"student and teacher differ in inputs or outputs: {u.shape}, {u_teacher.shape}.")
    z, omega = jnp.concatenate([u, u_teacher]), jnp.concatenate([v, -v_teacher])
    kernel = jax.vmap(jax.vmap(activation.kernel, (None, 0)), (0, None))(z, z)
    return jnp.sum((omega @ omega.T) * kernel) / 2


def _hidden(model: Any) -> tuple[Activation, Float[Array, "H N"], Float[Array, "H No"]]:
    """Activation, incoming and outgoing weights."""
    if isinstance(model, Committee):
        return model.activation, model.weights, jnp.ones((model.weights.shape[0], 1), model.weights.dtype)
    if isinstance(model, TwoLayer) and isinstance(model.architecture, Dense) and not model.architecture.bias:
        return model.architecture.activation, model.u, model.v
    raise ValueError(
        "a Gaussian loss is known for TwoLayer networks of Dense units without biases and Committees; "
        f"got {type(model)}."
    )
