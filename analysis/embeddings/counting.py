"""The number of critical manifolds that a narrow network's critical point becomes in a wide one."""

from math import comb, factorial

import scipy


def copies_manifolds(narrow: int, wide: int) -> int:
    r"""$G(r, m) = r!\, S(m, r)$: the number of ways to make m units copies of r distinct ones, each of them used.

    It counts the affine subspaces of critical points of a network of width m that repeat one critical point of width
    r, with all its permutations, by copies (type i) alone. S is the Stirling number of the second kind.

    Args:
        narrow: r, at least 1.
        wide: m, at least r.

    Returns:
        The number of subspaces.

    Source: Şimşek et al. (2021), "Geometry of the loss landscape in overparameterized neural networks".
    """
    _check(narrow, wide)
    return factorial(narrow) * int(scipy.special.stirling2(wide, narrow, exact=True))


def zero_loss_manifolds(narrow: int, wide: int) -> int:
    r"""$T(r, m) = \sum_{u=0}^{m-r} \binom{m}{u} G(r, m - u) B_u$, with groups of units whose outputs cancel.

    It counts the affine subspaces of the zero-loss set of a network of width m that repeat one zero of width r: besides
    copies, u units fall into groups, in $B_u$ ways (Bell number), that share arbitrary incoming parameters and whose
    outgoing ones sum to zero.

    Args:
        narrow: r, at least 1.
        wide: m, at least r.

    Returns:
        The number of subspaces.

    Source: as `copies_manifolds`.
    """
    _check(narrow, wide)
    return sum(comb(wide, u) * copies_manifolds(narrow, wide - u) * _bell(u) for u in range(wide - narrow + 1))


def _bell(number: int) -> int:
    return sum(int(scipy.special.stirling2(number, k, exact=True)) for k in range(number + 1))


def _check(narrow: int, wide: int) -> None:
    if not 1 <= narrow <= wide:
        raise ValueError(f"widths must satisfy 1 ≤ narrow ≤ wide; got {narrow} and {wide}.")
