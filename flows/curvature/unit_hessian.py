r"""The structured Hessian of losses of sums over units: Gauss–Newton plus block-diagonal curvature of the outputs.

$L = w \sum_\mu \ell(f_\mu(\theta)) + $ const has
$\nabla^2 L = w\,(\sum_\mu J_\mu^\top \ell''_\mu J_\mu + \sum_\mu \ell'_\mu \cdot \nabla^2 f_\mu)$,
$J_\mu = \partial f_\mu / \partial \theta$. The first part is one matrix product, of the rows $F_\mu J_\mu$ with
$F_\mu^\top F_\mu = \ell''_\mu$. Outputs that are sums over units have no second derivatives between different units;
the second part then takes, for all units at once, as many Hessian–vector products as one unit has parameters (Curtis,
Powell & Reid 1974).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..compilation.traced import Traced
from ..losses.cross_entropy import cross_entropy_rows

# Samples whose Jacobians are held at once: 20 MB for a thousand parameters, and still one long matrix product.
BATCH = 2048


class OutputLoss(NamedTuple):
    r"""The derivatives of the loss $\ell$ of one sample in its outputs f.

    Attributes:
        slope: (f, sample) ↦ $\ell'$.
        rows: (f, sample, J) ↦ $F J$ with $F^\top F = \ell''$.
    """

    slope: Callable[[Any, Any], Any]
    rows: Callable[[Any, Any, Any], Any]


# Half the square of residuals.
SQUARES = OutputLoss(slope=lambda f, sample: f, rows=lambda f, sample, jacobian: jacobian)
# Samples are inputs, distributions of labels, and weights.
CROSS_ENTROPY = OutputLoss(
    slope=lambda f, sample: sample[2] * (jax.nn.softmax(f) - sample[1]),
    rows=lambda f, sample, jacobian: jnp.sqrt(sample[2]) * cross_entropy_rows(f, jacobian),
)


class UnitHessian(eqx.Module):
    r"""The structured Hessian $\nabla^2 L(\theta)$ of a loss whose outputs, or residuals, are sums over units.

    Attributes:
        outputs: (θ, sample) ↦ the outputs f of one sample, traced.
        of_outputs: the derivatives of the loss in them.
        samples: all samples, on the leading axis of each array.
        weight: w.
        units: positions in θ of the parameters of each unit, one row each.
        others: all other positions.
    """

    outputs: Traced
    of_outputs: OutputLoss = eqx.field(static=True)
    samples: Any
    weight: Float[Any, ""]
    units: Int[Array, "H d"]
    others: Int[Array, " k"]

    def __call__(self, theta: Float[Any, " n"]) -> Float[Array, "n n"]:
        """The dense Hessian at θ."""
        return self.with_gradient(theta)[0]

    def with_gradient(self, theta: Float[Any, " n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
        """The dense Hessian at θ, and the gradient, a by-product."""
        curvature, gradient = self._curvature_of_outputs(theta)
        return self.weight * (self._gauss_newton(theta) + curvature), self.weight * gradient

    @property
    def count(self) -> int:
        """The number of outputs of all samples."""
        return jax.eval_shape(self._all, jax.ShapeDtypeStruct((self._size,), self.weight.dtype)).size

    @property
    def _size(self) -> int:
        return self.units.size + self.others.size

    def _all(self, theta: Float[Any, " n"]) -> Float[Array, "P r"]:
        return jax.vmap(self.outputs, (None, 0))(theta, self.samples)

    def _gauss_newton(self, theta: Any) -> Array:
        def of_sample(sample: Any) -> Array:
            outputs, pull = jax.vjp(lambda p: self.outputs(p, sample), theta)
            jacobian = jax.vmap(pull)(jnp.eye(outputs.size, dtype=outputs.dtype))[0]
            return self.of_outputs.rows(outputs, sample, jacobian)

        def product(samples: Any) -> Array:
            rows = jax.vmap(of_sample)(samples).reshape(-1, theta.size)
            return rows.T @ rows

        count = jax.tree.leaves(self.samples)[0].shape[0]
        whole, left = divmod(count, batch := min(BATCH, count))
        cut = lambda start, size: jax.tree.map(  # noqa: E731
            lambda a: jax.lax.dynamic_slice_in_dim(a, start, size), self.samples
        )
        if whole == 1 and not left:
            return product(self.samples)
        total = product(cut(count - left, left)) if left else jnp.zeros((theta.size,) * 2, theta.dtype)
        return jax.lax.fori_loop(0, whole, lambda i, s: s + product(cut(i * batch, batch)), total)

    def _curvature_of_outputs(self, theta: Any) -> tuple[Array, Array]:
        r"""$\sum_\mu \ell'_\mu \cdot \nabla^2 f_\mu$ and $\sum_\mu \ell'_\mu \cdot \nabla f_\mu$."""
        # Hessian and gradient of $\sum_\mu \ell'_\mu(\theta_0) \cdot f_\mu(\theta)$ at $\theta_0$.
        fixed = jax.lax.stop_gradient(jax.vmap(self.of_outputs.slope)(self._all(theta), self.samples))
        gradient, product = jax.linearize(jax.grad(lambda p: jnp.sum(fixed * self._all(p))), theta)
        count = self.units.shape[1]
        seeds = jnp.zeros((count + self.others.size, theta.size), theta.dtype)
        seeds = seeds.at[jnp.arange(count)[:, None], self.units.T].set(1)
        seeds = seeds.at[count + jnp.arange(self.others.size), self.others].set(1)
        columns = jax.vmap(product)(seeds)
        blocks = columns[:count, self.units].transpose(1, 2, 0)
        matrix = jnp.zeros((theta.size,) * 2, theta.dtype)
        matrix = matrix.at[self.units[:, :, None], self.units[:, None, :]].set(blocks)
        matrix = matrix.at[:, self.others].set(columns[count:].T).at[self.others, :].set(columns[count:])
        return matrix, gradient
