"""The lowest order at which the loss changes along the null space of a Hessian, and the steepest way down."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from ..flows import GradientFlow
from .curvature import Spectrum
from .scales import Scales

# Random directions that tell a form that vanishes from one that does not, and starts of the search for its least value.
PROBES, STARTS = 8, 24
# A form below this share of its natural size L/‖θ‖ᵖ is zero: derivatives by differentiation are exact to rounding.
ZERO_FORM = 1e-9
# A position known to δ, with a true quartic, shows eigenvalues 12 F₄ δ² and a third-order form 4 F₄ δ; four times that
# is still no cubic.
OFF_CENTRE = 4.0


class LowestForm(eqx.Module):
    r"""$L = L^* + s^p F_p(d) + \dots$ along a null direction d, the other coordinates relaxed.

    $F_p$ is the first form that does not vanish on the null space; relaxing means that $\nabla L$ has no component
    outside it, so that the coupling between the two enters $F_4$ and higher forms.

    - `order`: p, or `None` where no form up to the examined order differs from zero.
    - `lowest`, `highest`: the extreme values of $F_p$ on the unit sphere of the null space that were found.
    - `direction`: the unit vector with the lowest, the direction of steepest escape where that is negative.
    - `examined`: the highest order that was looked at; `dimension`: of the null space.

    Source: the reduction of Lyapunov and Schmidt; the escape from degenerate saddles is that of Jacot et al. (2021).
    """

    order: int | None
    lowest: float
    highest: float
    direction: Float[np.ndarray, " n"] | None
    examined: int
    dimension: int

    @property
    def falls(self) -> bool:
        """Whether the loss falls along some null direction at the lowest order."""
        return self.order is not None and self.lowest < -self._small

    @property
    def rises(self) -> bool:
        """Whether the loss rises at the lowest order along every null direction that the search saw."""
        return self.order is not None and self.lowest > self._small

    @property
    def _small(self) -> float:
        # The search ends within 1e-6 of a zero of a semidefinite form, where its value is the square of that.
        return 1e-6 * max(abs(self.lowest), abs(self.highest))

    def __str__(self) -> str:
        if self.order is None:
            return f"the loss does not change up to order {self.examined}"
        values = f"F_{self.order} from {self.lowest:.4g} to {self.highest:.4g} on the unit sphere of {self.dimension}"
        return f"the loss changes at order {self.order}, {values} dimension{'s' if self.dimension > 1 else ''}"

    @property
    def rate(self) -> float | None:
        r"""$c = -p F_p$ of $\dot r = c\,r^{p-1}$ on the steepest direction; `None` where the loss does not fall."""
        return -self.order * self.lowest if self.order is not None and self.falls else None


@eqx.filter_jit
def _form(
    flow: GradientFlow,
    theta: Array,
    inverse: tuple[Array, Array],
    data: Any,
    direction: Array,
    order: int,
    coupled: bool,
) -> tuple[Array, Array]:
    """F_p(d) and its gradient in d: the Taylor coefficient of the relaxed loss, by nested forward derivatives."""
    vectors, inverses = inverse

    def relaxed(s: Array, direction: Array) -> Array:
        point = theta + s * direction
        # Each correction with the fixed Hessian gains one order of s in position, hence two in the loss.
        for _ in range(order // 2 - 1 if coupled else 0):
            gradient = jax.grad(flow.value)(point, data)
            point = point - vectors @ (inverses * (vectors.T @ gradient))
        return flow.value(point, data)

    def value(direction: Array) -> Array:
        along, factorial = lambda s: relaxed(s, direction), 1.0
        for k in range(order):
            along = lambda s, inner=along: jax.jvp(inner, (s,), (jnp.ones_like(s),))[1]  # noqa: E731
            factorial *= k + 1
        return along(jnp.zeros((), theta.dtype)) / factorial

    return jax.value_and_grad(value)(direction)


def lowest_form(
    model: Any,
    theta: Float[np.ndarray, " n"],
    loss: Callable,
    data: Any,
    spectral: Spectrum,
    *,
    basis: Float[np.ndarray, "n k"] | None = None,
    scales: Scales | None = None,
    max_order: int = 6,
    search: bool = True,
) -> LowestForm:
    """The first form of the loss that does not vanish on the null space, with its extreme values.

    **Arguments:** `model`, `theta`: the critical point; `loss`, `data`; `spectral`: its spectrum; `basis`: of the part
    of the null space to look at, as orthonormal columns (by default all of it; along orbits of symmetries the loss does
    not change, so that they can be left out); `scales`: sizes that count as large; `max_order`: the last order tried;
    `search`: look for the extreme values, beyond those met in telling the order.

    The extremes are the best of 24 local searches, not certified.
    """
    scales = Scales() if scales is None else scales
    basis = spectral.null_space if basis is None else basis
    kept = np.abs(spectral.eigenvalues) > spectral.zero_threshold
    inverses = np.where(kept, 1 / np.where(kept, spectral.eigenvalues, 1.0), 0.0)
    inverse = jnp.asarray(spectral.eigenvectors), jnp.asarray(inverses)
    flow, point, coupled = GradientFlow(model, loss), jnp.asarray(theta), bool(np.any(kept))
    if basis.shape[1] == 0:
        return LowestForm(None, 0.0, 0.0, None, max_order, 0)

    def at(c: np.ndarray, order: int) -> tuple[float, np.ndarray]:
        """F_p and its gradient as a function of coefficients in the null space, made homogeneous of degree zero."""
        norm = np.linalg.norm(c)
        parts = _form(flow, point, inverse, data, jnp.asarray(basis @ (c / norm)), order, coupled)
        value, gradient = float(parts[0]), np.asarray(parts[1])
        return value, (basis.T @ gradient - order * value * c / norm) / norm

    starts = np.random.default_rng(0).standard_normal((STARTS, basis.shape[1]))
    natural = scales.loss / scales.weight ** np.arange(max_order + 2)

    def size(order: int) -> float:
        return max(abs(at(c, order)[0]) for c in starts[:PROBES])

    for order in range(3, max_order + 1):
        found = size(order)
        if order == 3 and found > ZERO_FORM * natural[3] and spectral.largest_zero > 0:
            # Beside a quartic critical point, as well as it can be located, the third form is not quite zero.
            off_centre = OFF_CENTRE * np.sqrt(size(4) * spectral.largest_zero)
            found = found if found > off_centre else 0.0
        if found > ZERO_FORM * natural[order]:
            form = lambda c, p=order: at(c, p)  # noqa: E731
            lowest, highest, best = (_extremes if search else _met)(form, starts, order % 2 == 1)
            return LowestForm(order, lowest, highest, basis @ best, max_order, basis.shape[1])
    return LowestForm(None, 0.0, 0.0, None, max_order, basis.shape[1])


def _met(form: Callable, starts: np.ndarray, odd: bool) -> tuple[float, float, np.ndarray]:
    """The lowest and highest value on a few directions, both ways, and where the lowest is."""
    directions = np.concatenate([starts[:PROBES], -starts[:PROBES]])
    values = [form(c)[0] for c in directions]
    best = directions[int(np.argmin(values))]
    return min(values), max(values), best / np.linalg.norm(best)


def _extremes(form: Callable, starts: np.ndarray, odd: bool) -> tuple[float, float, np.ndarray]:
    """The lowest and highest value on the sphere, and where the lowest is."""
    # On a sphere of two points there is nothing to search.
    if starts.shape[1] == 1:
        return _met(form, starts, odd)
    scale = max(abs(form(c)[0]) for c in starts[:PROBES])

    def search(sign: float) -> tuple[float, np.ndarray]:
        objective = lambda c: tuple(sign * part / scale for part in form(c))  # noqa: E731
        found = [minimize(objective, c, jac=True, method="BFGS", options={"gtol": 1e-10}) for c in starts]
        best = min(found, key=lambda result: result.fun)
        return sign * scale * float(best.fun), best.x / np.linalg.norm(best.x)

    lowest, where = search(1.0)
    return lowest, -lowest if odd else search(-1.0)[0], where
