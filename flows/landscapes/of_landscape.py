"""Functions of a landscape, compiled once for all that compute the same."""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from ...models.quick import Effort, Function, by_effort


def is_traced(tree: Any) -> bool:
    """Whether values are unknown, as under a transformation of JAX's."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def is_inlined(landscape: Any, *arguments: Any) -> bool:
    """Whether a method is called while something is traced, where it becomes a part of the trace."""
    return landscape.traced or any(isinstance(argument, Tracer) for argument in arguments)


def of_landscape(
    function: Function, effort: Callable[..., Effort] = lambda landscape, *_: landscape.effort
) -> Function:
    """A function of a landscape, compiled where its arguments are known, returning NumPy arrays; else inlined.

    Args:
        function: of a landscape and arrays, to be traced.
        effort: from the same arguments to how thoroughly it is to be optimised; by default as all of the landscape's.

    Returns:
        The function.
    """

    # Not a method: Equinox builds a module at each access to a method, which takes longer than a small gradient.
    def applied(structure: Any, leaves: list[Array], *arguments: Any) -> Any:
        return function(jax.tree.unflatten(structure, leaves), *arguments)

    # The name by which profilers know the program.
    applied.__name__ = function.__name__.removeprefix("_")
    programs = by_effort(applied, static_argnums=0)

    @functools.wraps(function)
    def call(landscape: Any, *arguments: Any) -> Any:
        if is_inlined(landscape, *arguments):
            return function(landscape, *arguments)
        leaves, structure = landscape.parts
        return jax.tree.map(np.asarray, programs[effort(landscape, *arguments)](structure, leaves, *arguments))

    return cast(Function, call)
