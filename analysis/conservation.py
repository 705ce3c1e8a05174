"""Quantities that gradient flow keeps, as a measure of integration error."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..flows import Trajectory, unflatten
from ..models import units_of
from .escape import unit_history


def conserved_quantities(model, theta) -> jnp.ndarray:
    r"""The known conserved quantities of a model with units, at parameters θ.

    Type iv: $\langle v_i, v_j \rangle - \langle u_i, u_j \rangle$ for all pairs of units; otherwise, for each unit and
    each pair of slots a, b with degrees of homogeneity $p_a, p_b$: $\|a_i\|^2 / p_a - \|b_i\|^2 / p_b$.
    Empty for models without either.

    Source: Du, Hu & Lee (2018); Marcotte, Gribonval & Peyré (2023).
    """
    units = units_of(model)
    if units is None:
        return jnp.zeros(0)
    model = unflatten(model, theta)
    slots = (*units.incoming, *units.outgoing)
    blocks = [jnp.moveaxis(slot.where(model), slot.axis, 0) for slot in slots]
    blocks = [block.reshape(block.shape[0], -1) for block in blocks]
    if units.law.linear:
        grams = [block @ block.T for block in blocks]
        count = len(units.incoming)
        return jnp.ravel(sum(grams[count:], jnp.zeros(())) - sum(grams[:count], jnp.zeros(())))
    sizes = [jnp.sum(b**2, axis=1) / slot.degree for b, slot in zip(blocks, slots, strict=True) if slot.degree]
    return jnp.concatenate([jnp.zeros(0), *(a - b for a, b in zip(sizes, sizes[1:], strict=False))])


def conserved_drift(trajectory: Trajectory) -> float | None:
    """The largest change of a conserved quantity along a trajectory, relative to the largest ‖θ_i‖² on it.

    `None` where the model has no known conserved quantity.
    """
    model = trajectory.initial_model
    start = conserved_quantities(model, jnp.asarray(trajectory.ys[0]))
    if start.size == 0:
        return None
    scale = float(np.max(np.sum(unit_history(model, trajectory.ys) ** 2, axis=2)))
    return float(jnp.max(_changes(model, start, trajectory.ys))) / scale if scale > 0 else 0.0


@eqx.filter_jit
def _changes(model, start, ys):
    # One time after the other: for type iv there are H² quantities.
    return jax.lax.map(lambda theta: jnp.max(jnp.abs(conserved_quantities(model, theta) - start)), ys)
