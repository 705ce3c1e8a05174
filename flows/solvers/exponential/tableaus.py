"""The coefficients of exponential Rosenbrock methods."""

from typing import NamedTuple

# A sum of terms (i, k, a): a φ_k(chJ) b_i, with b_0 = f, b_1 = ∂f/∂t and b_2, b_3, … the remainders of the stages.
Terms = tuple[tuple[int, int, float], ...]


class Tableau(NamedTuple):
    r"""Coefficients of an exponential Rosenbrock method.

    With $J = \partial f/\partial u$ and $v = \partial f/\partial t$ at the start of the step, and the remainders
    $D_i = f(t + c_i h, U_i) - f(t, u) - J(U_i - u) - c_i h v$ of the stages i = 2, …, s, a stage is
    $U_i = u + c_i h \varphi_1(c_i hJ) f + (c_i h)^2 \varphi_2(c_i hJ) v + h \sum a \varphi_k(c_i hJ) D_j$,
    and the end of the step is the same sum with $c = 1$ and the weights.

    Attributes:
        order: the order of convergence.
        nodes: $c_2, \ldots, c_s$.
        stages: the sum over D of each stage.
        weights: the sum over D of the end.
        embedded: the sum over D of the comparison method, whose order is lower by one.
    """

    order: int
    nodes: tuple[float, ...]
    stages: tuple[Terms, ...]
    weights: Terms
    embedded: Terms


def interpolating(first: tuple[int, float], second: tuple[int, float]) -> Terms:
    r"""Weights that integrate $D(\tau) = \alpha\tau^2 + \beta\tau^3$ from its values at two stages (number, node).

    They solve the stiff conditions of order 4, $\sum b_i c_i^2 = 2\varphi_3$ and $\sum b_i c_i^3 = 6\varphi_4$.

    Args:
        first: number and node of one stage.
        second: number and node of the other.

    Returns:
        The terms of both stages.

    Source: Hochbruck & Ostermann (2010), "Exponential integrators", Acta Numerica 19, section 2.5.
    """
    (i, c), (j, d) = first, second
    p, q = c**2 * (d - c), d**2 * (d - c)
    return ((i, 3, 2 * d / p), (i, 4, -6 / p), (j, 3, -2 * c / q), (j, 4, 6 / q))


def collocated(stage: int, node: float, at: float) -> Terms:
    r"""The term that integrates $D(\tau) = \alpha\tau^2$ up to the node `at` from its value at one stage."""
    return ((stage, 3, 2 * at**3 / node**2),)


# exprb43 of Hochbruck, Ostermann & Schweitzer (2009): two new evaluations of the field per step.
EXPRB43 = Tableau(
    order=4,
    nodes=(0.5, 1.0),
    stages=((), ((2, 1, 1.0),)),
    weights=interpolating((2, 0.5), (3, 1.0)),
    embedded=((2, 3, 16.0), (3, 3, -2.0)),
)
# pexprb54s4 of Luan & Ostermann (2016): three new evaluations. With the nodes 1/2 and 9/10 the weights are exact for
# D = τ⁴ as well where J vanishes, which gives order 5.
PEXPRB54 = Tableau(
    order=5,
    nodes=(0.25, 0.5, 0.9),
    stages=((), collocated(2, 0.25, 0.5), collocated(2, 0.25, 0.9)),
    weights=interpolating((3, 0.5), (4, 0.9)),
    embedded=interpolating((2, 0.25), (3, 0.5)),
)
TABLEAUS = {4: EXPRB43, 5: PEXPRB54}


def tableau_of_order(order: int) -> Tableau:
    """The method of an order.

    Args:
        order: 4 or 5.

    Returns:
        Its coefficients.

    Raises:
        ValueError: when there is none.
    """
    if order not in TABLEAUS:
        raise ValueError(f"there are exponential Rosenbrock methods of order 4 and 5 here; got {order}.")
    return TABLEAUS[order]
