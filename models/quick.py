"""Compilation of short-running programs without the optimisation passes that dominate compilation time."""

import enum
import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.core import Tracer

Function = TypeVar("Function", bound=Callable[..., Any])


class Effort(enum.IntEnum):
    """How thoroughly the compiler is to optimise a program."""

    LITTLE = 0
    SOME = 1
    FULL = 2


# For XLA's CPU compiler: its newer loop emitters double the compilation time, and LLVM's optimisation doubles it again;
# both pay off in loops over some 10⁴ numbers and more. Newer compilers (JAX 0.11.2) have no others. With LLVM's first
# level and the older emitters programs compile in half the time, and run hardly slower.
_LEVELS: Any = {effort: {"xla_backend_optimization_level": int(effort)} for effort in (Effort.LITTLE, Effort.SOME)}
_OPTIONS: Any = {
    effort: ({"xla_cpu_use_fusion_emitters": False, **level}, level, {}) for effort, level in _LEVELS.items()
}


def quickly_compiled(
    function: Function, by: Callable[..., Any] = jax.jit, effort: Effort = Effort.LITTLE, **options: Any
) -> Function:
    """Compiles a function for small arrays: a third of the compilation time, a longer run time on long arrays.

    Within other compiled functions, on devices other than a CPU, and where the compiler does not know the options, the
    function is compiled as any other.

    Args:
        function: the function to compile.
        by: `jax.jit` (the default), or a wrapper of it that takes its options.
        effort: how thoroughly it is to be optimised.
        **options: further options of `by`.

    Returns:
        The compiled function.
    """
    plain = by(function, **options)
    if effort is Effort.FULL:
        return plain
    # What the compiler knows is asked when something is called, not at import.
    quick = functools.cache(lambda: by(function, compiler_options=_known_options(effort), **options))

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        return plain(*arguments) if traced or not _known_options(effort) else quick()(*arguments)

    return cast(Function, call)


def by_effort(function: Function, by: Callable[..., Any] = jax.jit, **options: Any) -> dict[Effort, Function]:
    """The function compiled with each effort, as far as it is called.

    Args:
        function: the function to compile.
        by: as of `quickly_compiled`.
        **options: further options of `by`.

    Returns:
        The compiled functions.
    """
    return {effort: quickly_compiled(function, by, effort, **options) for effort in Effort}


@functools.cache
def _known_options(effort: Effort) -> Any:
    """The first of the options that the compiler knows, which change with its version; none where it is of no CPU."""
    return next(filter(_is_known, _OPTIONS[effort])) if jax.default_backend() == "cpu" else {}


def _is_known(options: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
