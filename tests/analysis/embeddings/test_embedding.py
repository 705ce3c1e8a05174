"""Theorem 1 for every architecture and type: the narrow map and gradient, and the inertia from blocks."""

from itertools import product

import equinox as eqx
import jax
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from saddlescope.analysis import copies_manifolds, embed, embedded_spectrum, spectrum, zero_loss_manifolds
from saddlescope.analysis.embeddings.embedding import Embedding
from saddlescope.flows import Landscape, half_squared_error
from saddlescope.models import incoming, outgoing
from saddlescope.models.units import layer_of, map_units, width

from architectures import NEW, problem
from embedding_cases import CASES, FAST, embedding_of, quartic, slow_unless


@eqx.filter_jit
def map_and_gradient(model, data):
    return jax.vmap(model)(data[0]), eqx.filter_grad(quartic)(model, data)


@pytest.mark.parametrize(
    ("name", "layer", "type"), [pytest.param(*case, marks=slow_unless(case in FAST)) for case in CASES]
)
@settings(max_examples=5)
@given(draw=st.data())
def test_embedded_points_have_the_same_map_and_the_narrow_gradient(name, layer, type, draw):
    r"""$\nabla_U L = P_v \nabla_{U'} L$ and $\nabla_V L = P_u \nabla_{V'} L$, at any point: both vanish together."""
    embedding, data = embedding_of(name, layer, type, draw.draw)
    wide, p, q = embedding.wide(), embedding.p_in, embedding.p_out
    np.testing.assert_allclose(q.T @ p, np.eye(2), atol=1e-13)
    (narrow_map, narrow), (wide_map, found) = map_and_gradient(embedding.narrow, data), map_and_gradient(wide, data)
    np.testing.assert_allclose(wide_map, narrow_map, atol=1e-11, rtol=1e-11)
    expected = map_units(narrow, q, p, layer)
    for part in (incoming, outgoing):
        rows = part(expected, layer)
        np.testing.assert_allclose(part(found, layer), rows, atol=1e-12 * max(1, np.max(np.abs(rows)) * 100))


# Fast is one of each law and arrangement of arrays: sine has tanh's law, the others that of one of the rest, in arrays
# that are convolved, or of heads, as another's.
ALIKE = {"sine", "relu-conv", "attention-rank-2"}


def smooth_sums():
    """Cases in which a layer's output is a sum of units, twice differentiable where they are."""
    for name, layer, type in CASES:
        units = layer_of(problem(name).model, layer)
        if units.name != "stream" and (units.law.smooth or type != "ii"):
            fast = (name, layer, type) in FAST and name not in ALIKE and name not in NEW
            yield pytest.param(name, layer, type, marks=slow_unless(fast))


@pytest.mark.parametrize(("name", "layer", "type"), list(smooth_sums()))
@settings(max_examples=5)
@given(draw=st.data())
def test_inertia_from_blocks_is_that_of_the_dense_hessian(name, layer, type, draw):
    embedding, data = embedding_of(name, layer, type, draw.draw)
    landscape = Landscape(embedding.wide(), quartic, data)
    # Congruence keeps signs, not sizes: zeros of rounding and all others must both keep away from the threshold.
    sizes = np.abs(spectrum(landscape).eigenvalues)
    largest = sizes.max()
    assume(np.all((sizes > 1e-9 * largest) | (sizes < 1e-12 * largest)))
    dense = spectrum(landscape, zero_threshold=1e-11 * largest)
    blocks = embedded_spectrum(landscape, embedding, zero_threshold=1e-11 * largest)
    assert (blocks.index, blocks.nullity) == (dense.index, dense.nullity)
    assert blocks.index + blocks.nullity + blocks.positive == len(dense.eigenvalues)
    counts = f"index {blocks.index}, nullity {blocks.nullity}, {blocks.positive} positive"
    assert str(blocks).startswith(f"{counts} (1 × narrow network")
    if blocks.exact:
        values = np.concatenate([np.tile(block.eigenvalues, block.count) for block in blocks.blocks])
        np.testing.assert_allclose(np.sort(values), dense.eigenvalues, atol=1e-10 * largest)


@pytest.mark.parametrize(("tilt", "exact"), [(0.0, True), (1e-10, False)])
def test_blocks_are_exact_where_both_maps_are_the_same_isometry(tilt, exact):
    model, data = problem("linear")
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((width(model) + 1, width(model) + 1)))
    # Beside the range of the first map the second one's inverse relation to it stays.
    p = basis[:, :-1]
    q = p + tilt * basis[:, -1:]
    embedding = Embedding(narrow=model, maps=((p, q, 0),))
    landscape = Landscape(embedding.wide(), half_squared_error, data)
    assert embedded_spectrum(landscape, embedding).exact == exact


def test_embeddings_follow_one_another():
    model, data = problem("tanh")
    first = embed(model, "i", unit=1, gamma_v=0.3)
    both = first.then(embed(first.wide(), "ii", count=3))
    assert width(both.wide()) == width(model) + 4
    assert both.dormant.tolist() == [False] * (width(model) + 1) + [True] * 3
    np.testing.assert_allclose(map_and_gradient(both.wide(), data)[0], map_and_gradient(model, data)[0], atol=1e-13)
    landscape = Landscape(both.wide(), half_squared_error, data)
    dense, blocks = spectrum(landscape), embedded_spectrum(landscape, both)
    assert (blocks.index, blocks.nullity) == (dense.index, dense.nullity)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tanh", {"type": "iii", "gamma_u": 1.0, "gamma_v": 1.0}, "type iii needs a unit law with degree 1"),
        ("relu", {"type": "iv", "gamma_u": 1.0, "gamma_v": 1.0}, "type iv needs a unit law with linear"),
        ("relu", {"type": "iii", "gamma_u": -1.0, "gamma_v": 1.0}, "factors ≥ 0 only"),
        ("tanh", {"type": "i"}, "gamma_v must be 1 finite number"),
        ("tanh", {"type": "i", "gamma_v": 0.5, "unit": 9}, "unit must be between 0 and 3; got 9"),
        ("linear", {"type": "iv", "gamma_u": [1.0] * 5, "gamma_v": [1.0] * 10}, "must agree in shape"),
        ("linear", {"type": "v"}, "type must be i, ii, iii or iv"),
        ("linear", {"type": "ii", "count": 0}, "count must be at least 1"),
    ],
)
def test_bad_embeddings_raise(name, options, words):
    with pytest.raises(ValueError, match=words):
        embed(problem(name).model, **options)


def test_zero_relu_units_have_no_hessian():
    model, data = problem("relu")
    embedding = embed(model, "ii", count=2)
    with pytest.raises(ValueError, match="2 zero units"):
        embedded_spectrum(Landscape(embedding.wide(), half_squared_error, data), embedding)


@pytest.mark.parametrize("narrow", [1, 2, 3])
def test_copies_manifolds_by_enumeration(narrow):
    for wide in range(narrow, 7):
        maps = product(range(narrow), repeat=wide)
        assert copies_manifolds(narrow, wide) == sum(len(set(units)) == narrow for units in maps)


def test_zero_loss_manifolds_by_enumeration():
    """Labelled units: each is a copy of one of r, or in one of some unlabelled groups."""

    def enumerate_groupings(narrow, wide):
        found = set()
        for labels in product(range(narrow + wide), repeat=wide):
            groups = {label: tuple(i for i in range(wide) if labels[i] == label) for label in set(labels)}
            if not set(range(narrow)) <= set(labels):
                continue
            used = tuple(groups[k] for k in range(narrow))
            found.add((used, frozenset(group for label, group in groups.items() if label >= narrow)))
        return len(found)

    for narrow, wide in ((1, 1), (1, 2), (1, 3), (1, 4), (2, 3), (2, 4)):
        assert zero_loss_manifolds(narrow, wide) == enumerate_groupings(narrow, wide)


def test_counts_of_widths_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="1 ≤ narrow ≤ wide"):
        copies_manifolds(3, 2)
