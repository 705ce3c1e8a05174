"""What counts as equal, dormant or lost when embeddings are recognised and networks reduced, from both sides."""

import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import effective_width, embed, identify, reduce
from saddlescope.analysis.embeddings.embedding import Embedding
from saddlescope.analysis.embeddings.narrow_landscape import narrow_landscape
from saddlescope.flows import Landscape, flatten, half_squared_error
from saddlescope.models import incoming, outgoing
from saddlescope.models.units import with_units

from architectures import problem


def twice(name, change):
    """A network whose last unit repeats the first with half of its output, its incoming parameters changed."""
    wide = embed(problem(name).model, "i", gamma_v=0.5).wide()
    u = np.array(incoming(wide))
    u[-1] = change(u[-1])
    return with_units(wide, u, outgoing(wide)), np.max(np.abs(u))


@pytest.mark.parametrize(("share", "width"), [(1e-8, 4), (1e-5, 5)])
def test_copies_agree_to_a_millionth_of_the_largest_parameter(share, width):
    """A critical point is known to 1e-10: what differs by 1e-5 is another unit."""
    largest = twice("tanh", lambda u: u)[1]
    found = identify(twice("tanh", lambda u: u + share * largest)[0])
    assert found.embedding.p_in.shape == (5, width)
    assert found.types == ("",) * 4 + ("i" if width == 4 else "",)
    # The caller may know the point less well.
    assert identify(twice("tanh", lambda u: u + 1e-5 * largest)[0], tolerance=1e-4).types[-1] == "i"


@pytest.mark.parametrize(("share", "recognised"), [(1e-7, True), (1e-4, False)])
def test_outputs_of_copies_are_proportional_to_a_hundred_thousandth(share, recognised):
    """Ten times what incoming parameters may differ by: sums of them are compared."""
    wide, _ = twice("tanh", lambda u: u)
    v = np.array(outgoing(wide))
    v[-1] += share * np.max(np.abs(v)) * np.array([-v[-1, 1], v[-1, 0]]) / np.linalg.norm(v[-1])
    found = identify(with_units(wide, incoming(wide), v))
    assert (found is not None) == recognised
    if recognised:
        assert found.types[-1] == "i" and 1e-9 < found.residual < 1e-6


@pytest.mark.parametrize(("factor", "type"), [(1 + 1e-8, "i"), (1 + 1e-5, "iii"), (1.5, "iii")])
def test_a_factor_of_one_to_a_millionth_is_a_copy(factor, type):
    model, _ = twice("relu", lambda u: factor * u)
    found = identify(model)
    assert found.types[-1] == type
    assert found.gamma_u[-1, 0] == (1.0 if type == "i" else pytest.approx(factor, rel=1e-12))


@pytest.mark.parametrize(("overlap", "width"), [(1e-8, 2), (1e-4, 1), (0.5, 1)])
def test_linear_units_with_an_overlap_share_a_narrow_unit(overlap, width):
    """U and V of rank one, as columns of units at an angle: their overlap is what the network does."""
    model, _ = problem("linear")
    u, v = np.zeros((5, 3)), np.zeros((5, 2))
    u[0, 0], v[0, 0], v[1, 0] = 1.0, overlap, np.sqrt(1 - overlap**2)
    found = identify(with_units(model, u, v))
    assert found.embedding.p_in.shape == (5, width)
    np.testing.assert_allclose(flatten(found.embedding.wide()), flatten(with_units(model, u, v)), atol=1e-12)


def test_units_of_no_effect_that_are_not_zero_are_not_dormant():
    """A copy without output: its incoming parameters are there, and no zero unit fits in its place."""
    model, data = problem("tanh")
    idle = embed(model, "i", gamma_v=0.0)
    assert not np.any(idle.dormant) and not np.any(idle.p_out[-1])
    assert identify(idle.wide()).types == ("", "", "", "", "i")
    landscape = Landscape(idle.wide(), half_squared_error, data)
    assert narrow_landscape(landscape, idle, spare=(0,)).landscape is not landscape
    # Beside a unit that is zero, the landscape itself has room.
    spare = idle.then(embed(idle.wide(), "ii"))
    assert spare.dormant.tolist() == [False] * 5 + [True]
    wider = Landscape(spare.wide(), half_squared_error, data)
    found = narrow_landscape(wider, spare, spare=(0,))
    assert found.landscape is wider
    np.testing.assert_allclose(found.matrix @ found.theta, wider.theta, atol=1e-14)


def test_linear_units_without_incoming_parameters_are_not_dormant():
    """Type iv with γ_u = 0: outgoing parameters alone, in a unit that is not free for another."""
    model, data = problem("linear")
    embedding = embed(model, "iv", gamma_u=np.zeros(5), gamma_v=np.ones(5))
    assert not np.any(embedding.p_in[-1]) and not np.any(embedding.dormant)
    wide = Landscape(embedding.wide(), half_squared_error, data)
    assert narrow_landscape(wide, embedding).landscape is wide
    assert narrow_landscape(wide, embedding, spare=(0,)).landscape is not wide


@pytest.mark.parametrize("name", ["linear", "relu", "quadratic", "tanh"])
@pytest.mark.parametrize("side", ["incoming", "outgoing"])
def test_units_with_parameters_on_one_side_count(name, side):
    """Θ holds both sides: a unit that has one of them is not zero, and reduction leaves it where it is."""
    model, _ = problem(name)
    count = len(incoming(model)) - 2
    u, v = (np.array(rows(model))[:count] for rows in (incoming, outgoing))
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (u, v))
    (v if side == "incoming" else u)[0] = 0.0
    wide = with_units(model, jnp.vstack([u, 0 * u[:1]]), jnp.vstack([v, 0 * v[:1]]))
    effective = effective_width(wide)
    assert effective.width == (np.linalg.matrix_rank(np.hstack([u, v])) if name == "linear" else count)
    if effective.groups is not None:
        assert effective.groups[0] >= 0 and effective.groups[-1] == -1
    embedding = reduce(wide, effective)
    assert embedding.dormant.tolist() == [False] * count + [True]
    np.testing.assert_allclose(flatten(embedding.wide()), flatten(wide), atol=1e-12)


def test_embeddings_speak():
    model, _ = problem("tanh")
    embedding = embed(model, "i", gamma_v=[0.3, 0.5])
    embedding = embedding.then(embed(embedding.wide(), "ii", count=3))
    assert str(embedding) == "embedding of width 4 in width 9 (layer 0): 5 further units, 3 of them zero"
    layers = Embedding(narrow=model, maps=(*embedding.maps, (np.eye(2), np.eye(2), 1)))
    assert str(layers) == "embedding of widths 4 in 9, 2 in 2, layer by layer: 3 zero units"
    assert layers.dormant.tolist() == embedding.dormant.tolist() + [False, False]
    with pytest.raises(ValueError, match="maps of 2 layers"):
        _ = layers.p_in


def test_embeddings_of_different_layers_have_no_composition():
    model, _ = problem("deep-linear")
    first, second = embed(model, "ii"), embed(model, "ii", layer=1)
    with pytest.raises(ValueError, match="different layers, 0 and 1"):
        first.then(second)
    assert isinstance(first, Embedding)
