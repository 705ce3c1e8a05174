"""Embedded points are recognised, with their γ's, and their families sampled: identify undoes embed."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saddlescope.analysis import embed, identify, sample_family
from saddlescope.flows import flatten
from saddlescope.models import incoming, outgoing
from saddlescope.models.units import layer_of, with_units

from architectures import outputs, problem
from embedding_cases import CASES, FAST, embedding_of, slow_unless

PARAMETERS = [pytest.param(*case, marks=slow_unless(case in FAST)) for case in CASES]


@pytest.mark.parametrize(("name", "layer", "type"), PARAMETERS)
@settings(max_examples=5)
@given(draw=st.data())
def test_embeddings_are_recognised(name, layer, type, draw):
    embedding, data = embedding_of(name, layer, type, draw.draw)
    wide, narrow = embedding.wide(), embedding.narrow
    found = identify(wide, layer=layer)
    assert found is not None and found.residual < 1e-12
    assert found.embedding.p_in.shape[1] == 2
    np.testing.assert_allclose(flatten(found.embedding.wide()), flatten(wide), atol=1e-11)
    np.testing.assert_allclose(found.embedding.p_out.T @ found.embedding.p_in, np.eye(2), atol=1e-9)
    # The narrow map, found from the wide network alone.
    np.testing.assert_allclose(outputs(found.embedding.narrow, data[0]), outputs(narrow, data[0]), atol=1e-9, rtol=1e-9)
    if layer_of(wide, layer).law.linear:
        assert sorted(found.types) == ["", "", *[("ii" if type == "ii" else "iv")] * (len(found.types) - 2)]
    else:
        expected = ["", "", *[type] * (len(found.types) - 2)]
        assert list(found.types) == expected
        np.testing.assert_allclose(found.gamma_u, embedding.p_in, atol=1e-12)
        np.testing.assert_allclose(found.gamma_v, embedding.p_out, atol=1e-9)


@pytest.mark.parametrize(("name", "layer", "type"), PARAMETERS)
@settings(max_examples=5)
@given(draw=st.data())
def test_families_hold_embeddings_of_the_same_network(name, layer, type, draw):
    embedding, data = embedding_of(name, layer, type, draw.draw)
    other = sample_family(embedding, key=jax.random.key(draw.draw(st.integers(0, 1000))))
    np.testing.assert_allclose(other.p_out.T @ other.p_in, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(outputs(other.wide(), data[0]), outputs(other.narrow, data[0]), atol=1e-9, rtol=1e-9)
    if type != "ii" or layer_of(embedding.narrow, layer).law.linear:
        assert not np.allclose(other.p_out, embedding.p_out)


def test_networks_that_are_no_embeddings():
    model, _ = problem("tanh")
    u, v = incoming(model), outgoing(model)
    twice = u[[0, 0, 1, 2]]
    # Equal inputs, outputs in different directions: no narrower network has this as an embedded point of the theorem.
    assert identify(with_units(model, twice, v)) is None
    # Equal inputs whose outputs cancel.
    assert identify(with_units(model, twice, np.concatenate([v[:1], -v[:1], v[2:]]))) is None
    # A unit without effect but with outgoing weights.
    assert identify(with_units(model, np.concatenate([u[:3], np.zeros_like(u[:1])]), v)) is None
    generic = identify(model)
    assert generic.types == ("", "", "", "")
    assert str(generic) == "width 4 embedded in 4: no further units"


def test_linear_units_that_only_one_side_sees_need_a_narrow_unit_each():
    """U of rank 3, V of rank 1: three units are needed; two units without common effect are no narrower."""
    model, data = problem("linear")
    found = identify(with_units(model, incoming(model), outgoing(model) * np.array([1.0, 0.0])))
    assert found.embedding.p_in.shape == (5, 3) and found.residual < 1e-14
    first, last = np.eye(5, 3), np.eye(5, 2, 1)[::-1].copy()
    first[1:], last[2:] = 0.0, 0.0
    apart = with_units(model, first, last)
    assert not np.any(outgoing(apart).T @ incoming(apart))
    found = identify(apart)
    assert found.embedding.p_in.shape[1] == 1 + np.linalg.matrix_rank(outgoing(apart)) and found.residual < 1e-14


def test_mixed_types_are_distinguished():
    model, _ = problem("relu")
    both = embed(model, "iii", unit=1, gamma_u=2.0, gamma_v=0.25)
    both = both.then(embed(both.wide(), "i", unit=0, gamma_v=0.5))
    both = both.then(embed(both.wide(), "ii", count=2))
    found = identify(both.wide())
    assert found.types == ("",) * 5 + ("iii", "i", "ii", "ii")
    assert str(found) == "width 5 embedded in 9: 2 of type ii, 1 of type i, 1 of type iii"
