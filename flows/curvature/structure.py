"""Whether the outputs have the structure on which a `UnitHessian` rests."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..compilation.traced import Traced
from ..landscapes.landscape import Landscape
from .unit_hessian import UnitHessian

# Relative agreement with an exact Hessian–vector product, on a random vector, that confirms the structure.
AGREEMENT = 1e-9
# Samples on which units that act on each other show it, before anything is computed on all.
FEW = 8


def separate(candidate: UnitHessian) -> bool:
    """Whether the outputs of a few samples have no second derivatives between one half of the units and the other."""
    generator, half = np.random.default_rng(0), len(candidate.units) // 2
    if half == 0:
        return True
    units, dtype = np.asarray(candidate.units), np.asarray(candidate.weight).dtype
    point, direction = (generator.standard_normal(units.size + candidate.others.size).astype(dtype) for _ in range(2))
    units = generator.permutation(units)
    direction[units[half:]] = direction[np.asarray(candidate.others)] = 0
    few = jax.tree.map(lambda a: np.asarray(a)[:FEW], candidate.samples)
    image = np.asarray(_curvature(candidate.outputs, few, point, direction))
    tolerance = max(AGREEMENT, 1e3 * float(np.finfo(dtype).eps))
    return bool(np.linalg.norm(image[units[half:]]) <= tolerance * np.linalg.norm(image))


@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _curvature(outputs: Traced, samples: Any, point: Any, direction: Any) -> Float[Array, " n"]:
    r"""The product $\nabla^2 (\sum_\mu c_\mu \cdot f_\mu)\, d$ with coefficients c of different sizes."""

    def combined(theta: Any) -> Any:
        values = jax.vmap(outputs, (None, 0))(theta, samples)
        return jnp.sum(values * jnp.cos(jnp.arange(values.size, dtype=values.dtype)).reshape(values.shape))

    return jax.jvp(jax.grad(combined), (point,), (direction,))[1]


def agrees(candidate: UnitHessian, landscape: Landscape) -> bool:
    """Whether the structured Hessian is exact at parameters of size one, where no part of it vanishes."""
    generator, theta = np.random.default_rng(0), landscape.theta
    point, direction = (generator.standard_normal(theta.size).astype(theta.dtype) for _ in range(2))
    product, exact = (np.asarray(part) for part in _products(candidate, landscape, point, direction))
    tolerance = max(AGREEMENT, 1e3 * float(np.finfo(theta.dtype).eps))
    return bool(np.linalg.norm(product - exact) <= tolerance * np.linalg.norm(exact))


# Run once: optimising the code would take longer than it saves.
@eqx.filter_jit(compiler_options={"xla_backend_optimization_level": 0})  # pyright: ignore[reportCallIssue]
def _products(candidate: UnitHessian, landscape: Landscape, point: Any, direction: Any) -> tuple[Array, Array]:
    return candidate(point) @ direction, landscape.hessian_product(point, direction)
