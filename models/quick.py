"""Programs that run for a moment, compiled without the optimisation that is most of what compilation costs."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer

# For XLA's CPU compiler. Its newer way to write loops costs twice as much as the older, LLVM's optimisation as much
# again; what they gain shows in loops over some 10⁴ numbers and more.
_OPTIONS: Any = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def quickly_compiled(function: Callable, by: Callable = jax.jit, **options: Any) -> Callable:
    """A compiled function for little work: a third of the time to compile, several times that to run on long arrays.

    Within other compiled functions, on other devices than a CPU and where the compiler does not know how, it is
    compiled as any other.

    **Arguments:** `function`; `by`: `jax.jit`, or what wraps it and takes its options; `options`: its options.
    """
    plain, quick = by(function, **options), by(function, compiler_options=_OPTIONS, **options)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        return plain(*arguments) if traced or not _understood() else quick(*arguments)

    return call


@functools.cache
def _understood() -> bool:
    """Whether programs are for a CPU and the compiler knows the options, which may change with its version."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=_OPTIONS).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
