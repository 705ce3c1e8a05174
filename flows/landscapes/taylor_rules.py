r"""Taylor arithmetic on traced programs: the power series of what a program computes from power series.

Each operation is replaced by one on series that are held as one array, so that the program grows slowly with the order.
Where a comparison is undecided at s = 0, the series decide it for small s > 0: at a kink the result is the series on
the side to which the argument moves.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array

from ...models.scan_counts import scan_counts
from . import power_series as ps
from .series_functions import COMPARISONS, FUNCTIONS, logarithm

# Operations that are linear in their floating-point arrays; the other arguments are positions or conditions.
LINEAR = frozenset(
    "neg convert_element_type broadcast_in_dim concatenate pad reshape squeeze expand_dims rev transpose slice "
    "dynamic_slice dynamic_update_slice gather scatter scatter-add select_n reduce_sum reduce_window_sum cumsum split "
    "stack unstack copy copy_p device_put reduce_precision".split()
)
CALLS = frozenset("jit pjit closed_call core_call checkpoint remat2 custom_jvp_call custom_vjp_call".split())
# Arithmetic of numbers that are known when the program is traced: of exponents.
KNOWN: dict[str, Callable[..., Any]] = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative}


@dataclass(frozen=True)
class Series:
    """The coefficients of a power series along axis 0."""

    rows: Array


def evaluate(jaxpr: Jaxpr, constants: Sequence[Any], *arguments: Any) -> list[Any]:
    """What a program computes, each argument and result an array or a `Series`.

    Args:
        jaxpr: the program.
        constants: the values of its constants.
        *arguments: the values of its arguments.

    Returns:
        The results. An operation without a rule raises `NotImplementedError`.
    """
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))
    read = lambda variable: variable.val if isinstance(variable, Literal) else values[variable]  # noqa: E731
    for operation in jaxpr.eqns:
        results = _applied(operation, [read(variable) for variable in operation.invars])
        values.update(zip(operation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _applied(operation: Any, arguments: list[Any]) -> list[Any]:
    """The results of one operation."""
    primitive, name, params = operation.primitive, operation.primitive.name, operation.params
    if name in CALLS:
        closed = next(params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in params)
        return evaluate(getattr(closed, "jaxpr", closed), getattr(closed, "consts", ()), *arguments)
    sizes = [len(argument.rows) for argument in arguments if isinstance(argument, Series)]
    if not sizes:
        if name in KNOWN and not any(isinstance(argument, jax.Array) for argument in arguments):
            return [KNOWN[name](*arguments)]
        return _bound(primitive, arguments, params)
    if name in CONTROL:
        return CONTROL[name](params, arguments, sizes[0])
    if name in SPECIAL:
        return [SPECIAL[name](*arguments, bind=functools.partial(primitive.bind, **params), **params)]
    if name in FUNCTIONS:
        return [Series(FUNCTIONS[name](*_aligned(arguments, sizes[0])))]
    if name in COMPARISONS:
        return [COMPARISONS[name](*_aligned(arguments, sizes[0]))]
    if name in CONSTANT or not any(map(_is_float, (variable.aval for variable in operation.outvars))):
        return _bound(primitive, [a.rows[0] if isinstance(a, Series) else a for a in arguments], params)
    if name in LINEAR:
        lifted = [_lifted(argument, sizes[0]) for argument in arguments]
        axes = tuple(0 if isinstance(argument, Series) else None for argument in lifted)
        leaves = [argument.rows if isinstance(argument, Series) else argument for argument in lifted]
        results = jax.vmap(lambda *leaves: _bound(primitive, leaves, params), in_axes=axes)(*leaves)
        return [Series(rows) for rows in results]
    raise NotImplementedError(f"Taylor arithmetic has no rule for the operation {name!r}.")


def _bound(primitive: Any, arguments: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    results = primitive.bind(*arguments, **params)
    return list(results) if primitive.multiple_results else [results]


def _is_float(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.floating)


def _lifted(value: Any, size: int) -> Any:
    """Numbers as constant series; integers and conditions as they are."""
    if isinstance(value, Series):
        return value
    value = jnp.asarray(value)
    return Series(ps.constant(value, size)) if _is_float(value) else value


def _aligned(arguments: Sequence[Any], size: int | None = None) -> list[Array]:
    """The coefficients of series and numbers with equally many axes, of numbers `size` coefficients or one."""
    rows = [argument.rows if isinstance(argument, Series) else jnp.asarray(argument)[None] for argument in arguments]
    rank = max(row.ndim for row in rows)
    rows = [row.reshape(row.shape[:1] + (1,) * (rank - row.ndim) + row.shape[1:]) for row in rows]
    return [row if size in (None, len(row)) else ps.constant(row[0], size) for row in rows]


def _multiplied(a: Any, b: Any, **params: Any) -> Series:
    u, w = _aligned((a, b))
    return Series(ps.product(u, w) if isinstance(a, Series) and isinstance(b, Series) else u * w)


def _bilinear(a: Any, b: Any, *, bind: Callable[..., Any], **params: Any) -> Series:
    """A product of arrays; of two series it is summed over their coefficients."""
    if not isinstance(a, Series):
        return Series(jax.vmap(lambda row: bind(a, row))(b.rows))
    if not isinstance(b, Series):
        return Series(jax.vmap(lambda row: bind(row, b))(a.rows))
    return Series(ps.product(a.rows, b.rows, lambda u, w: jnp.sum(jax.vmap(bind)(u, w), 0)))


def _contracted(a: Any, b: Any, *, bind: Callable[..., Any], **params: Any) -> Series:
    """`dot_general`; of two series the sum over their coefficients is one more contraction."""
    if not (isinstance(a, Series) and isinstance(b, Series)):
        return _bilinear(a, b, bind=bind)
    (contracted, batch) = (
        tuple(tuple(axis + 1 for axis in axes) for axes in pair) for pair in params["dimension_numbers"]
    )
    contracted = tuple((0, *axes) for axes in contracted)
    return Series(ps.product(a.rows, b.rows, lambda u, w: bind(u, w, dimension_numbers=(contracted, batch))))


def _divided(a: Any, b: Any, **params: Any) -> Series:
    if isinstance(b, Series):
        return Series(ps.quotient(*_aligned((a, b), len(b.rows))))
    return _multiplied(a, 1 / jnp.asarray(b))


def _raised(base: Any, exponent: Any, **params: Any) -> Series:
    if isinstance(exponent, Series):
        u, r = _aligned((base, exponent), len(exponent.rows))
        return Series(ps.exponential(ps.product(r, logarithm(u))))
    if not isinstance(exponent, jax.Array) and np.ndim(exponent) == 0 and float(exponent).is_integer():
        return Series(ps.integer_power(base.rows, int(exponent)))
    return Series(ps.power(base.rows, base.rows[0] ** exponent, exponent))


def _product_over(a: Series, *, axes: tuple[int, ...], **params: Any) -> Series:
    rows = jnp.moveaxis(a.rows, [axis + 1 for axis in axes], range(1, len(axes) + 1))
    rows = rows.reshape((rows.shape[0], -1) + rows.shape[len(axes) + 1 :])
    factors = [rows[:, k] for k in range(rows.shape[1])]
    return Series(functools.reduce(ps.product, factors, ps.constant(jnp.ones_like(rows[0, 0]), len(rows))))


def _extreme_over(sign: int) -> Callable[..., Any]:
    return lambda a, *, axes, **params: Series(sign * ps.largest(sign * a.rows, axes))


# Constant as far as derivatives go.
CONSTANT = frozenset("stop_gradient floor ceil round is_finite".split())
SPECIAL: dict[str, Callable[..., Any]] = {
    "mul": _multiplied,
    "div": _divided,
    "dot_general": _contracted,
    "conv_general_dilated": _bilinear,
    "pow": _raised,
    "integer_pow": lambda base, *, y, **params: Series(ps.integer_power(base.rows, y)),
    "reduce_prod": _product_over,
    "reduce_max": _extreme_over(1),
    "reduce_min": _extreme_over(-1),
}


def _on_leaves(closed: ClosedJaxpr, size: int) -> Callable[..., list[Array]]:
    """A program on arrays, in which those of floating-point numbers are coefficients of series."""

    def function(*leaves: Array) -> list[Array]:
        kinds = [variable.aval for variable in closed.jaxpr.invars]
        given = [Series(leaf) if _is_float(kind) else leaf for kind, leaf in zip(kinds, leaves, strict=True)]
        return _leaves(evaluate(closed.jaxpr, closed.consts, *given), size)

    return function


def _leaves(values: Sequence[Any], size: int) -> list[Array]:
    lifted = [_lifted(value, size) for value in values]
    return [value.rows if isinstance(value, Series) else value for value in lifted]


def _wrapped(leaves: Sequence[Array], kinds: Sequence[Any]) -> list[Any]:
    return [Series(leaf) if _is_float(kind.aval) else leaf for leaf, kind in zip(leaves, kinds, strict=True)]


def _conditional(params: dict[str, Any], arguments: list[Any], size: int) -> list[Any]:
    branches = params["branches"]
    index, *operands = _leaves(arguments, size)
    leaves = lax.switch(index, [_on_leaves(branch, size) for branch in branches], *operands)
    return _wrapped(leaves, branches[0].jaxpr.outvars)


def _loop(params: dict[str, Any], arguments: list[Any], size: int) -> list[Any]:
    """`scan`: the coefficients of what it runs over are moved behind the axis that it runs along, and back."""
    body, (fixed, count) = params["jaxpr"], scan_counts(params)
    carried = fixed + count
    function, leaves = _on_leaves(body, size), _leaves(arguments, size)
    flat = [_is_float(variable.aval) for variable in body.jaxpr.invars[carried:]]
    runs = [jnp.moveaxis(x, 1, 0) if moved else x for x, moved in zip(leaves[carried:], flat, strict=True)]

    def step(carry: list[Array], xs: list[Array]) -> tuple[list[Array], list[Array]]:
        results = function(*leaves[:fixed], *carry, *xs)
        return results[:count], results[count:]

    carry, ys = lax.scan(step, leaves[fixed:carried], runs, params["length"], params["reverse"])
    kinds = body.jaxpr.outvars
    ys = [jnp.moveaxis(y, 0, 1) if _is_float(kind.aval) else y for y, kind in zip(ys, kinds[len(carry) :], strict=True)]
    return _wrapped([*carry, *ys], kinds)


def _open_loop(params: dict[str, Any], arguments: list[Any], size: int) -> list[Any]:
    """`while`: its condition sees the series."""
    leaves, ahead = _leaves(arguments, size), params["cond_nconsts"]
    start = ahead + params["body_nconsts"]
    condition, body = _on_leaves(params["cond_jaxpr"], size), _on_leaves(params["body_jaxpr"], size)
    leaves = lax.while_loop(
        lambda carry: condition(*leaves[:ahead], *carry)[0],
        lambda carry: body(*leaves[ahead:start], *carry),
        leaves[start:],
    )
    return _wrapped(leaves, params["body_jaxpr"].jaxpr.outvars)


CONTROL: dict[str, Callable[..., Any]] = {"cond": _conditional, "scan": _loop, "while": _open_loop}
