r"""Products $\varphi_k(sJ)b$ with the Jacobian J of a field, held as a matrix or by Krylov vectors.

The state may end in quadratures, components that do not enter the field, so that $J = (H, 0; w, 0)$ in blocks. Then
$\varphi_k(sJ)(a; \beta) = (\varphi_k(sH)a;\ \beta/k! + s w \varphi_{k+1}(sH)a)$.
"""

from math import factorial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jaxtyping import Array, Float

from .phi import phi_products

# Squarings of the general matrix exponential: enough for entries up to 2^64.
MAX_SQUARINGS = 64


class SymmetricMatrix(eqx.Module):
    """J with a symmetric main block H, by one eigendecomposition.

    Attributes:
        main: H.
        eigen: eigenvalues and eigenvectors of H, constants of differentiation.
        rates: w, the rows of the quadratures.
    """

    main: Float[Array, "n n"]
    eigen: tuple[Float[Array, " n"], Float[Array, "n n"]]
    rates: Float[Array, "q n"]

    def __init__(self, jacobian: Float[Array, "N N"], quadratures: int):
        size = jacobian.shape[0] - quadratures
        block = jacobian[:size, :size]
        self.main = (block + block.T) / 2
        values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(self.main), symmetrize_input=False)
        self.eigen = (values, vectors)
        self.rates = jacobian[size:, :size]

    def products(self, b: Float[Array, " N"], scale: Float[Array, ""], highest: int) -> Float[Array, "k N"]:
        r"""$\varphi_k(sJ)b$, k = 0, …, `highest`."""
        size = self.main.shape[0]
        main = phi_products(self.main, self.eigen, scale, b[:size], highest + 1)
        return with_quadratures(main, main @ self.rates.T, scale, b[size:])


class GeneralMatrix(eqx.Module):
    """Any J, by the exponential of an augmented matrix: for small systems, as each product costs n³.

    Attributes:
        matrix: J.
    """

    matrix: Float[Array, "N N"]

    def products(self, b: Float[Array, " N"], scale: Float[Array, ""], highest: int) -> Float[Array, "k N"]:
        r"""$\varphi_k(sJ)b$, k = 0, …, `highest`, from $\exp(sJ, b e_1^\top; 0, S)$, S the shift."""
        n = self.matrix.shape[0]
        size = jnp.max(jnp.abs(b))
        size = jnp.where(size > 0, size, 1.0)
        column = jnp.zeros((n, highest), b.dtype).at[:, 0].set(b / size)
        shift = jnp.eye(highest, k=1, dtype=b.dtype)
        blocks = jnp.block([[scale * self.matrix, column], [jnp.zeros((highest, n), b.dtype), shift]])
        exponential = jsp.linalg.expm(blocks, max_squarings=MAX_SQUARINGS)
        return jnp.concatenate([(exponential[:n, :n] @ b)[None], size * exponential[:n, n:].T])


def with_quadratures(
    main: Float[Array, "k n"], rates: Float[Array, "k q"], scale: Float[Array, ""], rest: Float[Array, " q"]
) -> Float[Array, "m N"]:
    r"""The products $\varphi_k(sJ)(a; \beta)$, k = 0, …, K, from those of the main block.

    Args:
        main: $\varphi_k(sH)a$ for k = 0, …, K + 1.
        rates: $w\varphi_k(sH)a$ for the same k.
        scale: s.
        rest: β.

    Returns:
        One row for each k.
    """
    highest = main.shape[0] - 2
    factorials = jnp.asarray([1 / factorial(k) for k in range(highest + 1)], main.dtype)
    return jnp.concatenate([main[:-1], factorials[:, None] * rest + scale * rates[1:]], axis=1)
