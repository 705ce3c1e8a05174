r"""Products $\varphi_k(sJ)b$ by Lanczos vectors: J acts on vectors and is never held.

Our own: the tridiagonalisation of Matfree has a fixed depth, while here it stops as soon as the error is small, and
the rows of the quadratures come along.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .linearisation import with_quadratures
from .phi import phi_products

# Lanczos vectors between two estimates of the error, each an eigendecomposition of a small matrix.
LOOK_EVERY = 4
# Of the error that the controller allows, the share left to each Krylov approximation.
SHARE = 0.05
# Number of vectors read at a time: of 64 that there is room for, a dozen are found as a rule.
BLOCK = 8
# A residual of fewer units of rounding than this is rounding: the Krylov space is then invariant.
ROUNDING = 10


class KrylovBasis(eqx.Module):
    r"""Orthonormal Lanczos vectors V of a symmetric H from a: $HV = VT + $ rest, $V e_1 \|a\| = a$.

    Rows and columns beyond the vectors found are zero.

    Attributes:
        vectors: $V^\top$.
        projected: T.
        eigen: eigenvalues and eigenvectors of T.
        norm: $\|a\|$.
        rates: $wV$, with the rows w of the quadratures.
        rest: β of $b = (a; β)$.
        count: number of vectors found.
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


class _Wanted(eqx.Module):
    r"""What is approximated, $\varphi_k(sJ)b$ with k ≥ `lowest`, and how its error is measured."""

    apply: Callable[[Array], Array]
    b: Float[Array, " N"]
    norm: Float[Array, ""]
    size: int
    max_vectors: int
    scale: Float[Array, ""]
    lowest: int
    measure: Callable[[Array], Array]

    def padded(self, main: Float[Array, " n"]) -> Float[Array, " N"]:
        """A vector of the main components, with zeros for the quadratures."""
        return jnp.zeros_like(self.b).at[: self.size].set(main)


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

    Args:
        apply: b ↦ Jb.
        b: the vector.
        size: number of components that are not quadratures.
        max_vectors: number of vectors at which to stop.
        scale: s.
        lowest: the lowest k; the error falls with k.
        measure: error vector ↦ its size in units of what is allowed.

    Returns:
        The basis, the error vector, and the number of products with J.

    Source: Saad (1992), "Analysis of some Krylov subspace approximations to the matrix exponential operator", SIAM J.
    Numer. Anal. 29.
    """
    wanted = _Wanted(
        apply=apply,
        b=b,
        norm=_norm(b[:size]),
        size=size,
        max_vectors=max_vectors,
        scale=scale,
        lowest=lowest,
        measure=measure,
    )
    end = eqxi.while_loop(
        lambda state: (state.error > SHARE) & (state.count < max_vectors),
        lambda state: _with_error(wanted, *_extended(wanted, state)),
        _begun(wanted),
        max_steps=max_vectors,
        kind="checkpointed",
    )
    basis = KrylovBasis(
        vectors=end.vectors,
        projected=end.projected,
        eigen=_eigen(end.projected),
        norm=wanted.norm,
        rates=end.rates,
        rest=b[size:],
        count=end.count,
    )
    return basis, jax.lax.stop_gradient(_error_vector(wanted, end)), end.count


def _begun(wanted: _Wanted) -> _Lanczos:
    """The iteration before the first product."""
    b, norm, m = wanted.b, wanted.norm, wanted.max_vectors
    return _Lanczos(
        vectors=jnp.zeros((m, wanted.size), b.dtype),
        projected=jnp.zeros((m, m), b.dtype),
        rates=jnp.zeros((m, b.size - wanted.size), b.dtype),
        next_vector=b[: wanted.size] / jnp.where(norm > 0, norm, 1.0),
        residual=norm,
        # A vector that is zero needs no basis.
        error=jnp.where(norm > 0, jnp.inf, 0.0).astype(b.dtype),
        count=jnp.asarray(0),
    )


def _extended(wanted: _Wanted, state: _Lanczos) -> tuple[_Lanczos, Bool[Array, ""]]:
    """The iteration after one more product, and whether the Krylov space is invariant."""
    m, v = state.count, state.next_vector
    # What the last residual couples: T is symmetric.
    before = jnp.maximum(m - 1, 0)
    beta = jnp.where(m > 0, state.residual, 0.0)
    product = wanted.apply(wanted.padded(v))
    main, rates = product[: wanted.size], product[wanted.size :]
    vectors = state.vectors.at[m].set(v)
    overlap = v @ main
    rest = main - overlap * v - beta * vectors[before]
    # Against all vectors once more: the recurrence of three loses orthogonality as soon as an outlier converges.
    rest = _of_found(lambda found: rest - (found @ rest) @ found, vectors, m + 1)
    residual = _norm(rest)
    exhausted = residual <= ROUNDING * jnp.finfo(v.dtype).eps * _norm(main)
    residual = jnp.where(exhausted, 0.0, residual)
    extended = _Lanczos(
        vectors=vectors,
        projected=state.projected.at[m, before].add(beta).at[before, m].add(beta).at[m, m].set(overlap),
        rates=state.rates.at[m].set(rates),
        next_vector=jnp.where(exhausted, 0.0, rest / jnp.where(exhausted, 1.0, residual)),
        residual=residual,
        error=state.error,
        count=m + 1,
    )
    return extended, exhausted


def _with_error(wanted: _Wanted, state: _Lanczos, exhausted: Bool[Array, ""]) -> _Lanczos:
    """The iteration with its error estimated, where it is time for that."""
    look = (state.count % LOOK_EVERY == 0) | exhausted | (state.count == wanted.max_vectors)
    error = jax.lax.cond(
        look, lambda s: wanted.measure(_error_vector(wanted, s)), lambda s: s.error, jax.lax.stop_gradient(state)
    )
    return eqx.tree_at(lambda s: s.error, state, error)


def _error_vector(wanted: _Wanted, state: _Lanczos) -> Float[Array, " N"]:
    r"""The error $\|a\| s \beta_m e_m^\top \varphi_{k+1}(sT) e_1\, v_{m+1}$ of $\varphi_k(sJ)b$ for the lowest k."""
    # The first term of the error's expansion (Saad 1992, theorem 5.1).
    first = jnp.zeros(wanted.max_vectors, wanted.b.dtype).at[0].set(wanted.norm)
    number = wanted.lowest + 1
    small = phi_products(state.projected, _eigen(state.projected), wanted.scale, first, number)[number]
    return wanted.padded(wanted.scale * state.residual * small[state.count - 1] * state.next_vector)


def _eigen(matrix: Float[Array, "m m"]) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    values, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(matrix), symmetrize_input=False)
    return values, vectors


def _norm(a: Float[Array, " n"]) -> Float[Array, ""]:
    """‖a‖, with derivative zero at zero."""
    squares = jnp.sum(a**2)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
