"""Compilation of short-running programs without the optimisation passes that dominate compilation time."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax
from jax.core import Tracer

Function = TypeVar("Function", bound=Callable[..., Any])
# For XLA's CPU compiler: its newer loop emitters double the compilation time, and LLVM's optimisation doubles it again;
# both pay off in loops over some 10⁴ numbers and more. Newer compilers (JAX 0.11.2) have no others.
_UNOPTIMISED: Any = {"xla_backend_optimization_level": 0}
_OPTIONS: Any = ({"xla_cpu_use_fusion_emitters": False, **_UNOPTIMISED}, _UNOPTIMISED, {})


def quickly_compiled(function: Function, by: Callable[..., Any] = jax.jit, **options: Any) -> Function:
    """Compiles a function for small arrays: a third of the compilation time, a longer run time on long arrays.

    Within other compiled functions, on devices other than a CPU, and where the compiler does not know the options, the
    function is compiled as any other.

    Args:
        function: the function to compile.
        by: `jax.jit` (the default), or a wrapper of it that takes its options.
        **options: further options of `by`.

    Returns:
        The compiled function.
    """
    plain = by(function, **options)
    # What the compiler knows is asked when something is called, not at import.
    quick = functools.cache(lambda: by(function, compiler_options=_known_options(), **options))

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        return plain(*arguments) if traced or not _known_options() else quick()(*arguments)

    return cast(Function, call)


@functools.cache
def _known_options() -> Any:
    """The first of the options that the compiler knows, which change with its version; none where it is of no CPU."""
    return next(filter(_is_known, _OPTIONS)) if jax.default_backend() == "cpu" else {}


def _is_known(options: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
