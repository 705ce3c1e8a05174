r"""Escape from a saddle at which some layers of a deep network are zero and the others are not."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def bottleneck_escape_time(rate: float, layers: int, start: float, end: float) -> float:
    r"""The time in which r balanced small layers of strength a each grow from a(0) to a.

    Where r layers are small, the loss falls below that of zero layers by a form that is linear in each of them, so that
    equally strong layers along its maximiser follow $\dot a = c\, a^{r-1}$: $t = \ln(a / a_0) / c$ for r = 2 and
    $t = (a_0^{2-r} - a^{2-r}) / ((r - 2) c)$ for more. With $a_0 = \varepsilon$ the time is
    $\Theta(\varepsilon^{-(r-2)})$, whatever the depth. Assumptions: units that are zero at zero weights and enter in
    first order, $\sigma'(0) \ne 0$ or homogeneous of degree 1 (else a layer enters with a higher power), small layers
    of one common scale, and others that do not shrink with it.

    Args:
        rate: c > 0, the form's largest value on unit layers.
        layers: number r of small layers, at least 2.
        start: $a_0 > 0$.
        end: a.

    Returns:
        t.

    Raises:
        ValueError: for fewer than two small layers: with one, zero is no critical point, or the layer's own minimum.

    Source: Rawal & DeWeese (2026), "A theory of saddle escape in deep nonlinear networks", arXiv 2605.01288, for the
        exponent; derived here: the form's linearity in each layer, from which it follows, and the constants.
    """
    if layers < 2:
        raise ValueError(f"a saddle needs at least two small layers; got {layers}.")
    if layers == 2:
        return math.log(end / start) / rate
    return (start ** (2 - layers) - end ** (2 - layers)) / ((layers - 2) * rate)


def bottleneck_rate(cross: Float[np.ndarray, "outputs inputs"], blocks: Sequence[Float[np.ndarray, "_ _"]]) -> float:
    r"""The largest value c of a deep linear network's form on small layers of Frobenius norm one each.

    With the layers between the small ones multiplied into blocks, $f = B_r A_r B_{r-1} \cdots A_1 B_0$, the form is
    $\mathrm{tr}(\Sigma_{yx}^\top B_r A_r \cdots A_1 B_0)$, and its maximum over unit A_i, which layers of rank one
    attain, is $c = \|B_r^\top \Sigma_{yx} B_0^\top\| \prod_{0 < j < r} \|B_j\|$ in spectral norms.

    Args:
        cross: $\Sigma_{yx}$, in the loss's own time.
        blocks: $B_0, \dots, B_r$ from the inputs up, identities where no layer lies between.

    Returns:
        c.

    Source: derived here; for no other layers it is Jacot et al. (2021).
    """
    first, *between, last = blocks
    return float(np.linalg.norm(last.T @ cross @ first.T, 2) * math.prod(np.linalg.norm(each, 2) for each in between))
