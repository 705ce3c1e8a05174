"""Parts of a Hessian: Gauss–Newton and residual, blocks of some parameters, and inertia without eigenvalues."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from ...flows import Landscape, flatten, unflatten
from ...flows.compilation.traced import Traced, compiled, trace
from ...flows.landscapes.landscape import BLOCK
from ...flows.landscapes.point import point_of
from ...models.features import Features, features_of
from ...models.quick import Effort

Part = Literal["whole", "gauss-newton", "residual"]


class Linearised(eqx.Module):
    r"""A model replaced by its first-order expansion in the parameters, $f(x; \theta_0) + D f(x; \theta_0) \delta$.

    Attributes:
        model: f with its parameters θ₀.
        displacement: δ, of the flattened parameters.
    """

    model: Any
    displacement: Float[Array, " n"]

    def _expand(self, function: Callable[[Any], Array]) -> Array:
        at = lambda theta: function(unflatten(self.model, theta))  # noqa: E731
        value, change = jax.jvp(at, (flatten(self.model),), (self.displacement,))
        return value + change

    def __call__(self, x: Any) -> Array:
        """The outputs for one input, to first order in δ."""
        return self._expand(lambda model: model(x))

    @property
    def features(self) -> Features | None:
        """The model's features, with coefficients to first order."""
        features = features_of(self.model)
        if features is None:
            return None
        return Features(
            of_input=features.of_input, coefficients=lambda linearised: linearised._expand(features.coefficients)
        )


def linearised(landscape: Landscape) -> Traced:
    r"""The loss of the linearised model as a function of (displacement, θ, data), traced.

    Its Hessian at displacement 0 is the Gauss–Newton matrix: $\nabla^2_\delta\, \ell(f + J \delta) =
    J^\top (\partial^2 \ell / \partial f^2) J$.

    Args:
        landscape: loss and data.

    Returns:
        The traced function.

    Raises:
        ValueError: for a loss that depends on more of a model than its outputs.
    """
    theta = landscape.theta
    try:
        return trace(
            lambda d, theta, data: landscape.loss(Linearised(model=landscape.at(theta), displacement=d), data),
            theta,
            theta,
            landscape.data,
        )
    except AttributeError as error:
        raise ValueError(
            f"the Gauss–Newton part needs a loss of the model's outputs alone; this one reads more of it ({error})."
        ) from error


class HessianOperator(eqx.Module):
    r"""The product of the Hessian at θ, or of one of its parts, with vectors.

    $\nabla^2 L = J^\top (\partial^2 \ell / \partial f^2) J + \sum_j (\partial \ell / \partial f_j) \nabla^2 f_j$: the
    Gauss–Newton part, and the residual part, from the curvature of the outputs.

    Attributes:
        landscape: loss and data.
        theta: θ.
        part: "whole", "gauss-newton" or "residual".
        first: the loss of the linearised model; `None` for the whole Hessian.
    """

    landscape: Landscape
    theta: Float[Any, " n"]
    part: Part = eqx.field(static=True)
    first: Traced | None

    def __init__(self, landscape: Landscape, theta: Float[Any, " n"] | None = None, part: Part = "whole"):
        self.landscape, self.part = landscape, part
        self.theta = point_of(landscape, theta)
        self.first = None if part == "whole" else linearised(landscape)

    @property
    def effort(self) -> Effort:
        """How thoroughly a program with the product is to be optimised."""
        return self.landscape.effort

    def product(self) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
        """The function from a vector to its product, linearised once; to be traced."""
        whole = jax.linearize(self.landscape.gradient, self.theta)[1]
        if self.first is None:
            return whole
        first, zero = self.first, jnp.zeros_like(self.theta)
        gradient = jax.grad(lambda d: first(d, self.theta, self.landscape.data))
        gauss_newton = jax.linearize(gradient, zero)[1]
        return gauss_newton if self.part == "gauss-newton" else lambda v: whole(v) - gauss_newton(v)


@compiled
def _products(operator: HessianOperator, directions: Float[Any, "n k"]) -> Float[Array, "n k"]:
    return jax.vmap(operator.product(), in_axes=1, out_axes=1)(directions)


def hessian_products(
    landscape: Landscape, part: Part = "whole", theta: Float[Any, " n"] | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """Products of the Hessian, or of one of its parts, with blocks of directions.

    Args:
        landscape: loss and data.
        part: "whole", "gauss-newton" or "residual".
        theta: θ, by default the landscape's own.

    Returns:
        The function from directions, as columns, to their products. It raises `ValueError` for a part where the loss
        depends on more of a model than its outputs.
    """
    theta = point_of(landscape, theta)
    if part == "whole":
        return lambda directions: landscape.hessian_products(theta, directions)
    operator = HessianOperator(landscape, theta, part)
    return lambda directions: np.asarray(_products(operator, np.asarray(directions, theta.dtype)))


def hessian_block(
    landscape: Landscape,
    positions: Int[np.ndarray, " k"],
    part: Part = "whole",
    theta: Float[Any, " n"] | None = None,
) -> Float[np.ndarray, "k k"]:
    """The block of the Hessian, or of one of its parts, that belongs to some of the parameters.

    It takes one Hessian–vector product for each; the rest of the Hessian is never formed.

    Args:
        landscape: loss and data.
        positions: of the parameters in the flattened model; `leaf_positions` gives those of each array and
            `unit_positions` those of each unit.
        part: "whole", "gauss-newton" or "residual".
        theta: θ, by default the landscape's own.

    Returns:
        The symmetric block, in the order of the positions.
    """
    products, size = hessian_products(landscape, part, theta), landscape.theta.size
    columns = []
    # Blocks of one size share one compiled program, whatever the number of positions.
    for start in range(0, len(positions), BLOCK):
        chosen = positions[start : start + BLOCK]
        seeds = np.zeros((size, BLOCK))
        seeds[chosen, np.arange(len(chosen))] = 1.0
        columns.append(products(seeds)[positions, : len(chosen)])
    matrix = np.concatenate(columns, axis=1)
    return (matrix + matrix.T) / 2


def leaf_positions(model: Any) -> dict[str, Int[np.ndarray, " k"]]:
    """The positions of each array of a model in its flattened parameters, by its path in the model."""
    arrays = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_inexact_array))
    ends = np.cumsum([leaf.size for _, leaf in arrays])
    return {
        jax.tree_util.keystr(path): np.arange(end - leaf.size, end)
        for (path, leaf), end in zip(arrays, ends, strict=True)
    }


class Inertia(eqx.Module):
    """Numbers of negative, zero and positive eigenvalues of a symmetric matrix.

    Attributes:
        negative: the index.
        zero: the nullity.
        positive: all others.
    """

    negative: int
    zero: int
    positive: int

    def __str__(self) -> str:
        return f"inertia: {self.negative} negative, {self.zero} zero, {self.positive} positive eigenvalues"


def inertia(matrix: Float[np.ndarray, "n n"], zero_threshold: float) -> Inertia:
    r"""The inertia by Sylvester's law, without eigenvalues.

    $A + \tau$ and $A - \tau$ are factorised as $L D L^\top$ with blocks of size one and two in D. By congruence D
    has as many negative eigenvalues as A has eigenvalues below $\mp\tau$.

    Args:
        matrix: A, symmetric.
        zero_threshold: τ, up to which |λ| counts as zero; positive, as a zero eigenvalue is known to rounding only.

    Returns:
        The inertia.

    Raises:
        ValueError: for a threshold that is not positive.

    Source: Bunch & Kaufman (1977), as in LAPACK.
    """
    if not zero_threshold > 0:
        raise ValueError(f"the threshold must be positive, as zeros are known to rounding only; got {zero_threshold}.")
    below = _negative(matrix + zero_threshold * np.eye(len(matrix)))
    not_above = _negative(matrix - zero_threshold * np.eye(len(matrix)))
    return Inertia(negative=below, zero=not_above - below, positive=len(matrix) - not_above)


def _negative(matrix: np.ndarray) -> int:
    """The number of negative eigenvalues, from the block-diagonal factor."""
    _, blocks, _ = scipy.linalg.ldl(matrix)
    beside = np.diagonal(blocks, 1).copy()
    signs = np.asarray(scipy.linalg.eigh_tridiagonal(np.diagonal(blocks).copy(), beside, eigvals_only=True))
    return int(np.sum(signs < 0))
