"""The neural tangent kernel: closed forms, a naive Jacobian, laws of any kernel."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saddlescope.analysis import observe, tangent_kernel, tangent_kernel_spectrum
from saddlescope.analysis.observables import tangent_kernel as room
from saddlescope.analysis.observables.tangent_kernel import kernel_alignment
from saddlescope.flows import flatten, half_squared_error, simulate, unflatten
from saddlescope.models import Dense, DiagonalLinear, LinearAttention, TwoLayer, linear, tanh


def naive(model, x, output=lambda model, x: model(x)):
    """From the whole Jacobian."""
    f = lambda theta: jnp.ravel(jax.vmap(lambda z: output(unflatten(model, theta), z))(x))  # noqa: E731
    jacobian = np.asarray(jax.jacrev(f)(flatten(model)))
    return jacobian @ jacobian.T


def test_a_linear_network_in_closed_form():
    """On unit inputs (W1ᵀW1) ⊗ I + I ⊗ (W2W2ᵀ), the outputs of a sample next to each other."""
    model = TwoLayer(Dense(linear, inputs=3, outputs=2), width=4, scale=1.0, key=jax.random.key(0))
    w1, w2 = np.asarray(model.parameters[0]), np.asarray(model.parameters[1]).T
    expected = np.kron(w1.T @ w1, np.eye(2)) + np.kron(np.eye(3), w2 @ w2.T)
    np.testing.assert_allclose(tangent_kernel(model, np.eye(3)), expected, rtol=1e-12, atol=1e-13)


def test_a_diagonal_network_in_closed_form():
    """X diag(u² + v²) Xᵀ."""
    x = np.random.default_rng(0).standard_normal((5, 3))
    model = DiagonalLinear(inputs=3, scale=1.0, key=jax.random.key(0))
    sizes = np.sum(np.square(model.weights), axis=0)
    np.testing.assert_allclose(tangent_kernel(model, x), x * sizes @ x.T, rtol=1e-12, atol=1e-13)


class Scaled(eqx.Module):
    """A network with what is no parameter, called otherwise than by itself."""

    network: eqx.nn.MLP
    times: int

    def predict(self, x):
        return self.times * self.network(x)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [2**27, 2**13, 1])
def test_blocks_of_any_size_give_the_naive_kernel(monkeypatch, memory):
    """One block; several, the last of them filled up; and one for each of 11 samples with two outputs."""
    monkeypatch.setattr(room, "MEMORY", memory)
    x = np.random.default_rng(1).standard_normal((11, 3))
    model = Scaled(eqx.nn.MLP(3, 2, 6, 2, jax.nn.tanh, key=jax.random.key(0)), times=2)
    kernel = tangent_kernel(model, x, output=Scaled.predict)
    np.testing.assert_allclose(kernel, naive(model, x, Scaled.predict), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(kernel, kernel.T)


def test_inputs_of_several_arrays():
    x = tuple(np.random.default_rng(2).standard_normal((2, 6, 3)))
    model = TwoLayer(LinearAttention(inputs=3), width=2, scale=1.0, key=jax.random.key(0))
    np.testing.assert_allclose(tangent_kernel(model, x), naive(model, x), rtol=1e-10, atol=1e-12)


@given(seed=st.integers(0, 10**6), size=st.integers(1, 8))
def test_alignment_is_at_most_one_and_one_for_the_target_itself(seed, size):
    random = np.random.default_rng(seed)
    factor, y = random.standard_normal((size, 3)), random.standard_normal(size)
    alignment = float(kernel_alignment(factor @ factor.T, y))
    assert -1e-12 <= alignment <= 1 + 1e-12
    assert float(kernel_alignment(np.outer(y, y), y)) == pytest.approx(1.0, abs=1e-12)
    assert float(kernel_alignment(np.eye(size), y)) == pytest.approx(1 / np.sqrt(size))


def test_along_a_flow_the_kernel_aligns_with_the_target():
    """Eigenvalues, alignment and shares of one kernel hang together; a rank-one target ends with alignment 1/√…

    From small weights the network has one direction in the end, u = a·e, v = b with ab = s and a = b: the kernel
    X (b² I + a² e eᵀ) Xᵀ has on white inputs one eigenvalue 2s and others s."""
    x = np.sqrt(3) * np.vstack([np.eye(3), -np.eye(3)])
    y = x[:, :1] * 2
    model = TwoLayer(Dense(linear, inputs=3), width=3, scale=1e-4, key=jax.random.key(0))
    flow = simulate(model, half_squared_error, (x, y), t1=15.0)
    seen = observe(flow, {"kernel": tangent_kernel_spectrum(x, y)}, ts=[0.0, 15.0])
    np.testing.assert_allclose(seen["kernel_eigenvalues"][-1, :3], np.array([4.0, 2.0, 2.0]) * 6, rtol=1e-6)
    np.testing.assert_allclose(seen["kernel_shares"][-1, 0], 1, rtol=1e-6)
    np.testing.assert_allclose(np.sum(seen["kernel_shares"], axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(seen["kernel_alignment"][-1], 4 / np.sqrt(16 + 4 + 4), rtol=1e-6)
    # ⟨K, yyᵀ⟩ = Σ λ_k (q_k·y)² and ‖K‖² = Σ λ_k².
    values, shares = seen["kernel_eigenvalues"].values, seen["kernel_shares"].values
    expected = np.sum(values * shares, axis=1) / np.linalg.norm(values, axis=1)
    np.testing.assert_allclose(seen["kernel_alignment"], expected, rtol=1e-10)


def test_targets_that_do_not_fit_are_refused():
    x = np.ones((4, 3))
    with pytest.raises(ValueError, match="4 inputs, and targets of shape"):
        tangent_kernel_spectrum(x, np.ones((5, 1)))
    model = TwoLayer(Dense(tanh, inputs=3, outputs=2), width=2, scale=1.0, key=jax.random.key(0))
    with pytest.raises(ValueError, match="8 outputs on these inputs, and there are 4 targets"):
        tangent_kernel_spectrum(x, np.ones((4, 1)))(model)
