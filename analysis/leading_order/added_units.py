"""How the loss depends on small units added to several layers at once: what governs escape in deep networks."""

import equinox as eqx
import numpy as np
import scipy

from ...flows import Landscape
from ...models.units import declared_units
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..embeddings.narrow_landscape import added_positions, narrow_landscape

# Random directions looked at, and how many of the best are improved by descent.
DIRECTIONS, IMPROVED = 64, 4
# The added units' size relative to the weights: its fourth power stands clear of rounding.
SIZE = 1e-2
# A halved displacement shows the order if it comes as near as this to an integer.
NEAR_INTEGER = 0.2


class AddedUnitsForm(eqx.Module):
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


def added_units_form(
    landscape: Landscape, embedding: Embedding | LayeredEmbedding, *, weight_scale: float, silent: float
) -> AddedUnitsForm:
    r"""Looks for the direction in which one small unit per layer lowers the loss most.

    A unit of one layer alone may do nothing, as at the origin of a deep network, where a path of units through all
    layers is what lowers the loss, at the order of the depth. Layers whose law has no zero get no unit.

    **Arguments:** `landscape`: of the wide network; `embedding`: the critical network in it; `weight_scale`: the size
    of weights at full use; `silent`: changes of the loss that are rounding.

    **Returns:** the form; that none was found is numerical evidence only.
    """
    grown = [layer for *_, layer in embedding.maps if declared_units(embedding.narrow, layer).law.zero]
    if not grown:
        return AddedUnitsForm(None, 0.0)
    narrow = narrow_landscape(landscape, embedding, spare=grown)
    base, added = narrow.theta, np.unique(np.concatenate([np.concatenate(added_positions(narrow, k)) for k in grown]))
    size = SIZE * max(float(np.linalg.norm(base)), weight_scale)
    start = float(narrow.value_and_gradient(base)[0])

    def change(direction: np.ndarray, distance: float) -> tuple[float, np.ndarray]:
        """The change of the loss at a distance in a direction of any length, and its slope in the direction."""
        length = np.linalg.norm(direction)
        unit, theta = direction / length, base.copy()
        theta[added] = distance * unit
        value, gradient = narrow.value_and_gradient(theta)
        slope = gradient[added]
        return float(value) - start, distance * (slope - unit * (unit @ slope)) / length

    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, added.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    falls = sorted(directions, key=lambda d: change(d, size)[0])[:IMPROVED]
    scale = max(abs(change(falls[0], size)[0]), silent)

    def objective(d: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = change(d, size)
        return value / scale, slope / scale

    best = min(
        (scipy.optimize.minimize(objective, d, jac=True, method="BFGS").x for d in falls),
        key=lambda d: change(d, size)[0],
    )
    far, near = change(best, size)[0], change(best, size / 2)[0]
    if not (far < -silent and near < 0):
        return AddedUnitsForm(None, 0.0)
    exponent = float(np.log2(far / near))
    order = round(exponent)
    if order < 2 or abs(exponent - order) > NEAR_INTEGER:
        return AddedUnitsForm(None, 0.0)
    # Two distances, so that the next higher order drops out.
    return AddedUnitsForm(order, -(2 * near / (size / 2) ** order - far / size**order))
