"""Double precision, without which no sign of a small eigenvalue can be told."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...flows import Landscape, Trajectory


def coarse(trajectory: Trajectory) -> str | None:
    """Why the precision of a flow's weights does not suffice for kinds of critical points; `None` if it does."""
    if trajectory.thetas.dtype == np.float64:
        return None
    found, remedy = trajectory.thetas.dtype, 'jax.config.update("jax_enable_x64", True) before this call'
    return f"weights in {found} are too coarse for the signs of eigenvalues; kinds need float64: {remedy}"


def in_double_precision(trajectory: Trajectory) -> Trajectory:
    """The same flow with weights, data and records in double precision, where JAX has it; else the flow as it is."""
    if coarse(trajectory) is None or not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        return trajectory
    landscape = trajectory.landscape
    model, data = (_double(part) for part in (landscape.model, landscape.data))
    steps = jax.tree.map(lambda array: array.astype(np.float64), trajectory.steps)
    # A stiff solver with a Jacobian of its own would bring back the former landscape.
    stats = {**trajectory.stats, "reason": ""}
    landscape = Landscape(model, landscape.loss, data)
    return dataclasses.replace(trajectory, steps=steps, landscape=landscape, stats=stats, solver=None)


def _double(tree: Any) -> Any:
    """A tree whose real floating-point arrays are in double precision."""

    def one(leaf: Any) -> Any:
        return leaf.astype(np.float64) if jnp.issubdtype(getattr(leaf, "dtype", int), jnp.floating) else leaf

    return jax.tree.map(one, tree)
