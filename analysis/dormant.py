"""How the loss depends on one more, small unit: the form that governs escape through dormant units."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Array, Float

from ..models import declared_units, incoming, outgoing, with_units

# Random starts for the maximiser besides the ones given: the forms met here have a handful of local maxima.
STARTS = 24
SEED = 0
# Simplex search polishes maxima on kinks in up to this many dimensions; beyond it is too slow to help.
POLISH_LIMIT = 12
# As good as zero, but on one side of it.
BESIDE_ZERO = 1e-30
# Two maximisers are one if the cosine between them falls short of one by less than this.
ALIKE = 1e-4


class DormantForm(eqx.Module):
    r"""The lowest-order change of the loss when a small unit (u, v) is added: $F_p(u, v) = -\langle M(u), v \rangle$.

    $M(u) = -\partial L / \partial v$ at $v = 0$, to its lowest order $q = p - 1$ in u.

    - `order`: p; `strength`: $s = \max_{\|u\| = 1} \|M(u)\|$, zero where no small unit lowers the loss.
    - `incoming`, `outgoing`: unit vectors $u$ and $v = M(u) / \|M(u)\|$ at the maximum, or `None` for s = 0.
    - `maximisers`: all maximisers $(\hat u, \hat v)$ found whose strength is within 1e-6 of the largest, as
      directions of steepest descent $[\sqrt{q} \hat u, \hat v] / \sqrt{q + 1}$, one row each.

    Source: Zhang, Saxe & Latham (2025), Section 5 and Appendices C, G, H.
    """

    order: int
    strength: float
    incoming: Float[np.ndarray, " Nu"] | None
    outgoing: Float[np.ndarray, " Nv"] | None
    maximisers: Float[np.ndarray, "m Nu+Nv"]

    @property
    def rate(self) -> float:
        r"""$c$ in $\dot r = c\, r^{p-1}$ for a unit of norm r on the steepest direction; for p = 2 the escape rate.

        The steepest direction has $\|u\|^2 = q/p$, $\|v\|^2 = 1/p$ and $F_p = -U$ with $U = s (q/p)^{q/2} p^{-1/2}$;
        $c = pU$.
        """
        p, q = self.order, self.order - 1
        return self.strength * (q / p) ** (q / 2) * p**0.5


def added_unit_gradient(narrow: Any, loss: Callable, data: Any, layer: int = 0) -> Callable[[Array], Array]:
    r"""The function $u \mapsto M(u) = -\partial L / \partial v$ at $v = 0$ of a unit added to a layer of a network."""
    u_rows, v_rows = incoming(narrow, layer), outgoing(narrow, layer)

    def gain(u: Float[Array, " Nu"]) -> Float[Array, " Nv"]:
        def value(v):
            return loss(with_units(narrow, jnp.vstack([u_rows, u]), jnp.vstack([v_rows, v]), layer), data)

        return -jax.grad(value)(jnp.zeros(v_rows.shape[1], v_rows.dtype))

    return gain


def _taylor(function: Callable[[Array], Array], order: int, at: float) -> Callable[[Array], Array]:
    """The Taylor term of the given order along a ray, at `at` times the vector, as a function of the vector."""

    def term(u):
        along = lambda s: function(s * u)  # noqa: E731
        factorial = 1
        for k in range(order):
            along = lambda s, inner=along: jax.jvp(inner, (s,), (jnp.ones_like(s),))[1]  # noqa: E731
            factorial *= k + 1
        return along(jnp.asarray(at, u.dtype)) / factorial

    return term


@eqx.filter_jit
def _lowest_order(narrow, loss, data, u):
    law = declared_units(narrow).law
    gain = added_unit_gradient(narrow, loss, data)
    if law.smooth:
        return _taylor(gain, law.order, 0.0)(u)
    # What is homogeneous is its own lowest term; else the side of a kink at zero counts on which u is.
    return (gain if law.degree is not None else _taylor(gain, law.order, BESIDE_ZERO))(u)


@eqx.filter_jit
def _objective(narrow, loss, data, u):
    def negative_log(w):
        return -0.5 * jnp.log(jnp.sum(_lowest_order(narrow, loss, data, w / jnp.linalg.norm(w)) ** 2) + 1e-300)

    return jax.value_and_grad(negative_log)(u)


@eqx.filter_jit
def _linear_form(narrow, loss, data, zero):
    return jax.jacfwd(lambda u: _lowest_order(narrow, loss, data, u))(zero)


def dormant_form(
    narrow: Any, loss: Callable, data: Any, *, starts: Float[np.ndarray, "k Nu"] | None = None
) -> DormantForm:
    """The lowest-order form of an added unit, and its steepest directions.

    **Arguments:** `narrow`: the critical network, without the dormant units; `starts`: incoming parameters from which
    to search besides random ones, such as the units of the flow itself.

    **Raises:** `ValueError` if φ(z; 0) = 0 does not hold: there is no small unit then.
    """
    law = declared_units(narrow).law
    if not law.zero:
        raise ValueError("the unit's law has no zero: a unit cannot be added with small effect.")
    size = incoming(narrow).shape[1]
    if law.order == 1 and law.smooth:
        matrix = np.asarray(_linear_form(narrow, loss, data, jnp.zeros(size, incoming(narrow).dtype)))
        left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
        top = sizes >= sizes[0] * (1 - 1e-6)
        pairs = [(u, v) for u, v in zip(right[top], left.T[top], strict=True)]
        strength = float(sizes[0])
    else:
        found = _search(narrow, loss, data, size, starts)
        strength = found[0][0] if found else 0.0
        pairs = [(u, v / value) for value, u, v in found if value >= strength * (1 - 1e-6)]
    p, rows = law.order + 1, [_steepest(u, v, law.order) for u, v in pairs]
    if strength == 0:
        return DormantForm(p, 0.0, None, None, np.zeros((0, size + outgoing(narrow).shape[1])))
    return DormantForm(p, strength, pairs[0][0], pairs[0][1], np.stack(rows))


def _steepest(u: np.ndarray, v: np.ndarray, order: int) -> np.ndarray:
    """The unit vector along (u, v), both of norm one, on which the form of order q in u falls most steeply."""
    return np.concatenate([np.sqrt(order) * u, v]) / np.sqrt(order + 1)


def local_maximisers(
    narrow: Any, loss: Callable, data: Any, *, starts: Float[np.ndarray, "k Nu"] | None = None
) -> list[tuple[float, Float[np.ndarray, " Nu+Nv"]]]:
    r"""All local maximisers of $\|M(u)\|$ on the unit sphere that were found, strongest first.

    Each is an exit of its own: a small unit near it stays near it as it grows.

    **Arguments:** as for `dormant_form`. **Returns:** strengths, and directions of steepest descent.
    """
    distinct = _distinct(_search(narrow, loss, data, incoming(narrow).shape[1], starts))
    distinct = _distinct(sorted(_polished(narrow, loss, data, distinct), key=lambda item: -item[0])) or distinct
    order = declared_units(narrow).law.order
    return [(strength, _steepest(u, v / strength, order)) for strength, u, v in distinct]


def _distinct(found):
    """Those that are not alike one before them."""
    kept = []
    for strength, u, v in found:
        if all(u @ other + v @ image / (strength * size) < 2 - ALIKE for size, other, image in kept):
            kept.append((strength, u, v))
    return kept


def steepness(narrow: Any, loss: Callable, data: Any, direction: Float[np.ndarray, " Nu+Nv"]) -> float:
    r"""$-F_p(u, v) = \langle M(u), v \rangle$ for an added unit of the given parameters."""
    size = incoming(narrow).shape[1]
    return float(_lowest_order(narrow, loss, data, jnp.asarray(direction[:size])) @ direction[size:])


def _search(narrow, loss, data, size, starts):
    """(‖M(u)‖, u, M(u)) at local maxima on the sphere, largest first, by quasi-Newton ascent of the logarithm."""
    random = np.random.default_rng(SEED).standard_normal((STARTS, size))
    starts = random if starts is None else np.vstack([starts, random])
    norms = np.linalg.norm(starts, axis=1, keepdims=True)
    objective = _objective_of(narrow, loss, data)

    found = []
    for start in (starts / np.where(norms > 0, norms, 1.0))[norms[:, 0] > 0]:
        if _image(narrow, loss, data, start)[0] == 0:
            continue  # a dead direction: the objective is flat there
        ascended = scipy.optimize.minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x
        found.append(_image(narrow, loss, data, ascended))
    found = [item for item in found if np.isfinite(item[0]) and item[0] > 0]
    found.sort(key=lambda item: -item[0])
    return sorted(found + _polished(narrow, loss, data, found[:3]), key=lambda item: -item[0])


def _objective_of(narrow, loss, data):
    return lambda w: tuple(np.asarray(value, dtype=float) for value in _objective(narrow, loss, data, jnp.asarray(w)))


def _image(narrow, loss, data, w):
    """(‖M(u)‖, u, M(u)) for u along w."""
    u = w / np.linalg.norm(w)
    value = np.asarray(_lowest_order(narrow, loss, data, jnp.asarray(u)))
    return float(np.linalg.norm(value)), u, value


def _polished(narrow, loss, data, found):
    """Maxima from which quasi-Newton steps stalled: where samples of either sign meet, they sit on a kink."""
    size = incoming(narrow).shape[1]
    if declared_units(narrow).law.smooth or size > POLISH_LIMIT:
        return []
    objective = _objective_of(narrow, loss, data)
    options = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 400 * size}
    ends = (
        scipy.optimize.minimize(lambda w: objective(w)[0], u, method="Nelder-Mead", options=options).x
        for _, u, _ in found
    )
    return [_image(narrow, loss, data, end) for end in ends]
