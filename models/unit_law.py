"""The properties of a unit's map that the theory rests on."""

from dataclasses import KW_ONLY
from typing import Literal

import equinox as eqx

EmbeddingType = Literal["i", "ii", "iii", "iv"]


class UnitLaw(eqx.Module):
    r"""The properties of a unit's map $\phi(z; u)$, as a function of its incoming parameters $u$.

    They decide which wide networks embed the fixed points of a narrow one (Theorem 1) and which manifolds of
    constrained units are invariant under the flow (Theorem 3).

    Attributes:
        zero: whether $\phi(z; 0) = 0$ for every $z$.
        degree: $p$ with $\phi(z; \alpha u) = \alpha^p \phi(z; u)$, or `None` (the default) where no such $p$ exists.
        field: the $\alpha$ for which that holds: `"real"` (the default) or, for positive homogeneity, `"nonnegative"`.
        linear: whether $\phi(z; u + w) = \phi(z; u) + \phi(z; w)$ besides degree 1 over the reals; by default not.
        smooth: whether $\phi$ is twice differentiable in $u$ everywhere, zero units included; by default it is.
        order: lowest non-vanishing Taylor order of $\phi(z; u)$ at $u = 0$, by default 1; 1 for ReLU, whose
            first-order term is positively homogeneous instead of linear; 0 without `zero`.

    Raises:
        ValueError: where the statements contradict each other.

    Source: Zhang, Saxe & Latham (2025), Theorems 1 and 3.
    """

    _: KW_ONLY
    zero: bool = eqx.field(static=True)
    degree: int | None = eqx.field(static=True, default=None)
    field: Literal["real", "nonnegative"] = eqx.field(static=True, default="real")
    linear: bool = eqx.field(static=True, default=False)
    smooth: bool = eqx.field(static=True, default=True)
    order: int = eqx.field(static=True, default=1)

    def __check_init__(self) -> None:
        if self.linear and (self.degree != 1 or self.field != "real" or not self.zero):
            raise ValueError("a linear unit law must state zero=True, degree=1 and field='real'.")
        if self.degree is not None and self.degree < 1:
            raise ValueError(f"the degree of homogeneity must be at least 1; got {self.degree}.")
        if self.order < 0 or (self.order == 0) == self.zero:
            raise ValueError(f"order must be 0 for a law without zero and at least 1 with one; got {self.order}.")
        if self.degree is not None and self.order != self.degree:
            raise ValueError(f"a law of degree {self.degree} has this order, too; got order={self.order}.")

    @property
    def embedding(self) -> EmbeddingType:
        """The most general type of embedded fixed point that this law allows (Theorem 1): iv, iii, ii or i."""
        if self.linear:
            return "iv"
        if self.degree == 1:
            return "iii"
        return "ii" if self.zero else "i"

    def __str__(self) -> str:
        statements = [f"φ(z; 0) {'=' if self.zero else '≠'} 0"]
        if self.linear:
            statements.append("linear")
        elif self.degree is not None:
            positively = "positively " if self.field == "nonnegative" else ""
            statements.append(f"{positively}homogeneous of degree {self.degree}")
        statements.append(f"leading order {self.order}")
        statements.append("smooth" if self.smooth else "not twice differentiable")
        return f"{', '.join(statements)}; embedded fixed points up to type {self.embedding}"
