"""Formulas of ReLU networks, with their assumptions checked."""

import jax
import numpy as np

from ....flows import Landscape
from ....models import Dense, relu
from ..closed_forms.alignment import early_alignment
from ..closed_forms.orthogonal_relu import orthogonal_relu_levels, orthogonal_relu_rates
from ..prediction import NotApplicable, Values, formula
from .setting import dense_units, require_small, sample_of

# Relative difference of rates below which they are equal to rounding.
TIE = 1e-9
# Share of the largest entry to which an odd sample is odd.
ODD = 1e-10


@formula(
    name="orthogonal ReLU levels",
    source="Boursier, Pillaud-Vivien & Flammarion (2022)",
    assumptions="two-layer ReLU network, one output, orthogonal inputs, small start, signs of different rates",
)
def orthogonal_levels(landscape: Landscape) -> Values:
    """Plateau losses and escape rates."""
    dense_units(landscape.model, relu, outputs=1)
    x, y, weight = sample_of(landscape)
    require_small(landscape)
    try:
        levels = orthogonal_relu_levels(x, y[:, 0])
    except ValueError as error:
        raise NotApplicable("the inputs are not orthogonal") from error
    rates = 2 * weight * np.array(orthogonal_relu_rates(x, y[:, 0]))
    if len(rates) == 2 and abs(rates[0] - rates[1]) < TIE * rates[0]:
        raise NotApplicable("both signs grow at the same rate, so that they grow together")
    return {"levels": weight * np.array(levels), "rates": rates}


@formula(
    name="early alignment",
    source="Maennel, Bousquet & Gelly (2018)",
    assumptions="two-layer ReLU network, one output, two inputs, small start",
)
def alignment(landscape: Landscape) -> Values:
    """Angles of the attracting directions for outgoing weights of each sign, and which of them are kinks."""
    dense_units(landscape.model, relu, outputs=1)
    x, y, _ = sample_of(landscape)
    if x.shape[1] != 2:
        raise NotApplicable(f"there are {x.shape[1]} inputs (a constant one for a bias counts), not two")
    require_small(landscape)
    positive, negative = (early_alignment(x, y[:, 0], sign) for sign in (1, -1))
    return {
        "angles_positive": positive.angles,
        "angles_negative": negative.angles,
        "on_kinks": np.concatenate([positive.boundary, negative.boundary]),
    }


@formula(
    name="slowed linear network",
    source='Zhang, Saxe & Latham (2025), "When are bias-free ReLU networks effectively linear networks?"',
    assumptions="two-layer leaky ReLU network, one output, odd sample, small start",
)
def slowed_linear(landscape: Landscape) -> Values:
    """By which factor the flow is slower than that of the linear network, and the plateau losses of both."""
    slopes = _slopes(dense_units(landscape.model, outputs=1))
    x, y, weight = sample_of(landscape)
    pairs = np.column_stack([x, y])
    order, mirrored = np.lexsort(pairs.T), np.lexsort(-pairs.T)
    if not np.allclose(pairs[order], -pairs[mirrored], rtol=0, atol=ODD * np.max(np.abs(pairs))):
        raise NotApplicable("the sample is not odd: with (x, y) it does not contain (−x, −y)")
    require_small(landscape)
    c = sum(slopes) / 2
    cross = y.T @ x / len(x)
    explained = float((cross @ np.linalg.pinv(x.T @ x / len(x)) @ cross.T)[0, 0])
    total = float(np.mean(y**2))
    return {"slowdown": 1 / c, "levels": weight * np.array([total, max(total - explained, 0.0)])}


def _slopes(architecture: Dense) -> tuple[float, float]:
    """The slopes on both sides of zero of an activation that is linear on each."""
    z = np.array([-2.0, -1.0, 1.0, 2.0])
    values = np.asarray(jax.jit(architecture.activation)(z))
    left, right = -values[1], values[2]
    if architecture.activation.law.degree != 1 or not np.allclose(values, np.where(z < 0, left, right) * z):
        raise NotApplicable(f"the activation {architecture.activation.name} is not leaky ReLU")
    return float(left), float(right)
