"""The members of an ensemble, from a list of models or a function that makes them, checked against each other."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Shaped

from ...models import partly_trainable
from ..landscapes.landscape import Landscape, Origin
from ..landscapes.parameters import flatten
from ..losses.statistics import SufficientStatistics, is_reduced, reduced_data
from ..simulation.checks import check_data, check_loss, check_model

Parameters = dict[str, Shaped[np.ndarray, "..."]]


def made(
    models: Sequence[Any] | Callable[..., Any], keys: Iterable[Any] | None, grid: Mapping[str, Sequence[Any]] | None
) -> tuple[list[Any], Parameters]:
    """The models of an ensemble, and the parameters that they were made with.

    Args:
        models: the models, or a function that makes one from its keyword arguments.
        keys: values of the argument `key`, such as random keys.
        grid: values of each other argument by name; every combination is made with every key, keys varying fastest.

    Returns:
        The models, and the value of each argument for every model (of keys their numbers).

    Raises:
        ValueError: when there are no models, or keys or a grid without a function or a function without them.
    """
    if not callable(models):
        if keys is not None or grid is not None:
            raise ValueError("keys and grid are arguments of a function that makes a model; got a sequence of models.")
        models = list(models)
        if not models:
            raise ValueError("an ensemble needs at least one model; got none.")
        return models, {}
    if keys is None and not grid:
        raise ValueError("a function that makes a model needs keys or a grid of its arguments; got neither.")
    axes = {name: list(values) for name, values in (grid or {}).items()}
    keys = None if keys is None else list(keys)
    numbered = axes if keys is None else {**axes, "key": list(range(len(keys)))}
    rows = [dict(zip(numbered, row, strict=True)) for row in itertools.product(*numbered.values())]
    if not rows:
        raise ValueError(f"an ensemble needs at least one model; the grid is empty: {numbered}.")
    call = lambda row: models(**row) if keys is None else models(**{**row, "key": keys[row["key"]]})  # noqa: E731
    return [call(row) for row in rows], {name: np.array([row[name] for row in rows]) for name in numbered}


def landscapes_of(
    models: Sequence[Any],
    loss: Callable[[Any, Any], Any],
    data: Any,
    separate_data: bool,
    reduce_data: bool,
    trainable: Any,
) -> list[Landscape]:
    """The landscape of every member, with its initial weights; all of one program.

    Args:
        models: the initial models.
        loss: scalar function of (model, data).
        data: the data of all members, or a sequence of those of each.
        separate_data: whether it is a sequence.
        reduce_data: whether to replace samples by exact sufficient statistics where possible.
        trainable: which of the models' leaves are weights.

    Returns:
        The landscapes.

    Raises:
        ValueError: when weights, data or loss are invalid, or members differ in more than the numbers in them.
    """
    every = [_with_arrays(own, flatten(models[0]).dtype) for own in data] if separate_data else [data] * len(models)
    if len(every) != len(models):
        raise ValueError(
            f"with separate_data there must be one dataset for each model; got {len(every)} for {len(models)}."
        )
    found: list[Landscape] = []
    for number, (model, own) in enumerate(zip(models, every, strict=True)):
        try:
            same_data = bool(found) and (own is every[0] or _reduces_alike(found[0]))
            if same_data and trainable is None and _same_shapes(model, own, models[0], every[0]):
                check_model(model)
                landscape = _with_parts(found[0], model, _data_of(model, own, loss, found[0], every[0]))
            else:
                landscape = _landscape(model, loss, own, reduce_data, trainable)
                _check_alike(found[0] if found else landscape, landscape)
        except ValueError as error:
            raise ValueError(f"member number {number}: {error}") from error
        found.append(landscape)
    return found


def _landscape(model: Any, loss: Any, data: Any, reduce_data: bool, trainable: Any) -> Landscape:
    """A member's landscape, checked as `simulate` checks it."""
    model, loss = (model, loss) if trainable is None else partly_trainable(model, loss, trainable)
    check_model(model)
    check_data(data)
    check_loss(loss, model, data)
    loss, data = reduced_data(model, loss, data) if reduce_data else (loss, data)
    return Landscape(model, loss, data)


def _reduces_alike(first: Landscape) -> bool:
    """Whether other data of the same shapes are reduced to other numbers in the same loss, if they are reduced."""
    return isinstance(first.data, SufficientStatistics) or not is_reduced(first)


def _data_of(model: Any, data: Any, loss: Any, first: Landscape, first_data: Any) -> Any:
    """The data of a member's landscape, checked and reduced as those of the first one were."""
    if data is first_data:
        return first.data
    check_data(data)
    return reduced_data(model, loss, data)[1] if isinstance(first.data, SufficientStatistics) else data


def _with_parts(landscape: Landscape, model: Any, data: Any) -> Landscape:
    """The same landscape with other weights and data."""
    copy = object.__new__(Landscape)
    parts = {"data": data, "program": landscape.program, "origin": Origin(model, landscape.loss)}
    for name, value in parts.items():
        object.__setattr__(copy, name, value)
    return copy


def _same_shapes(model: Any, data: Any, other: Any, other_data: Any) -> bool:
    """Whether two models and their data differ in the values of weights and of data alone."""
    (weights, rest), (other_weights, other_rest) = (
        eqx.partition(part, eqx.is_inexact_array) for part in (model, other)
    )
    trees = [(weights, data), (other_weights, other_data)]
    if jax.tree.structure(trees[0]) != jax.tree.structure(trees[1]):
        return False
    arrays, others = ([eqx.filter(tree, eqx.is_array, inverse=inverse) for tree in trees] for inverse in (False, True))
    shapes = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)] for tree in arrays]
    # Whatever is no array is a part of the program.
    return shapes[0] == shapes[1] and bool(eqx.tree_equal((rest, others[0]), (other_rest, others[1])))


def _with_arrays(data: Any, dtype: Any) -> Any:
    """The data with arrays in place of Python's floats, which would be a part of the program."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype) if isinstance(leaf, float) else leaf, data)


def _check_alike(first: Landscape, landscape: Landscape) -> None:
    if landscape.program is first.program:
        return
    sizes = [flatten(each.model).size for each in (first, landscape)]
    if sizes[0] != sizes[1]:
        raise ValueError(
            f"it has {sizes[1]} parameters, the first {sizes[0]}. Make an ensemble for each shape, or fill the "
            "narrower networks up with zero units."
        )
    shapes = [[np.shape(leaf) for leaf in jax.tree.leaves(each.data)] for each in (first, landscape)]
    if shapes[0] != shapes[1] or landscape.program.program != first.program.program:
        raise ValueError("its loss is another function than that of the first member, or its data have other shapes.")
