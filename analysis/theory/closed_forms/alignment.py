"""Early alignment of small ReLU units: the directions to which they turn before they grow."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

# Angles closer than this are equal; components of a field below this share of its norm are zero.
ANGLE = 1e-12


class Alignment(eqx.Module):
    r"""Directions that attract small ReLU units of two inputs.

    Attributes:
        angles: of the directions, in [0, 2π), increasing.
        boundary: whether a direction is a kink $u \cdot x_k = 0$, along which units slide, instead of an extremal
            vector $u \parallel \pm D(u)$.
    """

    angles: Float[np.ndarray, " m"]
    boundary: Bool[np.ndarray, " m"]

    def __str__(self) -> str:
        lines = [f"small units turn to {len(self.angles)} direction{'s' if len(self.angles) != 1 else ''}"]
        for angle, boundary in zip(self.angles, self.boundary, strict=True):
            what = "a kink, along which units slide" if boundary else "an extremal vector"
            lines.append(f"angle {angle:.5g}: {what}")
        return "\n".join(lines)


def early_alignment(x: Float[np.ndarray, "P two"], y: Float[np.ndarray, " P"], sign: int) -> Alignment:
    r"""The attracting directions of small ReLU units with outgoing weights of one sign.

    While all units are small, $\dot u = v D(u)$ with $D(u) = \langle y_k x_k 1_{u \cdot x_k > 0} \rangle$, which is
    constant in each sector between the lines $u \cdot x_k = 0$. A direction attracts either as $u \parallel \pm D$
    inside its sector, or as a line to which the fields on both sides lead: a sliding mode of Filippov's.

    Args:
        x: inputs, two columns, one of which is constant if there is a bias.
        y: targets (or residuals).
        sign: of v, 1 or -1.

    Returns:
        The directions.

    Raises:
        ValueError: if there are not two inputs, or the sign is neither 1 nor -1.

    Source: Maennel, Bousquet & Gelly (2018); Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    if x.shape[1] != 2:
        raise ValueError(f"not applicable: directions are angles for two inputs; there are {x.shape[1]}.")
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1; got {sign}.")
    full = 2 * np.pi
    kinks = _kinks(x)
    ends = np.append(kinks[1:], kinks[0] + full)
    fields = np.array([_field(x, y, sign, middle) for middle in (kinks + ends) / 2])
    angles, boundary = [], []
    for k, (start, end) in enumerate(zip(kinks, ends, strict=True)):
        offset = (np.arctan2(fields[k, 1], fields[k, 0]) - start) % full
        if np.any(fields[k]) and ANGLE < offset < end - start - ANGLE:
            angles.append((start + offset) % full)
            boundary.append(False)
        attracting, extremal = _attraction(start, fields[k - 1], fields[k])
        if attracting:
            angles.append(start % full)
            boundary.append(not extremal)
    order = np.argsort(angles)
    return Alignment(angles=np.array(angles)[order], boundary=np.array(boundary, bool)[order])


def _kinks(x: np.ndarray) -> np.ndarray:
    """Angles in [0, 2π) at which u·x_k = 0 for some k, increasing, equal ones once."""
    full = 2 * np.pi
    normals = np.arctan2(x[:, 1], x[:, 0])
    kinks = np.sort(np.concatenate([normals - np.pi / 2, normals + np.pi / 2]) % full)
    return kinks[np.diff(kinks, prepend=kinks[-1] - full) > ANGLE]


def _field(x: np.ndarray, y: np.ndarray, sign: int, angle: float) -> np.ndarray:
    """±D(u) for u at an angle."""
    active = x @ [np.cos(angle), np.sin(angle)] > 0
    return sign * (y * active) @ x / len(x)


def _attraction(angle: float, before: np.ndarray, after: np.ndarray) -> tuple[bool, bool]:
    """Whether a kink attracts, and whether it does so because a field beside it is parallel to it.

    The field of the sector before must lead forwards to the kink, that of the sector after backwards, or lie on it.

    Args:
        angle: of the kink.
        before: the field of the sector that ends at the kink.
        after: the field of the sector that starts at the kink.

    Returns:
        Both answers.
    """
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    towards = np.array([before @ across, -after @ across])
    norms = np.linalg.norm([before, after], axis=1)
    on_it = (np.abs(towards) <= ANGLE * norms) & (np.array([before @ along, after @ along]) > 0)
    return bool(np.all((towards > ANGLE * norms) | on_it)), bool(np.any(on_it))
