"""A model of run time: what the steps of each solver cost on a landscape, in nanoseconds on one core.

Its constants were fitted to the run times of the suite in benchmarks/, which it reproduces within a factor of two or
so. Work is counted from the compiled program, not measured, so that a flow that is resumed makes the same choice.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array

from ..curvature.hessian import DenseHessian
from ..curvature.unit_hessian import UnitHessian
from ..landscapes.landscape import Landscape

# Explicit steps in units of 1/λ_max are at most this long for stability (Tsit5's is 3.3).
LONGEST = 3.3

# Steps of a flow of a few plateaus at rtol 1e-6, and the order with which they grow with the tolerance. They are those
# of equal errors: at equal tolerances BDF's error is some ten times that of Rodas5P, ExtrapolatedRKC's a third.
TSIT5_STEPS = (300, 5)
RODAS_STEPS = (150, 6)
BDF_STEPS = (425, 6)
RKC_STEPS = (130, 5)
KRYLOV_STEPS = (100, 6)

# BDF's steps per Hessian, its steps per factorisation, and its evaluations per step.
STEPS_PER_HESSIAN = 20
STEPS_PER_FACTORISATION = 6
BDF_EVALUATIONS = 1.8
# Of BDF without a matrix: evaluations per step; products per step are one up to this stiffness, and this many more for
# each tenfold.
FREE_EVALUATIONS = 1.1
FREE_STIFFNESS = 1e3
FREE_PRODUCTS = 1.3
# Numbers read and written per parameter by the rest of such a step, and by a product.
FREE_NUMBERS = 220
PRODUCT_NUMBERS = 12
# Evaluations of ExtrapolatedRKC over √(stiffness × steps), and per step at least.
RKC_EVALUATIONS = 3.5
RKC_LEAST = 10
# Products per step of KrylovRosenbrock, and Lanczos vectors against which each is made orthogonal, reading them thrice.
KRYLOV_PRODUCTS = 40
KRYLOV_VECTORS = 12

# Floating-point operations per nanosecond.
SPEED = 20.0
# Operations that a transcendental function is worth.
TRANSCENDENTAL = 60.0
# Numbers read from memory, or pairs of a triangular solve, per nanosecond.
BANDWIDTH = 4.0
# Nanoseconds of a gradient or product within compiled code besides its arithmetic, and of each matrix product in it.
CALL = 300.0
PRODUCT = 400.0
# Nanoseconds of a step besides evaluations and linear algebra: of Tsit5, of Rodas5P, ExtrapolatedRKC or
# KrylovRosenbrock, of BDF, of BDF without a matrix; and of a stage of ExtrapolatedRKC.
TSIT5_STEP = 3e3
STEP = 1.5e4
BDF_STEP = 2e4
FREE_STEP = 1e4
STAGE = 1.5e3


def step_count(typical: tuple[int, int], rtol: float) -> float:
    """The number of steps at a tolerance, from that at rtol 1e-6 and the order with which it grows."""
    at_six, order = typical
    return at_six * (1e-6 / rtol) ** (1 / order)


def explicit_step_time(landscape: Landscape) -> float:
    """Nanoseconds of a step of Tsit5."""
    return 6 * gradient_and_product_times(landscape)[0] + TSIT5_STEP


def explicit_time(landscape: Landscape, rtol: float) -> Callable[[float], float]:
    """Nanoseconds of a flow by Tsit5 as a function of its stiffness λ_max T."""
    steps, step = step_count(TSIT5_STEPS, rtol), explicit_step_time(landscape)
    return lambda stiffness: max(steps, stiffness / LONGEST) * step


def stabilised_time(landscape: Landscape, rtol: float) -> Callable[[float], float]:
    """Nanoseconds of a flow by ExtrapolatedRKC as a function of its stiffness λ_max T."""
    n, (gradient, _) = landscape.theta.size, gradient_and_product_times(landscape)
    steps = step_count(RKC_STEPS, rtol)

    def time(stiffness: float) -> float:
        evaluations = max(RKC_LEAST * steps, RKC_EVALUATIONS * (stiffness * steps) ** 0.5)
        return steps * STEP + evaluations * (gradient + STAGE + 6 * n / BANDWIDTH)

    return time


def matrix_free_time(landscape: Landscape, rtol: float) -> Callable[[float], float]:
    """Nanoseconds of a flow by BDF without a matrix as a function of its stiffness λ_max T."""
    n, (gradient, product) = landscape.theta.size, gradient_and_product_times(landscape)

    def time(stiffness: float) -> float:
        products = 1 + FREE_PRODUCTS * math.log10(max(stiffness / FREE_STIFFNESS, 1.0))
        step = FREE_EVALUATIONS * gradient + FREE_STEP + FREE_NUMBERS * n / BANDWIDTH
        step += products * (product + PRODUCT_NUMBERS * n / BANDWIDTH)
        return step_count(BDF_STEPS, rtol) * step

    return time


def krylov_time(landscape: Landscape, rtol: float) -> float:
    """Nanoseconds of a flow by KrylovRosenbrock."""
    # A product costs what a gradient does.
    product = gradient_and_product_times(landscape)[0] + 3 * KRYLOV_VECTORS * landscape.theta.size / BANDWIDTH
    return step_count(KRYLOV_STEPS, rtol) * (KRYLOV_PRODUCTS * product + STEP)


def dense_times(landscape: Landscape, hessian: UnitHessian | DenseHessian, rtol: float) -> tuple[float, float]:
    """Nanoseconds of a flow by Rodas5P and by BDF with a dense Hessian."""
    n, (gradient, _) = landscape.theta.size, gradient_and_product_times(landscape)
    matrix = n**2 / BANDWIDTH
    # A structured Hessian costs some gradients, products of Jacobians, and its assembly; any other one products, ten
    # for a gradient's price.
    hessian_time = (
        7 * gradient + hessian.count * n**2 / SPEED + 4 * matrix
        if isinstance(hessian, UnitHessian)
        else gradient * n / 10
    )
    rodas = 8 * gradient + hessian_time + n**3 / 3 / SPEED + 16 * matrix + STEP
    bdf = BDF_EVALUATIONS * gradient + 4 * matrix + BDF_STEP
    bdf += hessian_time / STEPS_PER_HESSIAN + 2 * n**3 / 3 / SPEED / STEPS_PER_FACTORISATION
    return rodas * step_count(RODAS_STEPS, rtol), bdf * step_count(BDF_STEPS, rtol)


def gradient_and_product_times(landscape: Landscape) -> tuple[float, float]:
    """Nanoseconds of a gradient, and of a Hessian–vector product where the gradient has been evaluated."""
    # The landscape keeps its parts: this is asked after every round of steps.
    leaves, structure = landscape.parts
    theta = jax.ShapeDtypeStruct(landscape.theta.shape, landscape.theta.dtype)
    return _counted_times(structure, (*(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves), theta))


@functools.lru_cache(maxsize=64)
def _counted_times(structure: Any, shapes: tuple[jax.ShapeDtypeStruct, ...]) -> tuple[float, float]:
    def gradient(*leaves: Any) -> Array:
        *parts, theta = leaves
        return jax.tree.unflatten(structure, parts).gradient(theta)

    def product(*leaves: Any) -> tuple[Array, Array]:
        *parts, theta = leaves
        # The primal beside the tangent, as solvers have it: products that share it are cheaper.
        return jax.jvp(jax.tree.unflatten(structure, parts).gradient, (theta,), (theta,))

    arithmetic, transcendental = _counted(gradient, *shapes)
    # A product needs no transcendental functions that the gradient did not.
    return CALL + arithmetic + transcendental, CALL + _counted(product, *shapes)[0] - arithmetic


def _counted(function: Callable[..., Any], *arguments: Any) -> tuple[float, float]:
    """Nanoseconds of arithmetic and of transcendental functions, as the compiler counts them before optimisation."""
    lowered: Any = jax.jit(function).lower(*arguments)
    cost = lowered.cost_analysis() or {}
    arithmetic = PRODUCT * lowered.as_text().count("dot_general") + cost.get("flops", 0.0) / SPEED
    return arithmetic, TRANSCENDENTAL * cost.get("transcendentals", 0.0) / SPEED
