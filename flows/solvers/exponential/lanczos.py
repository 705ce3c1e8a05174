r"""Products $\varphi_k(sJ)b$ by Lanczos vectors: J acts on vectors and is never held."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .linearisation import with_quadratures
from .phi import phi_products

# Lanczos vectors between two looks at the error, each an eigendecomposition of a small matrix.
LOOK_EVERY = 4
# Of the error that the controller allows, the share left to each Krylov approximation.
SHARE = 0.05
# Vectors are read in so many at a time: of 64 that there is room for, a dozen are found as a rule.
BLOCK = 8


class KrylovBasis(eqx.Module):
    r"""Orthonormal Lanczos vectors V of a symmetric H from a: $HV = VT + $ rest, $V e_1 \|a\| = a$.

    Rows and columns beyond the vectors found are zero.

    - `vectors`: $V^\top$; `projected`: T; `eigen`: its eigenvalues and vectors; `norm`: $\|a\|$; `rates`: $wV$, w the
      rows of the quadratures; `rest`: β of $b = (a; β)$; `count`: number of vectors found.
    """

    vectors: Float[Array, "m n"]
    projected: Float[Array, "m m"]
    eigen: tuple[Float[Array, " m"], Float[Array, "m m"]]
    norm: Float[Array, ""]
    rates: Float[Array, "m q"]
    rest: Float[Array, " q"]
    count: Int[Array, ""]


class KrylovProducts(eqx.Module):
    r"""Products $\varphi_k(sJ)b \approx V\varphi_k(sT)e_1\|a\|$."""

    def products(self, b: KrylovBasis, scale: Float[Array, ""], highest: int) -> Float[Array, "k N"]:
        r"""$\varphi_k(sJ)b$, k = 0, …, `highest`, for the vector b whose basis is given."""
        first = jnp.zeros_like(b.eigen[0]).at[0].set(b.norm)
        small = phi_products(b.projected, b.eigen, scale, first, highest + 1)
        main = _of_found(lambda vectors: small[:, : len(vectors)] @ vectors, b.vectors, b.count)
        return with_quadratures(main, small @ b.rates, scale, b.rest)


def _of_found(function: Callable[[Array], Any], vectors: Float[Array, "m n"], count: Int[Array, ""]) -> Any:
    """The function of the vectors found, and of a few rows of zeros: room that is not used costs nothing."""
    ends = [min(end, len(vectors)) for end in range(BLOCK, len(vectors) + BLOCK, BLOCK)]
    branches = [lambda rows, end=end: function(rows[:end]) for end in ends]
    return jax.lax.switch((count - 1) // BLOCK, branches, vectors)


class _Lanczos(eqx.Module):
    """Lanczos iteration under way; `error` is that of the approximation wanted, in units of what is allowed."""

    vectors: Float[Array, "m n"]
    projected: Float[Array, "m m"]
    rates: Float[Array, "m q"]
    next_vector: Float[Array, " n"]
    residual: Float[Array, ""]
    error: Float[Array, ""]
    count: Int[Array, ""]


def lanczos(
    apply: Callable[[Array], Array],
    b: Float[Array, " N"],
    size: int,
    max_vectors: int,
    scale: Float[Array, ""],
    lowest: int,
    measure: Callable[[Array], Array],
) -> tuple[KrylovBasis, Float[Array, " N"], Int[Array, ""]]:
    r"""A Krylov basis in which $\varphi_k(sJ)b$, k ≥ `lowest`, is accurate.

    The error of φ_k is estimated by the first term of its expansion,
    $\|a\| s \beta_m e_m^\top \varphi_{k+1}(sT) e_1\, v_{m+1}$ (Saad 1992, theorem 5.1).

    **Arguments:** `apply`: b to Jb; `size`: number of components that are not quadratures; `max_vectors`: at which to
    stop; `scale`: s; `measure`: error vector to its size in units of what is allowed.

    **Returns:** the basis, the error vector, and the number of products with J.
    """
    a, rest = b[:size], b[size:]
    norm = _norm(a)
    zeros = jnp.zeros_like(b)
    start = _Lanczos(
        vectors=jnp.zeros((max_vectors, size), b.dtype),
        projected=jnp.zeros((max_vectors, max_vectors), b.dtype),
        rates=jnp.zeros((max_vectors, rest.size), b.dtype),
        next_vector=a / jnp.where(norm > 0, norm, 1.0),
        residual=norm,
        # A vector that is zero needs no basis.
        error=jnp.where(norm > 0, jnp.inf, 0.0).astype(b.dtype),
        count=jnp.asarray(0),
    )

    def inaccuracy(state: _Lanczos) -> Array:
        first = jnp.zeros(max_vectors, b.dtype).at[0].set(norm)
        small = phi_products(state.projected, _eigen(state.projected), scale, first, lowest + 1)[lowest + 1]
        return scale * state.residual * small[state.count - 1]

    def vector(state: _Lanczos) -> Array:
        return zeros.at[:size].set(inaccuracy(state) * state.next_vector)

    def extend(state: _Lanczos) -> _Lanczos:
        m, v = state.count, state.next_vector
        # What the last residual couples: T is symmetric.
        before = jnp.maximum(m - 1, 0)
        beta = jnp.where(m > 0, state.residual, 0.0)
        product = apply(zeros.at[:size].set(v))
        vectors = state.vectors.at[m].set(v)
        overlap = v @ product[:size]
        rest_of_product = product[:size] - overlap * v - beta * vectors[before]
        # Against all vectors once more: the recurrence of three loses orthogonality as soon as an outlier converges.
        rest_of_product = _of_found(lambda found: rest_of_product - (found @ rest_of_product) @ found, vectors, m + 1)
        residual = _norm(rest_of_product)
        projected = state.projected.at[m, before].add(beta).at[before, m].add(beta).at[m, m].set(overlap)
        # Below roundoff of the product the space is invariant: nothing is left.
        exhausted = residual <= 10 * jnp.finfo(b.dtype).eps * _norm(product[:size])
        residual = jnp.where(exhausted, 0.0, residual)
        found = _Lanczos(
            vectors,
            projected,
            state.rates.at[m].set(product[size:]),
            jnp.where(exhausted, 0.0, rest_of_product / jnp.where(exhausted, 1.0, residual)),
            residual,
            state.error,
            m + 1,
        )
        look = (found.count % LOOK_EVERY == 0) | exhausted | (found.count == max_vectors)
        error = jax.lax.cond(look, lambda s: measure(vector(s)), lambda s: s.error, jax.lax.stop_gradient(found))
        return eqx.tree_at(lambda s: s.error, found, error)

    end = eqxi.while_loop(
        lambda state: (state.error > SHARE) & (state.count < max_vectors),
        extend,
        start,
        max_steps=max_vectors,
        kind="checkpointed",
    )
    basis = KrylovBasis(end.vectors, end.projected, _eigen(end.projected), norm, end.rates, rest, end.count)
    return basis, jax.lax.stop_gradient(vector(end)), end.count


def _eigen(matrix: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix), symmetrize_input=False)
    return values, vectors


def _norm(a: Array) -> Array:
    """‖a‖, with derivative zero at zero."""
    squares = jnp.sum(a**2)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
