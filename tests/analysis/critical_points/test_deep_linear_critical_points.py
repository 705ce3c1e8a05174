r"""Critical points of deep linear networks: index, spectrum, strict or not, and the order of those that are not.

$L = \frac12 \|Y - W_L \cdots W_1\|^2$ on white inputs, $Y = \mathrm{diag}(s)$. Achour, Malgouyres & Gerchinovitz
(2024); the spectra at balanced points follow from $\nabla^2 L$ written in pairs of singular directions.
"""

from itertools import combinations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from saddlescope.analysis import classify, critical_point, null_space, null_space_form, spectrum
from saddlescope.flows import Landscape, half_squared_error

S = np.array([3.0, 2.0, 1.0])


class Chain(eqx.Module):
    layers: tuple[Array, ...]

    def __call__(self, x):
        for layer in self.layers:
            x = layer @ x
        return x


def rectangle(rows, columns, diagonal):
    matrix = np.zeros((rows, columns))
    matrix[np.arange(len(diagonal)), np.arange(len(diagonal))] = diagonal
    return matrix


def data(s, inputs, outputs):
    x = np.sqrt(inputs) * np.eye(inputs)
    return jnp.asarray(x), jnp.asarray(x @ rectangle(outputs, inputs, s).T)


def balanced(s, chosen, widths):
    """The balanced critical point with the chosen modes, each in a hidden direction of its own number."""
    roots = np.zeros(len(s))
    depth = len(widths) - 1
    roots[list(chosen)] = s[list(chosen)] ** (1 / depth)
    return Chain(
        tuple(jnp.asarray(rectangle(b, a, roots[: min(a, b)])) for a, b in zip(widths, widths[1:], strict=False))
    )


def exact_spectrum(s, chosen, inputs, outputs, depth, size):
    others = [j for j in range(len(s)) if j not in chosen]
    values = [s[i] ** (1 - 2 / depth) * (s[i] + sign * s[j]) for i in chosen for j in others for sign in (1, -1)]
    layers = np.arange(1, depth + 1)
    values += [
        np.sum(s[a] ** (2 * (depth - layers) / depth) * s[b] ** (2 * (layers - 1) / depth))
        for a in chosen
        for b in chosen
    ]
    values += [s[i] ** (2 - 2 / depth) for i in chosen for _ in range(abs(outputs - inputs))]
    return np.sort(np.append(values, np.zeros(size - len(values))))


@pytest.mark.parametrize(("widths", "count"), [((3, 3, 3, 3), 3), ((2, 3, 2, 3), 2), ((2, 2, 2, 2, 2), 2)])
def test_index_and_spectrum_of_every_subset(widths, count):
    s, depth = S[:count], len(widths) - 1
    sample = data(s, widths[0], widths[-1])
    for r in range(count + 1):
        for chosen in combinations(range(count), r):
            model = balanced(s, chosen, widths)
            found = spectrum(Landscape(model, half_squared_error, sample))
            size = sum(layer.size for layer in model.layers)
            expected = exact_spectrum(s, chosen, widths[0], widths[-1], depth, size)
            np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-9)
            stronger = sum(s[j] > s[i] for i in chosen for j in range(count) if j not in chosen)
            assert found.index == stronger


def along_null_space(point, kind):
    """The form along what is unexplained of the null space, which knows nothing of the units found in the program."""
    return null_space_form(point.landscape, point.theta, kind.spectrum, basis=kind.null_space.directions)


@pytest.mark.parametrize("depth", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_kinds(depth):
    """Top modes: no negative curvature, yet a saddle of order L; other subsets: strict; all modes: the minimum."""
    widths, s = (2,) * (depth + 1), S[:2]
    sample = data(s, 2, 2)
    names = {(): "degenerate saddle", (0,): "degenerate saddle", (1,): "strict saddle", (0, 1): "minimum"}
    for chosen, name in names.items():
        point = critical_point(Landscape(balanced(s, chosen, widths), half_squared_error, sample))
        kind = classify(point)
        assert kind.name == name, kind.evidence
        if name != "degenerate saddle":
            continue
        assert kind.order == depth
        # One unit of the next mode, all layers alike: L falls by s Π a with a = 1/√L each.
        strongest = s[len(chosen)]
        assert kind.added_unit_form.steepest == pytest.approx(strongest * depth ** (-depth / 2), rel=1e-6)
        form = along_null_space(point, kind)
        assert (form.order, form.lowest) == (depth, pytest.approx(-kind.added_unit_form.steepest, rel=1e-6))
        layers = form.direction.reshape(depth, 2, 2)
        along = layers[0]
        for layer in layers[1:]:
            along = layer @ along
        target = np.zeros((2, 2))
        target[len(chosen), len(chosen)] = 1.0
        # The steepest direction up to the rotations of hidden layers, which do not change the product.
        assert np.sum(along * target) / np.linalg.norm(along) > 1 - 1e-6
        np.testing.assert_allclose(np.linalg.norm(layers, axis=(1, 2)), depth**-0.5, rtol=1e-5)


@pytest.mark.parametrize(("raised", "index"), [(None, 0), (0, 2), (1, 2), (2, 2)])
@pytest.mark.fast_for("0-2")
def test_strict_and_non_strict_saddles_of_one_map(raised, index):
    """Rank one of s = (3, 2, 1), L = 3: non-strict with minimal ranks, strict if one layer has rank two."""
    model = balanced(S, (0,), (3, 3, 3, 3))
    if raised is not None:
        layers = [layer.at[1, 1].set(0.7) if k == raised else layer for k, layer in enumerate(model.layers)]
        model = Chain(tuple(layers))
    sample = data(S, 3, 3)
    point = critical_point(Landscape(model, half_squared_error, sample))
    assert point.gradient_norm < 1e-14 and point.loss == pytest.approx(2.5)
    kind = classify(point)
    assert kind.spectrum.index == index
    assert kind.name == ("degenerate saddle" if index == 0 else "strict saddle")
    if index == 0:
        assert kind.order == 3
        assert kind.added_unit_form.steepest == pytest.approx(2 / 3**1.5, rel=1e-6)
        assert along_null_space(point, kind).lowest == pytest.approx(-2 / 3**1.5, rel=1e-6)


def test_symmetries_of_a_chain_are_found_without_knowing_it():
    """GL(h) of each hidden layer; the rest of a saddle's null space is not explained by them."""
    s, widths = S[:2], (2, 2, 2, 2)
    sample = data(s, 2, 2)
    minimum = balanced(s, (0, 1), widths)
    found = null_space(spectrum(Landscape(minimum, half_squared_error, sample)), minimum, sample)
    assert (found.nullity, found.symmetry, found.unexplained) == (8, 8, 0)
    saddle = balanced(s, (0,), widths)
    found = null_space(spectrum(Landscape(saddle, half_squared_error, sample)), saddle, sample)
    assert found.symmetry > 0 and found.unexplained > 0
    assert found.symmetry + found.unexplained == found.nullity == 12 - 3
