"""Formulas of ReLU networks, with their assumptions checked."""

import jax
import numpy as np

from ....flows import Landscape
from ....models import Dense, relu
from ..closed_forms.alignment import early_alignment
from ..closed_forms.orthogonal_relu import orthogonal_relu_levels, orthogonal_relu_rates
from ..prediction import Formula, NotApplicable
from .setting import dense_units, require_small, sample_of


def _orthogonal_relu(landscape: Landscape):
    dense_units(landscape.model, relu, outputs=1)
    x, y, weight = sample_of(landscape)
    require_small(landscape)
    try:
        levels = orthogonal_relu_levels(x, y[:, 0])
    except ValueError as error:
        raise NotApplicable("the inputs are not orthogonal") from error
    rates = 2 * weight * np.array(orthogonal_relu_rates(x, y[:, 0]))
    if len(rates) == 2 and abs(rates[0] - rates[1]) < 1e-9 * rates[0]:
        raise NotApplicable("both signs grow at the same rate, so that they grow together")
    return {"levels": weight * np.array(levels), "rates": rates}


def _alignment(landscape: Landscape):
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


def _slowed_linear(landscape: Landscape):
    slopes = _slopes(dense_units(landscape.model, outputs=1))
    x, y, weight = sample_of(landscape)
    order, mirrored = np.lexsort(np.column_stack([x, y]).T), np.lexsort(-np.column_stack([x, y]).T)
    pairs = np.column_stack([x, y])
    if not np.allclose(pairs[order], -pairs[mirrored], atol=1e-10 * np.max(np.abs(pairs))):
        raise NotApplicable("the sample is not odd: with (x, y) it does not contain (−x, −y)")
    require_small(landscape)
    c = sum(slopes) / 2
    cross = y.T @ x / len(x)
    explained = float((cross @ np.linalg.pinv(x.T @ x / len(x)) @ cross.T)[0, 0])
    total = float(np.mean(y**2))
    return {"slowdown": 1 / c, "levels": weight * np.array([total, max(total - explained, 0.0)])}


def _slopes(architecture: Dense) -> tuple[float, float]:
    """The slopes of a piecewise linear activation with its kink at zero."""
    z = np.array([-2.0, -1.0, 1.0, 2.0])
    values = np.asarray(jax.jit(architecture.activation)(z))
    left, right = -values[1], values[2]
    if architecture.activation.law.degree != 1 or not np.allclose(values, np.where(z < 0, left, right) * z):
        raise NotApplicable(f"the activation {architecture.activation.name} is not leaky ReLU")
    return float(left), float(right)


FORMULAS = (
    Formula(
        "orthogonal ReLU levels",
        "Boursier, Pillaud-Vivien & Flammarion (2022)",
        "two-layer ReLU network, one output, orthogonal inputs, small start, signs of different rates",
        _orthogonal_relu,
    ),
    Formula(
        "early alignment",
        "Maennel, Bousquet & Gelly (2018)",
        "two-layer ReLU network, one output, two inputs, small start",
        _alignment,
    ),
    Formula(
        "slowed linear network",
        'Zhang, Saxe & Latham (2025), "When are bias-free ReLU networks effectively linear networks?"',
        "two-layer leaky ReLU network, one output, odd sample, small start",
        _slowed_linear,
    ),
)
