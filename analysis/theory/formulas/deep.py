"""Formulas of deep linear and of diagonal networks, with their assumptions checked."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ....flows import Landscape
from ....models import Deep, Dense, DiagonalLinear, linear
from ..closed_forms.bottleneck import bottleneck_rate
from ..closed_forms.jump_process import jump_process
from ..closed_forms.low_rank import best_rank_levels
from ..closed_forms.sigmoids import deep_escape_time
from ..prediction import NotApplicable, Values, formula
from .setting import SMALL, require_invertible_covariance, require_small, statistics_of

# Relative difference of conserved quantities that is rounding.
ALIKE = 1e-9
# A factor by which layers of one scale may differ, and by which those of two scales must.
DECADE = 10.0


def _deep_linear(model: Any) -> Deep:
    """The model, if it is a fully connected linear network of three layers or more."""
    if not isinstance(model, Deep):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a deep network")
    first = model.architecture
    if not (isinstance(first, Dense) and first.activation == linear) or any(a != linear for a in model.activations):
        raise NotApplicable("a layer is not fully connected and linear")
    if model.features is None or not model.connections:
        raise NotApplicable("the network has biases, or only two layers")
    return model


@formula(
    name="levels of deep linear networks",
    source="Baldi & Hornik (1989); Achour, Malgouyres & Gerchinovitz (2024)",
    assumptions="three linear layers or more, squared error, invertible input covariance, largest modes first",
)
def levels(landscape: Landscape) -> Values:
    """Plateau losses up to the narrowest layer's width."""
    model = _deep_linear(landscape.model)
    statistics = statistics_of(landscape)
    require_invertible_covariance(statistics)
    narrowest = min(model.u.shape[0], *(matrix.shape[0] for matrix in model.connections))
    return {"levels": best_rank_levels(statistics)[: narrowest + 1]}


@formula(
    name="escape of deep linear networks",
    source="Jacot et al. (2021); Saxe, McClelland & Ganguli (2014); Rawal & DeWeese (2026)",
    assumptions="three linear layers or more, squared error, small start, small layers of one scale; the earliest "
    "time, as if aligned and balanced",
)
def escape(landscape: Landscape) -> Values:
    """The earliest escape time through the small layers, and the exponent of ε in dwell times."""
    model = _deep_linear(landscape.model)
    statistics = statistics_of(landscape)
    require_small(landscape)
    factor = np.asarray(statistics.factor)
    # Σ_yx in the loss's own time.
    cross = 2 * np.asarray(statistics.target) @ factor.T @ factor
    matrices = _matrices_of(model)
    small = _small_layers(matrices)
    rate = bottleneck_rate(cross, _blocks(matrices, small))
    if not rate > 0:
        raise NotApplicable("the inputs do not correlate with the targets: no mode grows")
    norm = math.sqrt(sum(float(np.sum(np.square(matrices[layer]))) for layer in small))
    count = len(small)
    found = {"small_layers": count, "dwell_exponent": 2 - count}
    if count == 2:
        # Balanced layers have the norm a √2, and a grows as e^{ct}.
        return found | {"slope": 1 / rate, "earliest_escape": math.log(math.sqrt(2) / norm) / rate}
    return found | {"earliest_escape": deep_escape_time(rate, count, norm)}


@formula(
    name="escape through a bottleneck",
    source="Rawal & DeWeese (2026), arXiv 2605.01288",
    assumptions="small start, fully connected layers without biases, σ zero at zero with σ′(0) ≠ 0 or homogeneous of "
    "degree 1, small layers of one scale, the others not small",
)
def bottleneck(landscape: Landscape) -> Values:
    """The number r of small layers, and the exponent 2 − r of ε in escape times (0: logarithm)."""
    model = landscape.model
    if not isinstance(model, Deep) or not isinstance(model.architecture, Dense):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a deep network of fully connected layers")
    if model.architecture.bias or model.biases or model.offset is not None:
        raise NotApplicable("the units have biases")
    for activation in (model.architecture.activation, *model.activations):
        law = activation.law
        if not law.zero or not (law.degree == 1 or (law.degree is None and law.order == 1)):
            raise NotApplicable(f"a small unit of {activation.name} is not of first order in its incoming weights")
    require_small(landscape)
    count = len(_small_layers(_matrices_of(model)))
    return {"small_layers": count, "dwell_exponent": 2 - count}


def _matrices_of(model: Deep) -> list[Float[np.ndarray, "_ _"]]:
    """The matrices of a fully connected network from the inputs up, each from its inputs to its outputs."""
    u, v = (np.asarray(array) for array in model.parameters)
    return [u, v.T, *(np.asarray(matrix).T for matrix in model.connections)]


def _small_layers(matrices: list[Float[np.ndarray, "_ _"]]) -> list[int]:
    """Which layers are small: all where they are of one scale, else those a decade below the others."""
    norms = np.array([np.linalg.norm(matrix, 2) for matrix in matrices])
    small = norms < DECADE * np.min(norms)
    if np.max(norms[small]) * DECADE > np.min(norms[~small], initial=math.inf):
        raise NotApplicable("the layers are neither of one scale nor of two that are a decade apart")
    if np.sum(small) < 2:
        raise NotApplicable("only one layer is small")
    return [int(layer) for layer in np.flatnonzero(small)]


def _blocks(matrices: list[Float[np.ndarray, "_ _"]], small: list[int]) -> list[Float[np.ndarray, "_ _"]]:
    """The products of the layers below, between and above the small ones."""
    blocks = [np.eye(matrices[0].shape[1])]
    for layer, matrix in enumerate(matrices):
        if layer in small:
            blocks.append(np.eye(matrix.shape[0]))
        else:
            blocks[-1] = matrix @ blocks[-1]
    return blocks


@formula(
    name="jump process",
    source="Pesme & Flammarion (2023)",
    assumptions="diagonal network of two layers, squared error, β(0) = 0 and one small α for all coordinates",
)
def jumps(landscape: Landscape) -> Values:
    """Jump times, and losses, coefficients β and indices of the saddles."""
    model = landscape.model
    if not isinstance(model, DiagonalLinear):
        raise NotApplicable(f"the model is a {type(model).__name__}, not a diagonal network")
    if len(model.weights) != 2:
        raise NotApplicable(f"the network has {len(model.weights)} layers, not two")
    statistics = statistics_of(landscape)
    alpha = _common_scale(*(np.asarray(array) for array in model.weights))
    factor, target = np.asarray(statistics.factor), np.asarray(statistics.target)[0]
    # ‖R(β − β*)‖² is the half squared error of the design √(2n) R.
    design = math.sqrt(2 * len(factor)) * factor
    process = jump_process(design, design @ target)
    return {
        "times": process.times * math.log(1 / alpha),
        "levels": process.losses + float(statistics.constant),
        "saddles": process.saddles,
        "indices": process.indices(),
    }


def _common_scale(u: np.ndarray, v: np.ndarray) -> float:
    """The α of |u² − v²| = 2α², the same small one for all coordinates, where β = uv is zero."""
    scale = float(np.sqrt(np.abs(u[0] ** 2 - v[0] ** 2) / 2))
    if scale == 0 or not np.allclose(np.abs(u**2 - v**2), 2 * scale**2, rtol=ALIKE, atol=0.0):
        raise NotApplicable("the coordinates do not start alike: |u² − v²| = 2α² with one α > 0 for all")
    if np.any(u * v != 0):
        raise NotApplicable("the coefficients do not start at zero")
    if scale > SMALL:
        raise NotApplicable(f"α = {scale:.3g} is not small")
    return scale
