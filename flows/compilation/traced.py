"""Functions as traced programs, so that functions that compute the same are compiled once."""

import functools
import math
import sys
from collections.abc import Callable
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun

from ...models.quick import Effort, Function, by_effort

# Compilation takes a time for each operation, a run for each number that one reads or writes. Without optimisation a
# gradient, a product or a step compiles some 20 to 100 ms faster for each operation, and takes 2 to 3 ns more for each
# number: with fewer numbers for each operation than the first of these it does so also after some thousand
# evaluations. With some optimisation half of that time is saved, and hardly any number takes longer; with more numbers
# than the second, compilation is the smaller part of a run.
SMALL, MEDIUM = 5_000, 50_000


class Program:
    """A jaxpr with the structure of its result; two are equal if their texts are, whatever functions they come from.

    The text contains every operation with all its parameters, but of functions with custom derivatives only the name of
    the rule. Where there are such functions, the text of the gradient, which contains the rules' operations, is added.
    """

    jaxpr: Any
    structure: Any
    text: str

    def __init__(self, jaxpr: Any, structure: Any, rules: str):
        self.jaxpr, self.structure = jaxpr, structure
        # Arrays in full: an abbreviation would make different programs equal.
        with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
            self.text = f"{jaxpr}\n{rules}"
        self._hash = hash((self.text, structure))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Program)
            and self._hash == other._hash
            and self.text == other.text
            and self.structure == other.structure
        )

    @property
    def effort(self) -> Effort:
        """How thoroughly a program that evaluates this one or its derivatives is to be optimised."""
        if self.length < SMALL:
            return Effort.LITTLE
        return Effort.SOME if self.length < MEDIUM else Effort.FULL

    @functools.cached_property
    def numbers(self) -> int:
        """How many numbers the program reads and writes."""
        return _numbers(self.jaxpr)

    @functools.cached_property
    def length(self) -> float:
        """How many numbers it reads and writes for each operation."""
        return self.numbers / max(_operations(self.jaxpr), 1)


def _numbers(jaxpr: Jaxpr) -> int:
    """How many numbers a program reads and writes, with all branches of conditionals and one round of each loop."""
    total = 0
    for operation in jaxpr.eqns:
        if inner := _inner(operation):
            total += operation.params.get("length", 1) * sum(map(_numbers, inner))
        elif operation.primitive.name == "dot_general":
            (contracted, _), _ = operation.params["dimension_numbers"]
            factor: Any = operation.invars[0]
            total += _size(operation.outvars[0]) * math.prod(factor.aval.shape[axis] for axis in contracted)
        else:
            total += sum(map(_size, (*operation.invars, *operation.outvars)))
    return total


def _operations(jaxpr: Jaxpr) -> int:
    """How many operations a program has, those of loops once."""
    return sum(sum(map(_operations, _inner(operation))) or 1 for operation in jaxpr.eqns)


def _size(variable: Any) -> int:
    return variable.aval.size


def _inner(operation: Any) -> list[Jaxpr]:
    """The programs that an operation runs, as a loop does."""
    return [part for value in operation.params.values() for part in _programs(value)]


def _programs(value: Any) -> list[Jaxpr]:
    parts = value if isinstance(value, tuple | list) else (value,)
    parts = [getattr(part, "jaxpr", part) for part in parts]
    return [part for part in parts if isinstance(part, Jaxpr)]


class Traced(eqx.Module):
    """A function of arrays that was traced once, for arguments of fixed shapes.

    The arrays that it closed over are arguments of the compiled program, not part of it: fresh lambdas, copies of
    models and other data of the same shapes share what is compiled for the first of them.

    Attributes:
        constants: the arrays that the function closed over.
        program: the operations.
    """

    constants: list[Any]
    program: Program = eqx.field(static=True)

    def __call__(self, *arguments: Any) -> Any:
        """The function's value; leaves of the arguments other than arrays are those that it was traced with."""
        leaves = jax.tree.leaves(eqx.filter(arguments, eqx.is_array))
        values = jaxpr_as_fun(ClosedJaxpr(self.program.jaxpr, self.constants))(*leaves)
        return jax.tree.unflatten(self.program.structure, values)

    @property
    def effort(self) -> Effort:
        """How thoroughly it is to be optimised, for compilation and runs to take the least time together."""
        return self.program.effort

    @property
    def numbers(self) -> int:
        """How many numbers it reads and writes."""
        return self.program.numbers

    @property
    def length(self) -> float:
        """How many numbers it reads and writes for each operation."""
        return self.program.length


def compiled(function: Function) -> Function:
    """`eqx.filter_jit`, with as much optimisation as the first argument's property `effort` says."""
    programs = by_effort(function, eqx.filter_jit)

    @functools.wraps(function)
    def call(first: Any, *arguments: Any) -> Any:
        return programs[first.effort](first, *arguments)

    return cast(Function, call)


@compiled
def evaluate(traced: Traced, *arguments: Any) -> Any:
    """A traced function's value, compiled once for all functions that compute the same."""
    return traced(*arguments)


def trace(function: Callable[..., Any], *arguments: Any) -> Traced:
    """The function as a program, for arguments of the shapes of those given.

    Args:
        function: from PyTrees to a PyTree of arrays, without side effects.
        *arguments: arrays, or `jax.ShapeDtypeStruct` in their place, in any PyTrees.

    Returns:
        The traced function.
    """
    shapes, static = eqx.partition(arguments, _is_shape_or_array)
    leaves, structure = jax.tree.flatten(shapes)
    examples = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]

    def flat(*values: Any) -> Any:
        return function(*eqx.combine(jax.tree.unflatten(structure, values), static))

    closed, result = jax.make_jaxpr(flat, return_shape=True)(*examples)
    rules = ""
    if "custom_jvp_call" in (text := str(closed.jaxpr)) or "custom_vjp_call" in text:
        rules = _text_of_derivatives(flat, examples)
    return Traced(list(closed.consts), Program(closed.jaxpr, jax.tree.structure(result), rules))


def _is_shape_or_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _text_of_derivatives(flat: Callable[..., Any], examples: list[Any]) -> str:
    """The text of the gradient of all that the function returns, with the operations of custom derivatives."""

    def total(*values: Any) -> Any:
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(flat(*values)) if jnp.issubdtype(leaf.dtype, jnp.floating))

    inexact = [k for k, example in enumerate(examples) if jnp.issubdtype(example.dtype, jnp.floating)]
    return str(jax.make_jaxpr(jax.grad(total, argnums=tuple(inexact)))(*examples).jaxpr)
