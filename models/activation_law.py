r"""The law of the unit $\phi(z; u) = \sigma(u \cdot z)$, determined from values of σ or checked against them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .quick import quickly_compiled
from .unit_law import UnitLaw

# σ is evaluated on [−8, 8]: kinks beyond are not detected.
REACH, POINTS = 8.0, 4096
# After 30 halvings an interval is 4e-12 wide, and a smooth function's change across it is at rounding level.
HALVINGS = 30
# A change across that width, relative to the function's size, is a jump: far above rounding, far below any kink's.
JUMP = 1e-6
# Relative error up to which an identity holds: sums and products of a few rounded values err by 1e-15.
AGREEMENT = 1e-10
# Distances from zero, halved each time, at which the lowest order is measured, and its tolerance to an integer.
NEAR_ZERO, NEAR_INTEGER = 2.0 ** -np.arange(4, 14), 0.05
SAMPLES = np.concatenate([np.geomspace(0.1, 5, 12), -np.geomspace(0.13, 4.7, 12)])
FACTORS = (0.37, 2.3, -1.0, -0.61)


def law_of_function(function: Callable[[Array], Array]) -> UnitLaw:
    r"""Determines the law of $\sigma(u \cdot z)$ from values of σ on [−8, 8].

    A scalar function that is homogeneous of degree 1 over the reals is linear; it is smooth if value, slope and
    curvature do not jump; its lowest order is p with $\sigma(2h) / \sigma(h) \to 2^p$ as $h \to 0$.

    Args:
        function: σ, applied elementwise.

    Returns:
        The strongest law that the values support.

    Raises:
        ValueError: for values that are not finite, or that do not determine the lowest order; state the law then.
    """
    probe = _Probe(function)
    if not probe.zero:
        return UnitLaw(zero=False, order=0, smooth=probe.jump is None)
    degree = probe.degree
    order = probe.order if degree is None else degree
    if order is None:
        raise ValueError("the lowest order of the function at zero does not show in its values; state its UnitLaw.")
    over_reals = degree is None or probe.broken_homogeneity(degree, FACTORS) is None
    linear = degree == 1 and over_reals
    return UnitLaw(
        zero=True,
        degree=degree,
        field="real" if over_reals else "nonnegative",
        linear=linear,
        smooth=probe.jump is None,
        order=order,
    )


def check_law(name: str, function: Callable[[Array], Array], law: UnitLaw) -> None:
    """Checks a stated law against values of the function.

    A law may state less than holds, except for the order; fewer theorems then apply to the network.

    Args:
        name: the activation's name, for the message.
        function: σ, applied elementwise.
        law: the law to check.

    Raises:
        ValueError: for a law that a value contradicts; the message quotes the value.
    """
    probe = _Probe(function)
    wrong = f"the stated law of {name} is not that of its function:"
    if law.zero and not probe.zero:
        raise ValueError(f"{wrong} it states zero=True, but σ(0) = {probe(0.0):.6g}.")
    if law.degree is not None:
        factors = tuple(a for a in FACTORS if a > 0 or law.field == "real")
        broken = probe.broken_homogeneity(law.degree, factors)
        if broken is not None:
            a, x = broken
            found = f"σ({a:g}·{x:.4g}) = {probe(a * x):.6g} and ({a:g})^{law.degree}·σ({x:.4g}) = "
            raise ValueError(
                f"{wrong} it states degree={law.degree} over {law.field} factors, but {found}"
                f"{a**law.degree * probe(x):.6g}."
            )
    if law.smooth and probe.jump is not None:
        what, x = probe.jump
        raise ValueError(f"{wrong} it states smooth=True, but its {what} jumps at x = {x:.6g}.")
    order = (probe.order if probe.zero else 0) if law.degree is None else law.degree
    # Where the function is zero to rounding its order is undetermined, and nothing contradicts the statement.
    if order is not None and order != law.order:
        h = NEAR_ZERO[-1]
        raise ValueError(
            f"{wrong} it states order={law.order}, but near zero it goes as x^{order}: σ({2 * h:g}) = "
            f"{probe(2 * h):.6g} and σ({h:g}) = {probe(h):.6g}."
        )


class _Probe:
    """Values of a function in double precision, whatever the user's default, and the properties they show."""

    def __init__(self, function: Callable[[Array], Array]):
        with jax.enable_x64(True):
            shape = jax.eval_shape(function, jax.ShapeDtypeStruct((3,), jnp.float64)).shape
        if shape != (3,):
            raise ValueError(f"an activation acts on every entry by itself; 3 entries gave the shape {shape}.")
        self._compiled = quickly_compiled(lambda x: _derivatives(function, x))
        # Zero lies inside an interval, so that a kink there is detected.
        ends = np.linspace(-REACH, REACH, POINTS)
        values = self.values(ends)
        if not np.all(np.isfinite(values)):
            x = float(ends[np.argmin(np.isfinite(values))])
            raise ValueError(f"an activation must be finite everywhere; its value at {x:.4g} is {self(x)}.")
        self.size = float(np.max(np.abs(values)))
        self.jump = self._jump(ends)
        self.zero = abs(self(0.0)) <= AGREEMENT * self.size

    def __call__(self, x: float) -> float:
        """σ(x)."""
        return float(self.values(np.asarray([x], float))[0])

    def values(self, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """σ at every entry."""
        return self._derivatives(np.broadcast_to(x, (3, x.size)))[0]

    def _derivatives(self, x: Float[np.ndarray, "3 m"]) -> Float[np.ndarray, "3 m"]:
        """Value, slope and curvature, each at its own row of points."""
        # Rows of one length, so that one program is compiled.
        padded = np.pad(np.asarray(x, float), ((0, 0), (0, POINTS - x.shape[1])))
        with jax.enable_x64(True), jax.ensure_compile_time_eval():
            return np.asarray(self._compiled(padded))[:, : x.shape[1]]

    def _jump(self, ends: Float[np.ndarray, " n"]) -> tuple[str, float] | None:
        """The lowest of value, slope and curvature that jumps, with the place, or `None`."""
        grid = np.broadcast_to(ends, (3, ends.size))
        values = self._derivatives(grid)
        left, right, at_left, at_right = grid[:, :-1], grid[:, 1:], values[:, :-1], values[:, 1:]
        with np.errstate(invalid="ignore"):
            # Each interval is halved towards the larger change; a change that remains is a jump.
            for _ in range(HALVINGS):
                middle = (left + right) / 2
                at = self._derivatives(middle)
                goes_left = np.abs(at - at_left) >= np.abs(at_right - at)
                left, right = np.where(goes_left, left, middle), np.where(goes_left, middle, right)
                at_left, at_right = np.where(goes_left, at_left, at), np.where(goes_left, at, at_right)
            size = 1 + np.max(np.where(np.isfinite(values), np.abs(values), 0.0), axis=1, keepdims=True)
            change = np.abs(at_right - at_left) / size
        # A derivative that is infinite somewhere jumps there.
        jumps, places = np.where(np.isfinite(change), change, np.inf), (left + right) / 2
        for what, row, where in zip(("value", "slope", "curvature"), jumps, places, strict=True):
            if np.max(row) > JUMP:
                return what, float(where[np.argmax(row)])
        return None

    @property
    def degree(self) -> int | None:
        """The degree of positive homogeneity, or `None`."""
        ratios = np.abs(self.values(2 * SAMPLES)) / np.maximum(np.abs(self.values(SAMPLES)), np.finfo(float).tiny)
        largest = np.max(ratios)
        p = round(float(np.log2(largest))) if 0 < largest < np.inf else 0
        return p if p >= 1 and self.broken_homogeneity(p, tuple(a for a in FACTORS if a > 0)) is None else None

    def broken_homogeneity(self, p: int, factors: tuple[float, ...]) -> tuple[float, float] | None:
        r"""An (α, x) with $\sigma(\alpha x) \ne \alpha^p \sigma(x)$, or `None`."""
        for factor in factors:
            scaled, expected = self.values(factor * SAMPLES), factor**p * self.values(SAMPLES)
            errors = np.abs(scaled - expected) - AGREEMENT * np.maximum(np.abs(scaled), np.abs(expected))
            if np.max(errors) > 0:
                return factor, float(SAMPLES[np.argmax(errors)])
        return None

    @property
    def order(self) -> int | None:
        """The lowest Taylor order at zero of a function with σ(0) = 0, or `None` where values do not determine it."""
        values = np.maximum(np.abs(self.values(NEAR_ZERO)), np.abs(self.values(-NEAR_ZERO)))
        if np.any(values == 0):
            return None
        exponents = np.log2(values[:-1] / values[1:])
        # Higher orders bias exponents far from zero, rounding those close to it: the best agrees with its neighbour.
        best = exponents[np.argmin(np.abs(np.diff(exponents)))]
        p = round(float(best))
        return p if p >= 1 and abs(best - p) < NEAR_INTEGER else None


def _derivatives(function: Callable[[Array], Array], x: Float[Array, "3 m"]) -> Float[Array, "3 m"]:
    slope = lambda x: jax.jvp(function, (x,), (jnp.ones_like(x),))[1]  # noqa: E731
    curvature = jax.jvp(slope, (x[2],), (jnp.ones_like(x[2]),))[1]
    return jnp.stack([function(x[0]), slope(x[1]), curvature])
