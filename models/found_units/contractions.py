"""What matrix products, convolutions, look-ups and writes do to the identities of axes."""

from typing import Any

from .axes import Axes, Axis
from .rules import RULES, Rule
from .values import Value, value


def _dot(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]) -> list[Value]:
    (contracted, batched), (left, right) = parameters["dimension_numbers"], operands
    for a, b in (*zip(*contracted, strict=True), *zip(*batched, strict=True)):
        axes.tie(left.axes[a], right.axes[b])
    own: list[tuple[Value, int]] = [(left, a) for a in batched[0]]
    for k, operand in enumerate(operands):
        gone = {*contracted[k], *batched[k]}
        own += [(operand, d) for d in range(len(operand.axes)) if d not in gone]
    result = value(tuple(operand.axes[d] for operand, d in own), left, right)
    if result.parameters is None:
        return [result]
    return [result._replace(origins=tuple(operand.origins[d] for operand, d in own))]


def contracted_axes(name: str, parameters: dict[str, Any]) -> tuple[tuple[int, ...], ...]:
    """The axes of each operand over which a primitive sums products.

    Args:
        name: of the primitive.
        parameters: of the primitive.

    Returns:
        The axes, for each operand; nothing for primitives that do no such thing.
    """
    if name == "dot_general":
        return tuple(tuple(map(int, places)) for places in parameters["dimension_numbers"][0])
    if name == "conv_general_dilated":
        numbers = parameters["dimension_numbers"]
        return ((int(numbers.lhs_spec[1]),), (int(numbers.rhs_spec[1]),))
    return ()


def _convolution(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), (signal, kernel), numbers = shapes, operands, parameters["dimension_numbers"]
    groups, reason = parameters["feature_group_count"], "is passed by windows"
    for operand, spec in ((signal, numbers.lhs_spec), (kernel, numbers.rhs_spec)):
        for place in spec[2:]:
            axes.fix(operand.axes[place], reason)
    features, made = signal.axes[numbers.lhs_spec[1]], kernel.axes[numbers.rhs_spec[0]]
    read = kernel.axes[numbers.rhs_spec[1]]
    slow, fast = axes.split(features, axes.size(read))
    axes.tie(fast, read)
    axes.tie(slow, axes.split(made, axes.size(made) // groups)[0])
    if parameters["batch_group_count"] != 1:
        axes.fix(made, "is convolved in groups of the batch")
        axes.fix(signal.axes[numbers.lhs_spec[0]], "is convolved in groups of the batch")
    own: list[Axis] = [axes.new(size, reason) for size in shape]
    own[numbers.out_spec[0]], own[numbers.out_spec[1]] = signal.axes[numbers.lhs_spec[0]], made
    return [value(tuple(own), signal, kernel)]


def _gather(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    numbers, (operand, indices) = parameters["dimension_numbers"], operands[:2]
    (shape,) = shapes
    for place, index in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True):
        axes.tie(operand.axes[place], indices.axes[index])
    own: dict[int, Axis] = {}
    origins = [frozenset[tuple[int, int]]()] * len(shape)
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [place for place in range(len(operand.axes)) if place not in gone]
    for place in {*range(len(operand.axes))} - {*numbers.operand_batching_dims}:
        whole = place in kept and parameters["slice_sizes"][place] == axes.size(operand.axes[place])
        if place in kept:
            out = numbers.offset_dims[kept.index(place)]
            own[out] = operand.axes[place] if whole else axes.new(shape[out], "is read at given places")
            origins[out] = operand.origins[place]
        if not whole:
            axes.fix(operand.axes[place], "is read at given places")
    others = [k for k in range(len(shape)) if k not in own]
    own |= dict(zip(others, indices.axes[:-1], strict=True))
    result = value(tuple(own[k] for k in range(len(shape))), operand, indices)
    return [result if result.parameters is None else result._replace(origins=tuple(origins))]


def _scatter(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    numbers, (operand, _, update) = parameters["dimension_numbers"], operands
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    kept = [place for place in range(len(operand.axes)) if place not in gone]
    windows = dict(zip(kept, numbers.update_window_dims, strict=True))
    _write(axes, operand, update, {place: windows.get(place) for place in range(len(operand.axes))})
    for place in set(range(len(update.axes))) - {*numbers.update_window_dims}:
        axes.fix(update.axes[place], "is written to given places")
    return [value(operand.axes, *operands)]


def _write(axes: Axes, operand: Value, update: Value, places: dict[int, int | None]) -> None:
    """Ties the axes along which all of an array is replaced, and fixes the others."""
    for place, source in places.items():
        if source is not None and axes.size(update.axes[source]) == axes.size(operand.axes[place]):
            axes.tie(operand.axes[place], update.axes[source])
            continue
        axes.fix(operand.axes[place], "is written to given places")
        if source is not None:
            axes.fix(update.axes[source], "is written to given places")


def _dynamic_slice(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    (shape,), operand = shapes, operands[0]
    own = list(operand.axes)
    for k, size in enumerate(shape):
        if size != axes.size(own[k]):
            axes.fix(own[k], "is read at given places")
            own[k] = axes.new(size, "is read at given places")
    result = value(tuple(own), *operands)
    return [result if result.parameters is None else result._replace(origins=operand.origins)]


def _dynamic_update(axes: Axes, operands: list[Value], parameters: dict[str, Any], shapes: list[tuple[int, ...]]):
    operand, update = operands[:2]
    _write(axes, operand, update, {k: k for k in range(len(operand.axes))})
    return [value(operand.axes, *operands)]


ALL_RULES: dict[str, Rule] = {
    **RULES,
    "conv_general_dilated": _convolution,
    "dot_general": _dot,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "gather": _gather,
    **{f"scatter{kind}": _scatter for kind in ("", "_add", "-add", "_mul", "-mul")},
}
