"""How the loss depends on small units added to several layers at once: what governs escape in deep networks."""

from dataclasses import dataclass

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from ...flows import Landscape
from ...models.units import declared_units
from ..embeddings.embedding import Embedding, LayeredEmbedding
from ..embeddings.narrow_landscape import NarrowLandscape, added_positions, narrow_landscape, spare_units
from .sphere import minimum_on_sphere, normal_vectors

# Random directions evaluated, and how many of the best are improved by descent.
DIRECTIONS, IMPROVED = 64, 4
# The added units' norm relative to that of the weights: its fourth power, 1e-8, stands clear of rounding.
ADDED_NORM = 1e-2
# Halving the norm shows the order if its exponent comes as near as this to an integer.
NEAR_INTEGER = 0.2


class AddedUnitsForm(eqx.Module):
    r"""The leading-order form $F_p$ of the loss in one added unit per layer, where the loss falls along it.

    Attributes:
        order: p; `None` where no fall was found.
        steepest: $U = \max_{\|d\| = 1} -F_p(d)$ as far as it was found, d the parameters of all added units together,
            including those that connect one to another.
    """

    order: int | None
    steepest: float

    @property
    def rate(self) -> float | None:
        r"""$c = pU$ in $\dot r = c\, r^{p-1}$, for added units of norm r on the steepest direction."""
        return None if self.order is None else self.order * self.steepest

    def __str__(self) -> str:
        if self.order is None:
            return "form of one added unit per layer: no direction was found along which the loss falls"
        power = "" if self.order == 2 else f"^{self.order - 1}"
        return (
            f"form of one added unit per layer: order {self.order}, steepest fall {self.steepest:.6g}\n"
            f"  steepest descent: dr/dt = {self.rate:.6g} r{power}"
        )


NO_FALL = AddedUnitsForm(order=None, steepest=0.0)


@dataclass(frozen=True)
class _Change:
    """The change of the loss when the added units have a given norm, as a function of their direction."""

    narrow: NarrowLandscape
    base: Float[np.ndarray, " m"]
    positions: Int[np.ndarray, " k"]
    start: float

    def __call__(self, direction: np.ndarray, norm: float) -> tuple[float, np.ndarray]:
        """The change and its gradient in the direction, a unit vector."""
        theta = self.base.copy()
        theta[self.positions] = norm * direction
        value, gradient = self.narrow.value_and_gradient(theta)
        return float(value) - self.start, norm * gradient[self.positions]


def added_units_form(
    landscape: Landscape, embedding: Embedding | LayeredEmbedding, *, weight_scale: float, silent: float
) -> AddedUnitsForm:
    r"""Searches for the direction in which one small unit per layer lowers the loss most.

    A unit in one layer alone may have no effect, as at the origin of a deep network, where a path of units through all
    layers lowers the loss, at the order of the depth. Layers whose law has no zero get no unit.

    Args:
        landscape: of the wide network.
        embedding: of the critical network in it.
        weight_scale: typical ‖θ‖ after learning, the scale of the added units where the network itself is zero.
        silent: changes of the loss up to this are rounding.

    Returns:
        The form. That none was found is numerical evidence only.
    """
    room = zip(embedding.maps, spare_units(embedding), strict=True)
    grown = [layer for (*_, layer), spare in room if spare and declared_units(embedding.narrow, layer).law.zero]
    if not grown:
        return NO_FALL
    narrow = narrow_landscape(landscape, embedding, spare=grown)
    base = narrow.theta
    positions = np.unique(np.concatenate([np.concatenate(added_positions(narrow, layer)) for layer in grown]))
    start = float(narrow.value_and_gradient(base)[0])
    change = _Change(narrow=narrow, base=base, positions=positions, start=start)
    norm = ADDED_NORM * max(float(np.linalg.norm(base)), weight_scale)
    best = _steepest(change, norm, silent)
    far, near = change(best, norm)[0], change(best, norm / 2)[0]
    if not (far < -silent and near < 0):
        return NO_FALL
    exponent = float(np.log2(far / near))
    order = round(exponent)
    if order < 2 or abs(exponent - order) > NEAR_INTEGER:
        return NO_FALL
    # Two distances, so that the next higher order drops out.
    return AddedUnitsForm(order=order, steepest=-(2 * near / (norm / 2) ** order - far / norm**order))


def _steepest(change: _Change, norm: float, silent: float) -> Float[np.ndarray, " k"]:
    """The unit vector with the lowest change that descent from the best of some random ones finds."""
    directions = normal_vectors(DIRECTIONS, change.positions.size)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    falls = sorted(directions, key=lambda d: change(d, norm)[0])[:IMPROVED]
    scale = max(abs(change(falls[0], norm)[0]), silent)

    def objective(direction: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = change(direction, norm)
        return value / scale, gradient / scale

    return minimum_on_sphere(objective, np.array(falls))[1]
