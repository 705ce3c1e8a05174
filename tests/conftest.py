"""Double precision and a hypothesis profile for all tests."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import jax

jax.config.update("jax_enable_x64", True)
# Compilation makes the first example slow; few examples, since each integrates a flow.
hypothesis.settings.register_profile("saddlescope", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.load_profile("saddlescope")
