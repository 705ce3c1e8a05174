"""A lower bound of a loss that its program proves, by interval arithmetic: that of a sum of squares is zero."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Interval(NamedTuple):
    """Numbers between which all entries of an array lie."""

    lowest: float
    highest: float

    def __add__(self, other: Any) -> "Interval":
        return Interval(self.lowest + other.lowest, self.highest + other.highest)

    def __neg__(self) -> "Interval":
        return Interval(-self.highest, -self.lowest)

    def __mul__(self, other: Any) -> "Interval":
        ends = [_product(a, b) for a in self for b in other]
        return Interval(min(ends), max(ends))

    def __or__(self, other: "Interval") -> "Interval":
        return Interval(min(self.lowest, other.lowest), max(self.highest, other.highest))

    def power(self, exponent: int) -> "Interval":
        """That of an integer power, of a positive exponent."""
        ends = [math.inf if abs(end) == math.inf else abs(end) ** exponent for end in self]
        if exponent % 2:
            return Interval(*(math.copysign(size, end) for size, end in zip(ends, self, strict=True)))
        return Interval(0.0 if self.lowest <= 0 <= self.highest else min(ends), max(ends))

    def inverse(self) -> "Interval":
        """That of the reciprocal; all numbers where zero lies inside."""
        if self.lowest < 0 < self.highest or self.lowest == self.highest == 0:
            return ALL
        # Zero at one end: of the reciprocals that exist all have the sign of the others.
        lowest = -math.inf if self.highest == 0 else 1 / self.highest
        return Interval(lowest, math.inf if self.lowest == 0 else 1 / self.lowest)


ALL = Interval(-math.inf, math.inf)


def _product(a: float, b: float) -> float:
    """The product, in which zero times anything is zero."""
    return 0.0 if a == 0 or b == 0 else a * b


def lowest_value(program: Any, constants: list[Any], arguments: list[Any]) -> float | None:
    """A number that a program's value is never below, whatever the arguments that are not given.

    Args:
        program: a jaxpr with a scalar result.
        constants: the values of its constants.
        arguments: arrays, or `None` for those that may have any value.

    Returns:
        The number; `None` where none is proved.
    """
    given = [ALL if array is None else _range(array) for array in arguments]
    (result,) = _through(program, [_range(array) for array in constants], given)
    return result.lowest if math.isfinite(result.lowest) else None


def _range(array: Any) -> Interval:
    values = np.asarray(array)
    if not values.size or values.dtype.kind not in "biuf" or not np.all(np.isfinite(values)):
        return ALL
    return Interval(float(np.min(values)), float(np.max(values)))


def _through(program: Any, constants: list[Interval], arguments: list[Interval]) -> list[Interval]:
    known: dict[Any, Interval] = dict(zip((*program.constvars, *program.invars), (*constants, *arguments), strict=True))
    read = lambda atom: _range(atom.val) if hasattr(atom, "val") else known[atom]  # noqa: E731
    for equation in program.eqns:
        results = _applied(equation, [read(atom) for atom in equation.invars])
        known |= zip(equation.outvars, results, strict=True)
    return [read(atom) for atom in program.outvars]


def _applied(equation: Any, operands: list[Interval]) -> list[Interval]:
    """Those of an operation's results."""
    if any(np.issubdtype(atom.aval.dtype, np.complexfloating) for atom in equation.invars):
        return _unknown(equation)
    # Infinite ends may cancel.
    return [ALL if any(map(math.isnan, result)) else result for result in _results(equation, operands)]


def _results(equation: Any, operands: list[Interval]) -> list[Interval]:
    name, parameters = equation.primitive.name, equation.params
    inner = next((parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None)
    if inner is not None and len(getattr(inner, "jaxpr", inner).invars) == len(operands):
        constants = [_range(array) for array in getattr(inner, "consts", ())]
        return (
            _through(getattr(inner, "jaxpr", inner), constants, operands) if name not in LOOPS else _unknown(equation)
        )
    if _is_square(equation):
        return [Interval(0.0, math.inf)]
    if name in RULES:
        return [RULES[name](operands, equation)]
    return _unknown(equation)


def _unknown(equation: Any) -> list[Interval]:
    return [ALL] * len(equation.outvars)


def _is_square(equation: Any) -> bool:
    """Whether an operation multiplies an array by itself, entry by entry or in a sum over the same axes of both."""
    name, atoms = equation.primitive.name, equation.invars
    if name not in ("mul", "dot_general") or atoms[0] is not atoms[1]:
        return False
    if name == "mul":
        return True
    (contracted, batched) = equation.params["dimension_numbers"]
    same = tuple(contracted[0]) == tuple(contracted[1]) and tuple(batched[0]) == tuple(batched[1])
    return same and len(contracted[0]) + len(batched[0]) == len(atoms[0].aval.shape)


def _sum(operands: list[Interval], equation: Any) -> Interval:
    """That of a sum over some entries of one array."""
    before, after = (math.prod(atom.aval.shape) for atom in (equation.invars[0], equation.outvars[0]))
    count = float(before // max(after, 1))
    return operands[0] * Interval(count, count)


def _monotone(function: Callable[[float], float], lowest: float, highest: float) -> Callable[..., Interval]:
    """The rule of an increasing function, by its limits where it has no finite value."""

    def value(x: float) -> float:
        try:
            return function(x)
        except (OverflowError, ValueError):
            return highest if x > 0 else lowest

    return lambda operands, _: Interval(
        max(value(operands[0].lowest), lowest), min(value(operands[0].highest), highest)
    )


def _larger(operands: list[Interval], _: Any) -> Interval:
    a, b = operands
    return Interval(max(a.lowest, b.lowest), max(a.highest, b.highest))


def _smaller(operands: list[Interval], _: Any) -> Interval:
    a, b = operands
    return Interval(min(a.lowest, b.lowest), min(a.highest, b.highest))


def _integer_power(operands: list[Interval], equation: Any) -> Interval:
    exponent = equation.params["y"]
    if exponent == 0:
        return Interval(1.0, 1.0)
    return operands[0].power(exponent) if exponent > 0 else operands[0].power(-exponent).inverse()


def _absolute(operands: list[Interval], _: Any) -> Interval:
    return Interval(max(operands[0].lowest, -operands[0].highest, 0.0), max(operands[0].highest, -operands[0].lowest))


def _same(operands: list[Interval], _: Any) -> Interval:
    return operands[0]


def _converted(operands: list[Interval], equation: Any) -> Interval:
    source, target = (np.dtype(atom.aval.dtype).kind for atom in (equation.invars[0], equation.outvars[0]))
    # What is cut off may lead out of the interval.
    return operands[0] if target == "f" or source != "f" else ALL


def _any_of(operands: list[Interval], _: Any) -> Interval:
    joined = operands[0]
    for other in operands[1:]:
        joined = joined | other
    return joined


LOOPS = ("scan", "while", "cond")
# Operations that move, repeat or leave out entries, and those that choose among several arrays.
MOVING = (
    "broadcast_in_dim copy copy_p dynamic_slice expand_dims reduce_max reduce_min reshape rev slice "
    "squeeze stop_gradient transpose"
)
RULES: dict[str, Callable[[list[Interval], Any], Interval]] = {
    **dict.fromkeys(MOVING.split(), _same),
    "concatenate": _any_of,
    "convert_element_type": _converted,
    "select_n": lambda operands, _: _any_of(operands[1:], _),
    "add": lambda operands, _: operands[0] + operands[1],
    "add_any": lambda operands, _: operands[0] + operands[1],
    "sub": lambda operands, _: operands[0] + -operands[1],
    "neg": lambda operands, _: -operands[0],
    "mul": lambda operands, _: operands[0] * operands[1],
    "div": lambda operands, _: operands[0] * operands[1].inverse(),
    "reduce_sum": _sum,
    "integer_pow": _integer_power,
    "square": lambda operands, _: operands[0].power(2),
    "abs": _absolute,
    "max": _larger,
    "min": _smaller,
    "exp": _monotone(math.exp, 0.0, math.inf),
    "log": _monotone(math.log, -math.inf, math.inf),
    "log2": _monotone(math.log2, -math.inf, math.inf),
    "log1p": _monotone(math.log1p, -math.inf, math.inf),
    "logistic": _monotone(lambda x: 1 / (1 + math.exp(-x)), 0.0, 1.0),
    "sqrt": _monotone(math.sqrt, 0.0, math.inf),
    "tanh": _monotone(math.tanh, -1.0, 1.0),
}
