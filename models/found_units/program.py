"""A model as a program: a function of its flattened parameters and of inputs, traced once and evaluated many times."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array, Float

from ..quick import quickly_compiled
from .leaf import Leaf, leaf_at

# Inputs on which functions are compared: units that are inactive on all of them are rare. Fewer where there are many
# parameters, of which as many more are compared.
SAMPLES, FEWER, MANY = 6, 3, 20_000
# Functions that are equal agree to this share of their size, also through a few ill-conditioned operations.
AGREEMENT = 1e-9
# Weights that are evaluated by one call: bounds memory, and one compiled program serves all tests.
BATCH, ENTRIES = 64, 500_000


class Program:
    """A traced model.

    Args:
        model: any Equinox module.
        inputs: several inputs, on the first axis of each array.
        trainable: as in `equinox.partition`: which arrays are parameters; the others are fixed.

    Attributes:
        leaves: the places of the parameters.
        shapes: of the parameters.
        traced: the closed jaxpr of (parameters, inputs) ↦ outputs.
        theta: the model's own parameters.
    """

    leaves: tuple[Leaf, ...]
    shapes: tuple[tuple[int, ...], ...]
    traced: Any
    theta: Float[np.ndarray, " n"]

    def __init__(self, model: Any, inputs: Any, *, trainable: Any = eqx.is_inexact_array):
        dynamic, static = eqx.partition(model, trainable)
        paths = jax.tree_util.tree_flatten_with_path(dynamic)[0]
        arrays, structure = jax.tree.flatten(dynamic)
        _check(model, arrays)
        self._structure, self._static = structure, static
        self.leaves, self.shapes = tuple(leaf_at(path) for path, _ in paths), tuple(array.shape for array in arrays)
        self.theta = np.concatenate([np.ravel(np.asarray(array, float)) for array in arrays])
        self._ends = np.cumsum([0, *(array.size for array in arrays)])
        self._inputs, self._trainable = inputs, trainable
        one = jax.tree.map(lambda array: array[0], self._inputs)

        def outputs(arrays: list[Any], x: Any) -> list[Array]:
            result = called(self.model_of(arrays), x)
            return [jnp.ravel(leaf) for leaf in jax.tree.leaves(result) if eqx.is_inexact_array(leaf)]

        with jax.enable_x64(True):
            specification = [jax.ShapeDtypeStruct(shape, float) for shape in self.shapes]
            self.traced = _traced(model, outputs, specification, one)
        compiled: Any = quickly_compiled if self.theta.size < MANY else jax.jit
        self._compiled = compiled(jax.vmap(self._one, (0, 0, None)))

    def model_of(self, arrays: list[Any]) -> Any:
        """The model with these parameters."""
        return eqx.combine(jax.tree.unflatten(self._structure, arrays), self._static)

    def same_inputs(self, model: Any) -> "Program":
        """The program of another model, on the same inputs."""
        return Program(model, self._inputs, trainable=self._trainable)

    def parts(self, theta: Any) -> list[Any]:
        """The parameters as arrays of their shapes."""
        ends = zip(self._ends, self._ends[1:], self.shapes, strict=False)
        return [theta[start:end].reshape(shape) for start, end, shape in ends]

    def _one(self, theta: Array, tangent: Array, inputs: Any) -> tuple[Array, Array]:
        function = jaxpr_as_fun(self.traced)

        def outputs(theta: Array) -> Array:
            arrays = self.parts(theta)
            of_one = lambda x: jnp.concatenate(function(*arrays, *jax.tree.leaves(x)))  # noqa: E731
            return jnp.ravel(jax.vmap(of_one)(inputs))

        return jax.jvp(outputs, (theta,), (tangent,))

    @property
    def positions(self) -> list[np.ndarray]:
        """The positions of each parameter's entries in θ, in its shape."""
        return self.parts(np.arange(self.theta.size))

    def evaluate(
        self, thetas: list[Float[np.ndarray, " n"]], tangents: list[Float[np.ndarray, " n"]] | None = None
    ) -> tuple[Float[np.ndarray, "k m"], Float[np.ndarray, "k m"]]:
        """Outputs on all inputs, and their derivatives.

        Args:
            thetas: parameters.
            tangents: directions of the derivatives, by default none.

        Returns:
            Outputs, and derivatives, a row for each θ.
        """
        batch = int(np.clip(ENTRIES // self.theta.size, 4, BATCH))
        points = np.stack(thetas)
        directions = np.zeros_like(points) if tangents is None else np.stack(tangents)
        results: list[Any] = []
        with jax.enable_x64(True):
            for start in range(0, len(points), batch):
                rows = [np.resize(a[start : start + batch], (batch, a.shape[1])) for a in (points, directions)]
                found = self._compiled(*rows, self._inputs)
                results.append([np.asarray(array)[: len(points) - start] for array in found])
        values, derivatives = zip(*results, strict=True)
        return np.concatenate(values), np.concatenate(derivatives)

    def draw(self, generator: np.random.Generator) -> Float[np.ndarray, " n"]:
        """Random parameters with which signals neither vanish nor explode."""
        scales = [1 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.5 for shape in self.shapes]
        sizes = np.diff(self._ends)
        return generator.standard_normal(self.theta.size) * np.repeat(scales, sizes)


def _traced(model: Any, outputs: Callable[[list[Any], Any], list[Array]], parameters: list[Any], one: Any) -> Any:
    try:
        return jax.make_jaxpr(outputs)(parameters, one)
    except (TypeError, ValueError, RuntimeError) as error:
        shapes = ", ".join("×".join(map(str, leaf.shape)) or "scalar" for leaf in jax.tree.leaves(one))
        raise ValueError(
            f"{type(model).__name__} cannot be called on one input of shape {shapes} in double precision "
            f"({str(error).partition(chr(10))[0]}): give example=, an input without batch axis, and wrap a model that "
            "needs a key or a state, as `equinox.nn.inference_mode` does."
        ) from error


def called(model: Any, x: Any) -> Any:
    """The model on one input, which may be several arguments: a tuple x is tried as one argument first."""
    try:
        return model(x)
    except TypeError:
        if not isinstance(x, tuple):
            raise
        return model(*x)


def _check(model: Any, arrays: list[Any]) -> None:
    if not arrays:
        raise ValueError(f"{type(model).__name__} has no parameters, among which units could be found.")
    if any(np.iscomplexobj(array) for array in arrays):
        raise ValueError("units are found among real parameters: hold real and imaginary parts in arrays of their own.")


def random_inputs(model: Any, example: Any, *, batched: bool, seed: int) -> Any:
    """Inputs on which functions are compared.

    Args:
        model: for which inputs are made.
        example: one input, or several of them on the first axis.
        batched: whether there are several.
        seed: of random numbers.

    Returns:
        Random numbers of the same shapes; where inputs consist of integers, those given, and others made of theirs.
    """
    generator = np.random.default_rng(seed)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    count = SAMPLES if parameters < MANY else FEWER

    def several(array: Any) -> np.ndarray:
        given = np.asarray(array) if batched else np.asarray(array)[None]
        if not np.issubdtype(given.dtype, np.inexact):
            more = (max(count - len(given), 0), *given.shape[1:])
            return np.concatenate([given[:count], generator.choice(np.ravel(given), more) if given.size else given[:0]])
        return generator.standard_normal((count, *given.shape[1:]))

    return jax.tree.map(several, example)
