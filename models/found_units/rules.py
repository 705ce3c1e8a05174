"""What every primitive of a program does to the identities of axes."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from .axes import Axes, Axis
from .values import Origin, Value, value

# A rule: identities, operands, the primitive's parameters and the shapes of its results give the results.
Rule = Callable[[Axes, list[Value], dict[str, Any], list[tuple[int, ...]]], list[Value]]

ELEMENTWISE = set(
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp conj convert_element_type cos "
    "cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow is_finite le lgamma log "
    "log1p log2 logistic lt max min mul ne neg nextafter not one_minus_square or pow real reduce_precision rem "
    "round rsqrt select_n sign sin sinh sqrt square sub stop_gradient tan tanh xor".split()
)
# A function may have a kink, a jump or an infinite slope where one of these is applied.
NOT_SMOOTH = set(
    "abs argmax argmin cbrt ceil clamp cond cummax cummin floor max min pow reduce_max reduce_min reduce_window "
    "reduce_window_max reduce_window_min rem round select_n sign sort sqrt top_k while".split()
)


def elementwise(axes: Axes, operands: list[Value], _: dict[str, Any], shapes: list[tuple[int, ...]]) -> list[Value]:
    """Ties the axes of all operands, in order; those of size 1 are broadcast."""
    full = [operand for operand in operands if len(operand.axes) == len(shapes[0])]
    own: list[Axis] = []
    for k, size in enumerate(shapes[0]):
        first, *others = [each.axes[k] for each in full if axes.size(each.axes[k]) == size]
        own.append(first)
        for other in others:
            axes.tie(first, other)
    result = value(tuple(own), *operands)
    if result.parameters is None:
        return [result] * len(shapes)
    origins = tuple(_union(each.origins[k] for each in full) for k in range(len(own)))
    return [result._replace(origins=origins)] * len(shapes)


def _each(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]) -> list[Value]:
    return operands


def _broadcast(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), operand = shapes, operands[0]
    # Along a new axis all entries are equal, and may be permuted with any other axis.
    own: list[Axis] = [axes.new(size) for size in shape]
    origins = [frozenset[tuple[int, int]]()] * len(shape)
    for place, axis, origin in zip(parameters["broadcast_dimensions"], operand.axes, operand.origins, strict=True):
        if axes.size(axis) == shape[place]:
            own[place], origins[place] = axis, origin
    return [Value(tuple(own), tuple(origins), operand.parameters)]


def _transpose(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    return [_chosen(operands[0], [int(k) for k in parameters["permutation"]])]


def _chosen(operand: Value, places: list[int]) -> Value:
    chosen = tuple(operand.axes[k] for k in places), tuple(operand.origins[k] for k in places)
    return Value(*chosen, operand.parameters)


def _reduce(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    gone = {int(k) for k in parameters["axes"]}
    return [_chosen(each, [k for k in range(len(each.axes)) if k not in gone]) for each in operands[: len(shapes)]]


def _squeeze(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    gone = {int(k) for k in parameters["dimensions"]}
    return [_chosen(operands[0], [k for k in range(len(operands[0].axes)) if k not in gone])]


def _extreme_place(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    for k in parameters["axes"]:
        axes.fix(operands[0].axes[k], "is numbered by an argmax")
    return _reduce(axes, operands, parameters, shapes)


def _reshape(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), operand = shapes, operands[0]
    whole: Axis = tuple(factor for axis in operand.axes for factor in axis)
    own: list[Axis] = []
    for size in reversed(shape):
        whole, fast = axes.split(whole, size)
        own.insert(0, fast)
    before = _strides([axes.size(axis) for axis in operand.axes])
    origins = [
        _union(origin for origin, (a, b) in zip(operand.origins, before, strict=True) if a < high and low < b)
        for low, high in _strides(list(shape))
    ]
    return [Value(tuple(own), tuple(origins), operand.parameters)]


def _strides(shape: list[int]) -> list[tuple[int, int]]:
    """The strides of each axis and of the next slower one."""
    return [(math.prod(shape[k + 1 :]), math.prod(shape[k:])) for k in range(len(shape))]


def _part(axes: Axes, axis: Axis, start: int, size: int) -> Axis:
    """A stretch of an axis, which divides it into blocks of the largest size that fits."""
    total = axes.size(axis)
    if size == total:
        return axis
    factors = axes.factors(axis)
    for begins, part in axes.stretches(factors[0]) if len(factors) == 1 else ():
        if (begins, axes.size(part)) == (start, size):
            return part
    slow, fast = axes.split(axis, math.gcd(total, start, size))
    axes.fix(slow, "is cut into parts")
    return axes.new(size // max(axes.size(fast), 1), "is cut into parts") + fast


def _slice(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), operand = shapes, operands[0]
    own: list[Axis] = []
    strides = parameters["strides"] or (1,) * len(shape)
    for k, (axis, stride) in enumerate(zip(operand.axes, strides, strict=True)):
        if stride == 1:
            own.append(_part(axes, axis, int(parameters["start_indices"][k]), shape[k]))
        else:
            axes.fix(axis, "is cut into parts")
            own.append(axes.new(shape[k], "is cut into parts"))
    return [operand._replace(axes=tuple(own))]


def _split(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    operand, place, start = operands[0], int(parameters["axis"]), 0
    results: list[Value] = []
    for size in map(int, parameters["sizes"]):
        own = _part(axes, operand.axes[place], start, size)
        results.append(operand._replace(axes=(*operand.axes[:place], own, *operand.axes[place + 1 :])))
        start += size
    return results


def _concatenate(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), place = shapes, int(parameters["dimension"])
    for operand in operands[1:]:
        for k in set(range(len(shape))) - {place}:
            axes.tie(operands[0].axes[k], operand.axes[k])
    own = axes.joined([operand.axes[place] for operand in operands])
    joined = value((*operands[0].axes[:place], own, *operands[0].axes[place + 1 :]), *operands)
    if joined.parameters is None:
        return [joined]
    return [joined._replace(origins=tuple(_union(each.origins[k] for each in operands) for k in range(len(shape))))]


def _union(origins: Iterable[Origin]) -> Origin:
    return frozenset[tuple[int, int]]().union(*origins)


def _fixing(reason: str, where: Callable[[dict[str, Any], int], bool]) -> Rule:
    """The rule of a primitive that does something to each entry along some axes, and keeps the others."""

    def rule(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
        results: list[Value] = []
        for operand, shape in zip(operands, shapes, strict=False):
            own: list[Axis] = list(operand.axes)
            for k in range(len(shape)):
                if where(parameters, k):
                    axes.fix(own[k], reason)
                    own[k] = axes.new(shape[k], reason)
            results.append(operand._replace(axes=tuple(own)))
        return results

    return rule


def _windowed(parameters: dict[str, Any], k: int) -> bool:
    sizes = ("window_dimensions", "window_strides", "base_dilation", "window_dilation")
    return any(parameters[name][k] != 1 for name in sizes) or tuple(parameters["padding"][k]) != (0, 0)


def _iota(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    reasons = ["is numbered" if k == parameters["dimension"] else "" for k in range(len(shapes[0]))]
    own = tuple(axes.new(size, reason) for size, reason in zip(shapes[0], reasons, strict=True))
    return [Value(own, (frozenset(),) * len(own), frozenset())]


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(("device_put", "optimization_barrier", "copy", "copy_p"), _each),
    **{f"reduce_{name}": _reduce for name in ("sum", "max", "min", "prod", "and", "or", "xor")},
    **dict.fromkeys(("argmax", "argmin"), _extreme_place),
    **{
        name: _fixing("is accumulated in order", lambda p, k: k == p["axis"])
        for name in ("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp")
    },
    **{f"reduce_window{kind}": _fixing("is passed by windows", _windowed) for kind in ("", "_sum", "_max", "_min")},
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "iota": _iota,
    "pad": _fixing("is padded", lambda p, k: tuple(p["padding_config"][k]) != (0, 0, 0)),
    "reshape": _reshape,
    "rev": _fixing("is reversed", lambda p, k: k in p["dimensions"]),
    "slice": _slice,
    "sort": _fixing("is sorted", lambda p, k: k == p["dimension"]),
    "split": _split,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
