"""Parts of a Hessian: Gauss–Newton and residual, blocks of some parameters, and inertia without eigenvalues."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float, Int

from ..flows import GradientFlow, flatten, unflatten
from ..models import Features, features_of

Part = Literal["whole", "gauss-newton", "residual"]


class Linearised(eqx.Module):
    r"""A model replaced by its first-order expansion in the parameters, $f(x; \theta_0) + D f(x; \theta_0) \delta$."""

    model: Any
    displacement: Float[Array, " n"]

    def _expand(self, function: Callable[[Any], Array]) -> Array:
        at = lambda theta: function(unflatten(self.model, theta))  # noqa: E731
        value, change = jax.jvp(at, (flatten(self.model),), (self.displacement,))
        return value + change

    def __call__(self, x: Any) -> Array:
        return self._expand(lambda model: model(x))

    @property
    def features(self) -> Features | None:
        """The model's features, with coefficients to first order."""
        features = features_of(self.model)
        if features is None:
            return None
        return Features(features.of_input, lambda linearised: linearised._expand(features.coefficients))


class LinearisedLoss(eqx.Module):
    r"""The loss of the linearised model as a function of the displacement; its Hessian at 0 is the Gauss–Newton matrix.

    $\nabla^2_\delta\, \ell(f + J \delta) = J^\top (\partial^2 \ell / \partial f^2) J$.
    """

    flow: GradientFlow

    def value(self, displacement: Float[Array, " n"], theta: Float[Array, " n"], data: Any) -> Float[Array, ""]:
        """The loss at a displacement from θ."""
        return self.flow.loss(Linearised(unflatten(self.flow.model, theta), displacement), data)


def hessian_operator(
    flow: GradientFlow, theta: Float[Array, " n"], data: Any, part: Part = "whole"
) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    r"""The product of the Hessian, or of one of its parts, with a vector; to be used under `jax.jit`.

    $\nabla^2 L = J^\top (\partial^2 \ell / \partial f^2) J + \sum_j (\partial \ell / \partial f_j) \nabla^2 f_j$: the
    Gauss–Newton part, and what the curvature of the outputs adds to it.

    **Raises:** `ValueError` for the parts of a loss that reads more of a model than its outputs.
    """
    whole = jax.linearize(lambda p: jax.grad(flow.value)(p, data), theta)[1]
    if part == "whole":
        return whole
    first = LinearisedLoss(flow)
    try:
        gauss_newton = jax.linearize(lambda d: jax.grad(first.value)(d, theta, data), jnp.zeros_like(theta))[1]
    except AttributeError as error:
        raise ValueError(
            f"the Gauss–Newton part needs a loss of the model's outputs alone; this one reads more of it ({error})."
        ) from error
    return gauss_newton if part == "gauss-newton" else lambda v: whole(v) - gauss_newton(v)


@eqx.filter_jit
def _columns(flow: GradientFlow, theta: Array, data: Any, positions: Array, part: Part) -> Array:
    product = hessian_operator(flow, theta, data, part)
    seed = lambda position: jnp.zeros_like(theta).at[position].set(1.0)  # noqa: E731
    return jax.lax.map(lambda position: product(seed(position))[positions], positions)


def hessian_block(
    model: Any, loss: Callable, data: Any, positions: Int[np.ndarray, " k"], part: Part = "whole"
) -> Float[np.ndarray, "k k"]:
    """The block of the Hessian, or of one of its parts, of the parameters at some positions of the flattened model.

    One Hessian–vector product for each; the rest of the Hessian is never formed. `leaf_positions` and `unit_positions`
    give the positions of a layer's and of a unit's parameters.
    """
    flow, theta = GradientFlow(model, loss), flatten(model)
    matrix = np.asarray(_columns(flow, theta, data, jnp.asarray(positions), part))
    return (matrix + matrix.T) / 2


def leaf_positions(model: Any) -> dict[str, Int[np.ndarray, " k"]]:
    """Where each array of a model is in its flattened parameters, by its path in the model."""
    arrays = jax.tree_util.tree_leaves_with_path(eqx.filter(model, eqx.is_inexact_array))
    ends = np.cumsum([leaf.size for _, leaf in arrays])
    return {
        jax.tree_util.keystr(path): np.arange(end - leaf.size, end)
        for (path, leaf), end in zip(arrays, ends, strict=True)
    }


class Inertia(eqx.Module):
    """Numbers of negative, zero and positive eigenvalues of a symmetric matrix."""

    negative: int
    zero: int
    positive: int


def inertia(matrix: Float[np.ndarray, "n n"], zero_threshold: float) -> Inertia:
    r"""The inertia by Sylvester's law, without eigenvalues.

    $A + \tau$ and $A - \tau$ are factorised as $L D L^\top$ with blocks of size one and two in D, whose signs are those
    of the eigenvalues of A beside $\mp\tau$.

    **Arguments:** `matrix`: symmetric; `zero_threshold`: τ, up to which |λ| counts as zero.

    Source: Bunch & Kaufman (1977), as in LAPACK.
    """
    if not zero_threshold > 0:
        raise ValueError(
            f"the threshold must be positive, or a zero cannot be told from rounding; got {zero_threshold}."
        )
    below = _negative(matrix + zero_threshold * np.eye(len(matrix)))
    not_above = _negative(matrix - zero_threshold * np.eye(len(matrix)))
    return Inertia(below, not_above - below, len(matrix) - not_above)


def _negative(matrix: np.ndarray) -> int:
    """The number of negative eigenvalues, from the block-diagonal factor."""
    _, blocks, _ = scipy.linalg.ldl(matrix)
    beside = np.diagonal(blocks, 1).copy()
    signs = np.asarray(scipy.linalg.eigh_tridiagonal(np.diagonal(blocks).copy(), beside, eigvals_only=True))
    return int(np.sum(signs < 0))
