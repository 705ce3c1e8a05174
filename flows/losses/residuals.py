"""The residuals of a loss that is a sum of squares, found in its program, in whatever words it is written."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend.core import Jaxpr, Literal

from ..compilation.traced import Traced, trace

# Operations that keep, sum or repeat the entries of an array: a sum of squares stays one.
KEEPING = frozenset("reduce_sum reshape squeeze expand_dims broadcast_in_dim convert_element_type copy copy_p".split())
CALLS = frozenset("jit pjit closed_call core_call".split())


class _Squares(NamedTuple):
    """An array whose entries are sums of squares, weighted by positive numbers.

    Attributes:
        value: the array.
        residuals: what is squared, up to positive factors: all zero where all entries are.
    """

    value: Any
    residuals: tuple[Any, ...]


class _NoSquaresError(Exception):
    """The loss is no sum of squares, as far as its program shows."""


def residuals_of(program: Traced, theta: Any, data: Any) -> Traced | None:
    r"""The residuals whose squares, or higher even powers, a loss is the sum of.

    Args:
        program: (θ, data) ↦ L, traced.
        theta: θ, for its shape.
        data: likewise.

    Returns:
        (θ, data) ↦ r with $L = \sum_i r_i^2$, where powers are squares; in any case $L = 0$ where $r = 0$, and only
        there. `None` where the program shows no sum of squares.
    """

    def found(theta: Any, data: Any) -> Any:
        leaves = jax.tree.leaves(eqx.filter((theta, data), eqx.is_array))
        (loss,) = _evaluated(program.program.jaxpr, program.constants, leaves)
        if not isinstance(loss, _Squares):
            raise _NoSquaresError
        return jnp.concatenate([jnp.ravel(residual) for residual in loss.residuals])

    try:
        return trace(found, theta, data)
    except _NoSquaresError:
        return None


def _evaluated(jaxpr: Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """What a program computes; each argument and result an array, or `_Squares` where it is known to be some."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))
    read = lambda atom: atom.val if isinstance(atom, Literal) else known[atom]  # noqa: E731
    for operation in jaxpr.eqns:
        name, inputs = operation.primitive.name, [read(atom) for atom in operation.invars]
        if name in CALLS:
            inner = operation.params.get("jaxpr") or operation.params["call_jaxpr"]
            results = _evaluated(inner.jaxpr, inner.consts, inputs)
        else:
            given = operation.primitive.get_bind_params(operation.params)
            # Before JAX 0.10 the functions that an operation calls come beside its parameters.
            functions, params = given if isinstance(given, tuple) else ((), given)
            values = operation.primitive.bind(*functions, *map(_value, inputs), **params)
            results = list(values) if operation.primitive.multiple_results else [values]
            residuals = None if len(results) > 1 else _residuals(operation, inputs)
            results = results if residuals is None else [_Squares(results[0], residuals)]
        known.update(zip(operation.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _value(number: Any) -> Any:
    return number.value if isinstance(number, _Squares) else number


def _residuals(operation: Any, inputs: list[Any]) -> tuple[Any, ...] | None:
    """The residuals of an operation's result, `None` where it is no sum of squares."""
    name = operation.primitive.name
    even = name == "square" or (name == "integer_pow" and operation.params["y"] > 0 and operation.params["y"] % 2 == 0)
    itself = name == "mul" or (name == "dot_general" and not operation.outvars[0].aval.shape)
    even |= itself and operation.invars[0] is operation.invars[1]
    squares = [number for number in inputs if isinstance(number, _Squares)]
    if even and not squares:
        return (inputs[0],)
    if name in KEEPING and squares:
        return squares[0].residuals
    if name in ("add", "add_any") and len(squares) == 2:
        return squares[0].residuals + squares[1].residuals
    if name == "mul" and len(squares) == 1:
        return _weighted(squares[0], next(number for number in inputs if not isinstance(number, _Squares)))
    if name == "div" and len(squares) == 1 and isinstance(inputs[0], _Squares):
        return _weighted(squares[0], 1 / inputs[1])
    return None


def _weighted(squares: _Squares, weights: Any) -> tuple[Any, ...] | None:
    """The residuals of squares with weights, which are not negative if the loss is what it seems."""
    # Weights of sums that were taken already have no place among the residuals, unless they are one number.
    if jnp.ndim(weights) and any(jnp.shape(each) != jnp.shape(squares.value) for each in squares.residuals):
        return None
    return tuple(jnp.sqrt(weights) * each for each in squares.residuals)
