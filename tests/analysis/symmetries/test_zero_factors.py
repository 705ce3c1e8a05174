"""Orbits that declarations state, and null directions beside factors that are zero, counted by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saddlescope.analysis import null_space, spectrum
from saddlescope.analysis.symmetries.mixing import mixings
from saddlescope.flows import Landscape, flatten, half_squared_error, unflatten
from saddlescope.models import with_units_found

from own_models import cases

# By hand, for each layer: GL(n) of n linear units; a rescaling for each homogeneous one; for heads of size 2, GL(2) of
# queries and keys and GL(2) of values and outputs.
ORBITS = {
    "mlp relu": [4, 4],
    "mlp gelu": [0, 0],
    "residual": [16, 0],
    "attention": [2 * (4 + 4), 0],
    "gru": [0],
    "mixture": [3],
    "deep sets": [4, 9, 5],
}


@pytest.mark.parametrize("name", ORBITS)
@pytest.mark.fast_for("deep sets", "mlp gelu", "residual")
def test_stated_orbits_change_no_output(name):
    model, x = cases()[name]
    module = with_units_found(model, example=x)
    # Generic weights: of the models' own, which are drawn from uniform distributions, biases of norms are zero.
    theta = np.random.default_rng(0).standard_normal(flatten(module).size)
    module = unflatten(module, theta)
    jacobian = np.asarray(jax.jit(jax.jacrev(lambda point: unflatten(module, point)(x)))(theta))
    found = mixings(module, (np.asarray(x)[None], np.zeros((1, 1))))
    directions = np.concatenate([np.zeros((0, theta.size)), *(each.tangents(theta) for each in found)])
    assert np.linalg.matrix_rank(directions) == sum(ORBITS[name])
    np.testing.assert_allclose(jacobian @ directions.T, 0, atol=1e-10 * max(1.0, np.max(np.abs(jacobian))))


def explained(model, x, y):
    model = with_units_found(model, (x, y))
    landscape = Landscape(model, half_squared_error, (x, y))
    return null_space(spectrum(landscape), landscape.model, (x, y))


def counts(found):
    return found.nullity, found.symmetry, found.free, found.unexplained


@pytest.mark.parametrize("correlated", [False, True])
def test_units_that_are_zero(correlated):
    r"""Of 3 tanh units with 2 inputs, a bias and one output each, M = Σ e (x, 1) couples $v_i$ to one direction."""
    keys = jax.random.split(jax.random.key(0), 2)
    x = np.concatenate([np.eye(2), -np.eye(2)])
    y = np.array([[1.0], [2.0], [-1.0], [-2.0]]) if correlated else np.array([[1.0], [-1.0], [1.0], [-1.0]])
    model = eqx.nn.MLP(2, 1, 3, 1, activation=jnp.tanh, key=keys[0])
    zero = jax.tree.map(lambda leaf: 0 * leaf if eqx.is_array(leaf) else leaf, model)
    assert counts(explained(zero, x, y)) == ((6, 0, 6, 0) if correlated else (12, 0, 12, 0))


class Recurrent(eqx.Module):
    """Two units that feed on each other."""

    recurrent: jax.Array
    incoming: jax.Array
    readout: jax.Array

    def __call__(self, x):
        step = lambda h, z: (jnp.tanh(self.recurrent @ h + self.incoming @ z), None)  # noqa: E731
        return self.readout @ jax.lax.scan(step, jnp.zeros(2), x)[0]


def test_units_that_feed_on_each_other():
    """At zero only the last input acts, through one direction of each unit; 4 recurrent weights and 2 of 4 do not."""
    x = np.random.default_rng(0).standard_normal((30, 3, 2))
    zero = Recurrent(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((1, 2)))
    assert counts(explained(zero, x, x[:, -1, :1])) == (4 + 2, 0, 4 + 2, 0)


class Heads(eqx.Module):
    """Two heads of size 2 on a stream of 3 entries, summed over places, and 3 neurons on top."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    output: jax.Array
    hidden: jax.Array
    readout: jax.Array

    def __call__(self, x):
        q, k, v = (jnp.einsum("hrd,td->htr", w, x) for w in (self.query, self.key, self.value))
        attended = jax.nn.softmax(jnp.einsum("htr,hsr->hts", q, k)) @ v
        mixed = jnp.einsum("htr,hrd->d", attended, self.output) + x[0]
        return self.readout @ jnp.tanh(self.hidden @ mixed)


@pytest.mark.parametrize("empty", ["value and output", "output", "value", "query and key"])
@pytest.mark.fast_for("output", "query and key")
def test_queries_and_keys_are_free_while_values_or_outputs_vanish(empty):
    """At weights that fit perfectly with heads that do nothing; orbits and free parameters explain what is null.

    The Hessian is then that of Gauss and Newton, of the rank of the Jacobian: it has no more null directions than the
    functions' dimension leaves.
    """
    generator = np.random.default_rng(0)
    shapes = {name: (2, 2, 3) for name in ("query", "key", "value", "output")} | {"hidden": (3, 3), "readout": (1, 3)}
    arrays = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    for name in empty.split(" and "):
        arrays[name] = np.zeros(shapes[name])
    model, x = Heads(**arrays), generator.standard_normal((80, 4, 3))
    found = explained(model, x, np.asarray(jax.vmap(model)(x)))
    # Per head: Q, K, V, O of 6 numbers each; a gauge of 4 for each pair, which moves both, one or none of its factors.
    by_hand = {
        # Nothing of a head acts at first order; orbits move queries and keys.
        "value and output": (2 * 24, 2 * 4, 2 * 20, 0),
        # δO acts by the attended values; δQ, δK, δV do not. The gauges of V and O = 0 move V alone.
        "output": (2 * 18, 2 * (4 + 4), 2 * 10, 0),
        "value": (2 * 18, 2 * (4 + 4), 2 * 10, 0),
        # δQ and δK do not act. Uniform attention makes one head of size 4 of both: of its 24 numbers 9 act.
        "query and key": (2 * 12 + 15, 2 * 4, 2 * 12, 7),
    }
    assert counts(found) == by_hand[empty]
