"""Formulas of deep linear and of diagonal networks, with their assumptions checked."""

import math

import numpy as np

from ....flows import Landscape
from ....models import Deep, Dense, DiagonalLinear, linear
from ..closed_forms.jump_process import jump_process
from ..closed_forms.low_rank import best_rank_levels
from ..closed_forms.sigmoids import deep_escape_time
from ..prediction import Formula, NotApplicable
from .setting import SMALL, require_small, statistics_of


def _deep_linear(model) -> Deep:
    if not isinstance(model, Deep):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a deep network")
    first = model.architecture
    if not (isinstance(first, Dense) and first.activation == linear) or any(a != linear for a in model.activations):
        raise NotApplicable("a layer is not fully connected and linear")
    if model.features is None or not model.connections:
        raise NotApplicable("the network has biases, or only two layers")
    return model


def _deep_levels(landscape: Landscape):
    model = _deep_linear(landscape.model)
    statistics = statistics_of(landscape)
    factor = np.asarray(statistics.factor)
    if np.linalg.matrix_rank(factor) < factor.shape[1]:
        raise NotApplicable("the input covariance is singular")
    narrowest = min(model.u.shape[0], *(matrix.shape[0] for matrix in model.connections))
    return {"levels": best_rank_levels(statistics)[: narrowest + 1]}


def _deep_escape(landscape: Landscape):
    model = _deep_linear(landscape.model)
    statistics = statistics_of(landscape)
    require_small(landscape)
    factor = np.asarray(statistics.factor)
    # Σ_yx in the loss's own time.
    cross = 2 * np.asarray(statistics.target) @ factor.T @ factor
    arrays = (*model.parameters, *model.connections)
    norm = math.sqrt(sum(float(np.sum(np.square(array))) for array in arrays))
    depth = len(arrays)
    strength = float(np.linalg.norm(cross, 2))
    return {"dwell_exponent": 2 - depth, "earliest_escape": deep_escape_time(strength, depth, norm)}


def _jumps(landscape: Landscape):
    model = landscape.model
    if not isinstance(model, DiagonalLinear):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a diagonal network")
    if len(model.weights) != 2:
        raise NotApplicable(f"the network has {len(model.weights)} layers, not two")
    statistics = statistics_of(landscape)
    u, v = (np.asarray(array) for array in model.weights)
    scale = float(np.sqrt(np.abs(u[0] ** 2 - v[0] ** 2) / 2))
    if scale == 0 or not np.allclose(np.abs(u**2 - v**2), 2 * scale**2, rtol=1e-9, atol=0.0):
        raise NotApplicable("the coordinates do not start alike: |u² − v²| = 2α² with one α > 0 for all")
    if np.any(u * v != 0):
        raise NotApplicable("the coefficients do not start at zero")
    if scale > SMALL:
        raise NotApplicable(f"α = {scale:.3g} is not small")
    factor, target = np.asarray(statistics.factor), np.asarray(statistics.target)[0]
    # ‖R(β − β*)‖² is the half squared error of the design √(2n) R.
    design = math.sqrt(2 * len(factor)) * factor
    process = jump_process(design, design @ target)
    return {
        "times": process.times * math.log(1 / scale),
        "levels": process.losses + float(statistics.constant),
        "saddles": process.saddles,
        "indices": process.indices(),
    }


FORMULAS = (
    Formula(
        "levels of deep linear networks",
        "Baldi & Hornik (1989); Achour, Malgouyres & Gerchinovitz (2024)",
        "three linear layers or more, squared error, invertible input covariance, largest modes first",
        _deep_levels,
    ),
    Formula(
        "escape of deep linear networks",
        "Jacot et al. (2021); Saxe, McClelland & Ganguli (2014)",
        "three linear layers or more, squared error, small start; the earliest time, as if aligned and balanced",
        _deep_escape,
    ),
    Formula(
        "jump process",
        "Pesme & Flammarion (2023)",
        "diagonal network of two layers, squared error, β(0) = 0 and one small α for all coordinates",
        _jumps,
    ),
)
