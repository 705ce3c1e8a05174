r"""Imbalance of layer norms: conserved by homogeneous activations, and how others change it.

For every layer of units $\phi$, under gradient flow, exactly and for any loss,

$$\frac{d}{dt} \tfrac{1}{2} (\|V\|^2 - \|U\|^2) = -\langle g \cdot D \rangle, \qquad
D = \phi - u \cdot \partial_u \phi,$$

with U, V all incoming and outgoing weights and g the loss's gradient in the units' outputs, since
$\frac{d}{dt} \frac{1}{2} \|V\|^2 = -\langle g \cdot \phi \rangle$ and
$\frac{d}{dt} \frac{1}{2} \|U\|^2 = -\langle g \cdot u \cdot \partial_u \phi \rangle$. For $\phi = \sigma(z)$ the
deficit is $D = \sigma(z) - z \sigma'(z)$. By its lowest order at zero there are four classes: none (homogeneous of
degree 1: conserved); third (odd activations: balanced up to $O(z^3)$); second (all others that vanish at zero); zeroth
(activations with an offset, whose outgoing weights move alone).
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...flows import Landscape, Trajectory, flatten
from ...flows.landscapes.unit_positions import unit_positions
from ...models import incoming
from ...models.units import layers_of

# Saved times that one call examines: of one size, so that flows of any number of steps share what is compiled.
TIMES_PER_CALL = 64


class LayerImbalance(eqx.Module):
    r"""The imbalance $\frac{1}{2}(\|V\|^2 - \|U\|^2 / p)$ of one layer of units along a flow.

    Attributes:
        layer: name of the layer.
        degree: p, the units' degree of homogeneity, for which the imbalance is conserved; `None` where there is none,
            and p = 1 is taken.
        values: the imbalance at the saved times.
        predicted: its change from the first saved time on, by the identity.
        size: the largest $\frac{1}{2}(\|V\|^2 + \|U\|^2)$ along the flow.
    """

    layer: str
    degree: int | None
    values: Float[np.ndarray, " T"]
    predicted: Float[np.ndarray, " T"]
    size: float

    @property
    def change(self) -> float:
        """The largest change of the imbalance along the flow, relative to the layer's size."""
        return float(np.max(np.abs(self.values - self.values[0]))) / self.size if self.size > 0 else 0.0

    @property
    def error(self) -> float:
        """By how much the identity fails, relative to the layer's size: the integrator's error and the quadrature's."""
        wrong = np.max(np.abs(self.values - self.values[0] - self.predicted))
        return float(wrong) / self.size if self.size > 0 else 0.0

    def __str__(self) -> str:
        law = "not conserved" if self.degree is None else f"conserved for degree {self.degree}"
        return f"{self.layer}: imbalance {law}: changed by {self.change:.1e}, identity to {self.error:.1e}"


def layer_imbalances(trajectory: Trajectory) -> tuple[LayerImbalance, ...]:
    r"""The imbalance of each layer's norms along a flow, beside the change that the exact identity gives.

    The rate is integrated over each step by Simpson's rule, with the weights of the middle from the cubic through both
    ends and their speeds: a check of the integration that does not rest on a conserved quantity.

    Args:
        trajectory: the flow.

    Returns:
        One record per layer of units; none for a model without.

    Source: Rawal & DeWeese (2026), arXiv 2605.01288, for an identity of layer norms; derived here: for units, and its
        classes.
    """
    model, thetas = trajectory.initial_model, trajectory.thetas
    velocities = -_gradients(trajectory.landscape, thetas)
    steps = np.diff(trajectory.ts)[:, None]
    middle = (thetas[1:] + thetas[:-1]) / 2 - steps / 8 * np.diff(velocities, axis=0)
    between = -_gradients(trajectory.landscape, middle)
    found = []
    for layer, units in enumerate(layers_of(model)):
        weight = _weights(model, layer, units.law.degree or 1)
        rates, inner = (2 * (at * speed) @ weight for at, speed in ((thetas, velocities), (middle, between)))
        gained = steps[:, 0] / 6 * (rates[:-1] + 4 * inner + rates[1:])
        found.append(
            LayerImbalance(
                layer=units.name or f"layer {layer + 1}",
                degree=units.law.degree,
                values=thetas**2 @ weight,
                predicted=np.concatenate([[0.0], np.cumsum(gained)]),
                size=float(np.max(thetas**2 @ np.abs(weight))),
            )
        )
    return tuple(found)


def _weights(model: Any, layer: int, degree: int) -> Float[np.ndarray, " n"]:
    r"""The coefficients of θ² in $\frac{1}{2} (\|V\|^2 - \|U\|^2 / p)$."""
    places, count = unit_positions(model, layer), incoming(model, layer).shape[1]
    weight = np.zeros(flatten(model).size)
    weight[places[:, :count]] = -0.5 / degree
    weight[places[:, count:]] = 0.5
    return weight


def _gradients(landscape: Landscape, thetas: Float[np.ndarray, "T n"]) -> Float[np.ndarray, "T n"]:
    """Gradients in blocks of one size, so that flows of any number of steps share what is compiled."""
    padded = np.concatenate([thetas, np.repeat(thetas[-1:], -len(thetas) % TIMES_PER_CALL, axis=0)])
    blocks = padded.reshape(-1, TIMES_PER_CALL, thetas.shape[1])
    return np.concatenate([np.asarray(landscape.values_and_gradients(block)[1]) for block in blocks])[: len(thetas)]
