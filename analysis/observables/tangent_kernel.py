"""The neural tangent kernel of a model: its spectrum, and how far it is aligned with the target."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...flows import flatten, unflatten
from .observable import Observable, Quantity

# Bytes of one block of the Jacobian: larger ones make the matrix products no faster.
MEMORY = 2**27


def call(model: Any, x: Any) -> Any:
    """The model's output for one input."""
    return model(x)


def tangent_kernel(model: Any, x: Any, *, output: Callable[[Any, Any], Any] = call) -> Float[Array, "Po Po"]:
    r"""The neural tangent kernel $K = J J^\top$, $J = \partial f(x_\mu) / \partial \theta$.

    A row of J for each output of each sample, those of a sample next to each other. J is never held whole: its blocks
    of rows are multiplied with each other as they are made.

    Args:
        model: f, with floating-point arrays θ.
        x: inputs, with the samples on the first axis of each array.
        output: from (model, one input) to f; by default a call of the model.

    Returns:
        The symmetric matrix, for P samples and o outputs.

    Source: Jacot, Gabriel & Hongler (2018), "Neural tangent kernel".
    """
    theta, samples = flatten(model), jax.tree.leaves(x)[0].shape[0]
    one = lambda theta, x: jnp.ravel(output(unflatten(model, theta), x))  # noqa: E731
    outputs = jax.eval_shape(one, theta, jax.tree.map(lambda leaf: leaf[0], x)).size
    most = max(1, MEMORY // max(theta.size * outputs * theta.dtype.itemsize, 1))
    count = -(-samples // most)
    size = -(-samples // count)
    # Blocks of one size, filled up with the last sample.
    order = np.minimum(np.arange(count * size), samples - 1).reshape(count, size)

    def rows(block: Any) -> Array:
        inputs = jax.tree.map(lambda leaf: jnp.asarray(leaf)[jnp.asarray(order)[block]], x)
        return jax.vmap(jax.jacrev(one), (None, 0))(theta, inputs).reshape(size * outputs, theta.size)

    def fill(i: Any, kernel: Array) -> Array:
        left, start = rows(i), i * size * outputs

        def beside(j: Any, kernel: Array) -> Array:
            return jax.lax.dynamic_update_slice(kernel, left @ rows(j).T, (start, j * size * outputs))

        kernel = jax.lax.dynamic_update_slice(kernel, left @ left.T, (start, start))
        return jax.lax.fori_loop(i + 1, count, beside, kernel)

    empty = jnp.zeros((count * size * outputs,) * 2, theta.dtype)
    upper = jax.lax.fori_loop(0, count, fill, empty)[: samples * outputs, : samples * outputs]
    return jnp.triu(upper) + jnp.triu(upper, 1).T


def kernel_alignment(kernel: Float[Any, "m m"], y: Float[Any, "..."]) -> Float[Array, ""]:
    r"""The alignment of a kernel with targets, $\langle K, y y^\top \rangle / (\|K\|_F \|y\|^2)$, at most 1.

    Args:
        kernel: K.
        y: targets, as many as rows, in their order.

    Returns:
        The alignment; NaN for a kernel or targets that are zero.

    Source: Cristianini, Shawe-Taylor, Elisseeff & Kandola (2001), "On kernel-target alignment".
    """
    targets = jnp.ravel(jnp.asarray(y))
    return targets @ kernel @ targets / (jnp.linalg.norm(kernel) * (targets @ targets))


def tangent_kernel_spectrum(x: Any, y: Any = None, *, output: Callable[[Any, Any], Any] = call) -> Observable:
    r"""The eigenvalues of the neural tangent kernel and, with targets, its alignment with them, as an observable.

    At a learning rate of one, and for the loss $\frac12 \sum_\mu \|f(x_\mu) - y_\mu\|^2$, the residual along the k-th
    eigenvector decays at the rate $\lambda_k$. The share of the target along it tells what is learned how fast.

    Args:
        x: inputs, with the samples on the first axis of each array.
        y: targets, of the shape of all outputs; by default none.
        output: from (model, one input) to the output; by default a call of the model.

    Returns:
        The observable, of `eigenvalues`, falling, and with targets `alignment` and `shares`, the $(q_k \cdot y)^2 /
        \|y\|^2$.

    Raises:
        ValueError: for targets of another number than samples.
    """
    samples = np.shape(jax.tree.leaves(x)[0])[0]
    if y is not None and np.shape(y)[:1] != (samples,):
        raise ValueError(f"there are {samples} inputs, and targets of shape {np.shape(y)}.")

    def function(model: Any) -> dict[str, Any]:
        kernel = tangent_kernel(model, x, output=output)
        if y is None:
            return {"eigenvalues": jnp.linalg.eigvalsh(kernel)[::-1]}
        targets = jnp.ravel(jnp.asarray(y))
        if targets.size != len(kernel):
            raise ValueError(
                f"the model has {len(kernel)} outputs on these inputs, and there are {targets.size} targets"
            )
        values, vectors = jnp.linalg.eigh(kernel)
        shares = (vectors.T @ targets) ** 2 / (targets @ targets)
        return {"eigenvalues": values[::-1], "alignment": kernel_alignment(kernel, y), "shares": shares[::-1]}

    quantities = {
        "eigenvalues": Quantity("eigenvalues of the neural tangent kernel", axes=("mode",)),
        "alignment": Quantity("alignment of kernel and target"),
        "shares": Quantity("share of the target along each eigenvector", axes=("mode",)),
    }
    return Observable(function, quantities=quantities)
