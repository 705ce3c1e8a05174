"""The compiler's flags for programs that run for a moment."""

import importlib.metadata
import os


def set_flags() -> None:
    """XLA's optimisation would take longer than all the rest; before the first program, also for processes started."""
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    # A flag that the compiler does not know ends the process without a word.
    emitters = ["--xla_cpu_use_fusion_emitters=false"] if version < (0, 11) else []
    flags = ["--xla_backend_optimization_level=0", *emitters, os.environ.get("XLA_FLAGS", "")]
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()
