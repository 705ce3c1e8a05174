"""Embeddings of every type of every layer of every architecture, with drawn γ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from saddlescope.analysis import embed
from saddlescope.models.units import layer_of, map_units, width

from architectures import MODELS, SLOW, layers, problem


def quartic(model, data):
    """A loss that is not a squared error: the theorem holds for any function of the outputs."""
    x, y = data
    error = jax.vmap(model)(x) - y
    return jnp.mean(jnp.sum(error**2, axis=-1) + 0.1 * jnp.sum(error, axis=-1) ** 4)


def types(name, layer):
    """The types of embedding that the law of a layer allows."""
    law = layer_of(problem(name).model, layer).law
    return ["i"] + ["ii"] * law.zero + ["iii"] * (law.degree == 1) + ["iv"] * law.linear


CASES = [(name, layer, type) for name in MODELS for layer in layers(name) for type in types(name, layer)]
# Compilation is what these tests cost: fast are all types of a linear layer, and of others the most general one.
FAST = [case for case in CASES if case[0] not in SLOW and (case[0] == "linear" or case[2] == types(*case[:2])[-1])]
slow_unless = lambda fast: () if fast else pytest.mark.slow  # noqa: E731
gammas = st.floats(-2, 2).filter(lambda gamma: abs(gamma) > 0.1 and abs(abs(gamma) - 1) > 0.1)


def embedding_of(name, layer, type, draw):
    """An embedding of two units of a layer of the model in four, with drawn γ."""
    model, data = problem(name, seed=draw(st.integers(0, 100)))
    two = np.eye(2, width(model, layer))
    narrow = map_units(model, two, two, layer)
    # Of one size, so that all types and draws of an architecture share what is compiled.
    count = 2
    several = lambda size, values: draw(st.lists(values, min_size=size, max_size=size))  # noqa: E731
    if type == "ii":
        return embed(narrow, "ii", count=count, layer=layer), data
    size = 2 * count if type == "iv" else count
    gamma_v = several(size, gammas)
    if type == "i":
        return embed(narrow, "i", unit=draw(st.integers(0, 1)), gamma_v=gamma_v, layer=layer), data
    positive = layer_of(model, layer).law.field == "nonnegative"
    gamma_u = several(size, gammas.map(abs) if positive else gammas)
    options = {"unit": draw(st.integers(0, 1))} if type == "iii" else {}
    return embed(narrow, type, gamma_u=gamma_u, gamma_v=gamma_v, layer=layer, **options), data
