"""Quantities that gradient flow conserves, as a measure of integration error."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import Trajectory, unflatten
from ...flows.compilation.traced import Traced, compiled, evaluate, trace
from ...flows.landscapes.unit_positions import unit_history
from ...models import Units, incoming, outgoing
from ...models.unit_axis import by_unit
from ...models.units import layers_of

# Saved times that one call examines: of one size, so that flows of any number of steps share what is compiled.
TIMES_PER_CALL = 256


def conserved_quantities(model: Any, theta: Float[Array, " n"]) -> Float[Array, " k"]:
    r"""The known conserved quantities of a model, at parameters θ.

    For every layer of units

    - of type iv: $\langle v_i, v_j \rangle - \langle u_i, u_j \rangle$ for all pairs of units;
    - homogeneous of degree p: $\|u_i\|^2 / p - \|v_i\|^2$ for each unit;
    - for each pair of slots a, b with degrees of homogeneity $p_a, p_b$: $\|a_i\|^2 / p_a - \|b_i\|^2 / p_b$;
    - for each pair of slots that enter through $A_i^\top B_i$ alone: $A_i A_i^\top - B_i B_i^\top$.

    A model may state others by a method `conserved()` that returns them as an array.

    Args:
        model: any model; without units and without `conserved` it has none.
        theta: θ, its flattened parameters.

    Returns:
        The values, linearly dependent ones included.

    Source: Du, Hu & Lee (2018); Marcotte, Gribonval & Peyré (2023).
    """
    model = unflatten(model, theta)
    parts = [_of_layer(model, units, layer) for layer, units in enumerate(layers_of(model))]
    own = getattr(model, "conserved", None)
    return jnp.concatenate([jnp.zeros(0, theta.dtype), *parts, *([] if own is None else [jnp.ravel(own())])])


def _of_layer(model: Any, units: Units, layer: int) -> Float[Array, " k"]:
    u, v = incoming(model, layer), outgoing(model, layer)
    if units.law.linear:
        return jnp.ravel(v @ v.T - u @ u.T)
    parts = [] if units.law.degree is None else [jnp.sum(u**2, axis=1) / units.law.degree - jnp.sum(v**2, axis=1)]
    rows = lambda slot: jnp.asarray(by_unit(slot.where(model), slot))  # noqa: E731
    size = lambda slot: jnp.sum(jnp.reshape(rows(slot), (u.shape[0], -1)) ** 2, axis=1)  # noqa: E731
    sizes = [size(slot) / slot.degree for slot in (*units.incoming, *units.outgoing) if slot.degree]
    parts += [a - b for a, b in zip(sizes, sizes[1:], strict=False)]
    gram = lambda slot: jnp.einsum("hrn,hsn->hrs", rows(slot), rows(slot))  # noqa: E731
    parts += [jnp.ravel(gram(a) - gram(b)) for a, b in units.products]
    return jnp.concatenate([jnp.zeros(0, u.dtype), *parts])


def conserved_drift(trajectory: Trajectory) -> float | None:
    """The largest change of a conserved quantity along a trajectory, relative to the largest ‖θ_i‖² on it.

    θ_i are the parameters of a unit, or all parameters where the model has no units.

    Args:
        trajectory: the flow.

    Returns:
        The drift; `None` where the model has no known conserved quantity.
    """
    model, thetas = trajectory.initial_model, trajectory.thetas
    quantities = trace(lambda theta: conserved_quantities(model, theta), thetas[0])
    start = np.asarray(evaluate(quantities, thetas[0]))
    if start.size == 0:
        return None
    layers = range(len(layers_of(model)))
    histories = [unit_history(model, thetas, layer) for layer in layers] or [thetas[:, None]]
    scale = max(float(np.max(np.sum(history**2, axis=2))) for history in histories)
    padded = np.concatenate([thetas, np.repeat(thetas[-1:], -len(thetas) % TIMES_PER_CALL, axis=0)])
    blocks = padded.reshape(-1, TIMES_PER_CALL, thetas.shape[1])
    changes = [_largest_change(quantities, start, block) for block in blocks]
    return float(np.max(changes)) / scale if scale > 0 else 0.0


@compiled
def _largest_change(quantities: Traced, start: Float[Any, " k"], thetas: Float[Any, "T n"]) -> Float[Array, ""]:
    # One time after the other, since for type iv there are H² quantities.
    return jnp.max(jax.lax.map(lambda theta: jnp.max(jnp.abs(quantities(theta) - start)), thetas))
