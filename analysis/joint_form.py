"""How the loss depends on small units added to several layers at once: what governs escape in deep networks."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from ..flows import GradientFlow, flatten
from ..models import layers_of, map_units, width

# Random directions looked at, and how many of the best are improved by descent.
DIRECTIONS, IMPROVED = 64, 4
# The added units' size relative to the weights: its fourth power stands clear of rounding.
SIZE = 1e-2
# A halved displacement shows the order if it comes as near as this to an integer.
NEAR_INTEGER = 0.2


class JointForm(eqx.Module):
    r"""The lowest form $F_p$ of the loss in one added unit per layer, where it lets the loss fall.

    - `order`: p, or `None` where no fall was found; `steepest`: $U = \max_{\|d\| = 1} -F_p(d)$ as far as it was
      found, d the parameters of all added units together, between each other included.
    """

    order: int | None
    steepest: float

    @property
    def rate(self) -> float | None:
        r"""$c = pU$ in $\dot r = c\, r^{p-1}$, for added units of norm r on the steepest direction."""
        return None if self.order is None else self.order * self.steepest


def joint_form(narrow: Any, loss: Callable, data: Any, *, weight_scale: float, silent: float) -> JointForm:
    r"""Looks for the direction in which one small unit per layer lowers the loss most.

    A unit of one layer alone may do nothing, as at the origin of a deep network, where a path of units through all
    layers is what lowers the loss, at the order of the depth. Layers whose law has no zero get no unit.

    **Arguments:** `narrow`: the critical network without dormant units; `loss`, `data`; `weight_scale`: the size of
    weights at full use; `silent`: changes of the loss that are rounding.

    **Returns:** the form; that none was found is numerical evidence only.
    """
    wider, added = with_zero_units(narrow)
    base = flatten(wider)
    size = SIZE * max(float(jnp.linalg.norm(base)), weight_scale)
    flow = GradientFlow(wider, loss)
    start = float(flow.value(base, data))
    if added.size == 0:
        return JointForm(None, 0.0)

    def change(direction, distance):
        value, slope = _displaced(flow, base, jnp.asarray(added), jnp.asarray(direction), distance, data)
        return float(value) - start, np.asarray(slope, dtype=float)

    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, added.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    falls = sorted(directions, key=lambda d: change(d, size)[0])[:IMPROVED]
    scale = max(abs(change(falls[0], size)[0]), silent)

    def objective(d):
        value, slope = change(d, size)
        return value / scale, slope / scale

    best = min(
        (scipy.optimize.minimize(objective, d, jac=True, method="BFGS").x for d in falls),
        key=lambda d: change(d, size)[0],
    )
    far, near = change(best, size)[0], change(best, size / 2)[0]
    if not (far < -silent and near < 0):
        return JointForm(None, 0.0)
    exponent = float(np.log2(far / near))
    order = round(exponent)
    if order < 2 or abs(exponent - order) > NEAR_INTEGER:
        return JointForm(None, 0.0)
    # Two distances, so that the next higher order drops out.
    return JointForm(order, -(2 * near / (size / 2) ** order - far / size**order))


def with_zero_units(narrow: Any) -> tuple[Any, np.ndarray]:
    """The network with one zero unit more in every layer that can have one, and the new entries' places in θ."""
    marks = jax.tree.map(lambda leaf: jnp.ones_like(leaf) if eqx.is_inexact_array(leaf) else leaf, narrow)
    for layer, units in enumerate(layers_of(narrow)):
        if units.law.zero:
            more = np.eye(width(narrow, layer) + 1, width(narrow, layer))
            narrow, marks = (map_units(model, more, more, layer) for model in (narrow, marks))
    return narrow, np.flatnonzero(np.asarray(flatten(marks)) == 0)


@eqx.filter_jit
def _displaced(
    flow: GradientFlow, base: Array, added: Array, direction: Array, distance: Any, data: Any
) -> tuple[Float[Array, ""], Float[Array, " k"]]:
    """The loss with the added entries at a distance in a direction of any length, and its slope in the direction."""

    def value(d):
        return flow.value(base.at[added].set(distance * d / jnp.linalg.norm(d)), data)

    return jax.value_and_grad(value)(direction)
