"""The loss landscape: a model's structure, its loss and its data as one function of the flattened parameters."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ...models.quick import Effort
from ..compilation.traced import Traced, trace
from ..solvers.stabilised.spectral_radius import radius_by_products
from .light_method import light_method
from .of_landscape import is_inlined, is_traced, of_landscape
from .parameters import flatten, unflatten

# Hessian–vector products, or points, at a time: bounds memory at a few copies of the data's hidden layer. Fewer where
# these do not fit into a processor's cache, of which four are twice as fast each as sixteen.
BLOCK, LEAST_BLOCK, CACHED = 16, 4, 2**21
# The most where the program is small: a call takes longer than what it calls for.
PRODUCTS = 100
# A search of critical points makes hundreds of Hessians. With as many numbers for each operation of them as this it
# takes less time if these are optimised to some degree, as in 140 operations on 10⁵ numbers of 138 parameters.
LONG = 100_000
# Up to so many parameters of a small program a Hessian takes less time than the compilation of a product.
DECOMPOSED = 300


class Origin:
    """The model and the loss that a landscape was made of; all are equal, since compiled functions do not see them."""

    model: Any
    loss: Callable[[Any, Any], Any]

    def __init__(self, model: Any, loss: Callable[[Any, Any], Any]):
        self.model, self.loss = model, loss

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)


class Landscape(eqx.Module):
    r"""The loss $L(\theta)$ of a model on its data as a function of the flattened parameters θ, and its derivatives.

    A PyTree that can be an argument of compiled functions: these see only what model and loss compute, so that the same
    computation on the same shapes is compiled once in a process, whatever weights, data, copies of the model or fresh
    lambdas it comes from. Outside of compiled functions the methods compile themselves and return NumPy arrays.

    Args:
        model: any Equinox module with floating-point arrays, which make up θ.
        loss: scalar function of (model, data).
        data: any PyTree of arrays.

    Raises:
        ValueError: for a loss that cannot be computed of model and data.

    Attributes:
        data: the data as given.
        program: (θ, data) ↦ L, traced.
        origin: model and loss.
    """

    data: Any
    program: Traced
    origin: Origin = eqx.field(static=True)

    def __init__(self, model: Any, loss: Callable[[Any, Any], Any], data: Any):
        theta = jax.eval_shape(flatten, eqx.filter(model, eqx.is_inexact_array))
        try:
            self.program = trace(lambda theta, data: loss(unflatten(model, theta), data), theta, data)
        except (TypeError, LookupError, AttributeError, ArithmeticError) as error:
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise ValueError(f"the loss cannot be computed of model and data: {said}.") from error
        self.data, self.origin = data, Origin(model, loss)

    def __str__(self) -> str:
        model = type(self.model).__name__
        speaks = type(self.loss).__str__ is not object.__str__
        loss = str(self.loss) if speaks else getattr(self.loss, "__name__", type(self.loss).__name__)
        shapes = ", ".join("×".join(map(str, np.shape(leaf))) or "scalar" for leaf in jax.tree.leaves(self.data))
        size = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.model, eqx.is_inexact_array)))
        return f"Loss landscape of {model} with {size} parameters\nloss: {loss}\ndata: {shapes or 'none'}"

    # Kept, since searches on the host call the methods thousands of times.
    @functools.cached_property
    def parts(self) -> tuple[list[Any], Any]:
        """The arrays of the landscape and its structure, as `jax.tree.flatten` gives them."""
        return jax.tree.flatten(eqx.filter(self, eqx.is_array))

    @functools.cached_property
    def traced(self) -> bool:
        """Whether data or constants are unknown, as under a transformation of JAX's."""
        return is_traced(self)

    @property
    def effort(self) -> Effort:
        """How thoroughly a program with the loss or its derivatives is to be optimised."""
        return self.program.effort

    @property
    def small(self) -> bool:
        """Whether the loss is so cheap that a program with its derivatives need not be optimised."""
        return self.effort is Effort.LITTLE

    @property
    def block(self) -> int:
        """The number of points that are evaluated together."""
        return min(_fitting(self), BLOCK)

    @property
    def model(self) -> Any:
        """The model that the landscape was made of, with its parameters."""
        return self.origin.model

    @property
    def loss(self) -> Callable[[Any, Any], Any]:
        """The loss as a function of (model, data)."""
        return self.origin.loss

    @property
    def theta(self) -> Float[np.ndarray, " n"]:
        """The flattened parameters of the model that the landscape was made of."""
        if self.traced:
            raise TypeError("compiled functions do not see a landscape's own weights; pass θ as another argument.")
        return flatten(self.model)

    def at(self, theta: Float[Any, " n"]) -> Any:
        """The model with the parameters θ."""
        return unflatten(self.model, theta)

    @light_method
    def value(self, theta: Float[Any, " n"]) -> Float[Any, ""]:
        """The loss L(θ)."""
        return self.program(theta, self.data) if is_inlined(self, theta) else _value_and_gradient(self, theta)[0]

    @light_method
    def gradient(self, theta: Float[Any, " n"]) -> Float[Any, " n"]:
        """The gradient ∇L(θ)."""
        return jax.grad(self.value)(theta) if is_inlined(self, theta) else _value_and_gradient(self, theta)[1]

    @light_method
    def value_and_gradient(self, theta: Float[Any, " n"]) -> tuple[Float[Any, ""], Float[Any, " n"]]:
        """The loss L(θ) and its gradient ∇L(θ)."""
        return _value_and_gradient(self, theta)

    @light_method
    def values_and_gradients(self, thetas: Float[Any, "k n"]) -> tuple[Float[Any, " k"], Float[Any, "k n"]]:
        """Losses and gradients at several points."""
        if is_inlined(self, thetas):
            return _values_and_gradients(self, thetas)
        # In blocks of one size, padded with the last point, so that one program serves any number.
        count, size = len(thetas), self.block
        padded = np.concatenate([thetas, np.repeat(thetas[-1:], -count % size, axis=0)])
        blocks = [_values_and_gradients(self, padded[k : k + size]) for k in range(0, count, size)]
        values, gradients = (np.concatenate(parts)[:count] for parts in zip(*blocks, strict=True))
        return values, gradients

    @light_method
    def hessian_product(self, theta: Float[Any, " n"], direction: Float[Any, " n"]) -> Float[Any, " n"]:
        r"""The product $\nabla^2 L(\theta)\, d$ with one direction d."""
        return _hessian_product(self, theta, direction)

    @light_method
    def hessian_products(self, theta: Float[Any, " n"], directions: Float[Any, "n k"]) -> Float[Any, "n k"]:
        r"""The products of $\nabla^2 L(\theta)$ with several directions, as columns."""
        if is_inlined(self, theta, directions):
            return _hessian_products(self, theta, directions)
        directions = np.asarray(directions, theta.dtype)
        # In blocks of one size, padded with zeros, so that one program serves any number.
        count, size = directions.shape[1], _block_of_products(self, len(theta))
        padded = np.pad(directions, ((0, 0), (0, -count % size)))
        blocks = [_hessian_products(self, theta, padded[:, k : k + size]) for k in range(0, count, size)]
        return np.concatenate(blocks, axis=1)[:, :count] if blocks else directions

    @light_method
    def hessian(self, theta: Float[Any, " n"]) -> Float[Any, "n n"]:
        r"""The dense Hessian $\nabla^2 L(\theta)$ by products, one for each parameter."""
        matrix = self.hessian_products(theta, np.eye(theta.size, dtype=theta.dtype))
        return (matrix + matrix.T) / 2

    def sharpness(self, theta: Float[np.ndarray, " n"]) -> float:
        r"""The sharpness $\max|\lambda(\nabla^2 L)|$ at θ; if it is large, by power iteration, within about a tenth."""
        # By programs that the search of critical points takes, too.
        if not self.small or theta.size > DECOMPOSED:
            return radius_by_products(lambda v: self.hessian_product(theta, v), theta.size, theta.dtype)
        matrix = self.hessian(theta)
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix)), initial=0.0)) if np.all(np.isfinite(matrix)) else np.nan


def _fitting(landscape: Landscape) -> int:
    """Points or directions that fit into a processor's cache."""
    return max(CACHED // max(landscape.program.numbers, 1), LEAST_BLOCK)


def _block_of_products(landscape: Landscape, n: int) -> int:
    """The size of as few equal blocks as possible that make up n."""
    blocks = -(-n // min(_fitting(landscape), PRODUCTS if landscape.small else BLOCK))
    return -(-n // blocks)


@of_landscape
def _value_and_gradient(landscape: Landscape, theta: Array) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    return jax.value_and_grad(landscape.value)(theta)


@of_landscape
def _values_and_gradients(landscape: Landscape, thetas: Any) -> tuple[Float[Array, " k"], Float[Array, "k n"]]:
    return jax.vmap(landscape.value_and_gradient)(thetas)


@of_landscape
def _hessian_product(landscape: Landscape, theta: Array, direction: Float[Array, " n"]) -> Float[Array, " n"]:
    return jax.jvp(landscape.gradient, (theta,), (direction,))[1]


def _effort_of_products(landscape: Landscape, theta: Float[Any, " n"], _: Any) -> Effort:
    """More where the many products of a Hessian take long."""
    dear = landscape.program.length * len(theta) >= LONG
    return max(landscape.effort, Effort.SOME if dear else Effort.LITTLE)


@functools.partial(of_landscape, effort=_effort_of_products)
def _hessian_products(landscape: Landscape, theta: Array, directions: Float[Any, "n k"]) -> Float[Array, "n k"]:
    product = jax.linearize(landscape.gradient, theta)[1]
    return jax.vmap(product, in_axes=1, out_axes=1)(directions)
