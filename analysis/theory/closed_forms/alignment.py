"""Early alignment of small ReLU units: the directions that they turn to before they grow."""

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

# Angles closer than this are one.
ANGLE = 1e-12


class Alignment(eqx.Module):
    r"""Directions that attract small ReLU units of two inputs.

    - `angles`: in [0, 2π), in order;
    - `boundary`: whether it is a kink $u \cdot x_k = 0$, on which units slide, instead of an extremal vector
      $u \parallel \pm D(u)$.
    """

    angles: Float[np.ndarray, " m"]
    boundary: Bool[np.ndarray, " m"]


def early_alignment(x: Float[np.ndarray, "P 2"], y: Float[np.ndarray, " P"], sign: int) -> Alignment:
    r"""The attracting directions of small ReLU units with outgoing weights of one sign.

    While all units are small, $\dot u = v D(u)$ with $D(u) = \langle y_k x_k \rangle_{u \cdot x_k > 0}$, which is
    constant in each sector between the lines $u \cdot x_k = 0$. A direction attracts either as $u \parallel \pm D$
    inside its sector, or as a line to which the fields on both sides lead: a sliding mode of Filippov's.

    **Arguments:** `x`: inputs, with a column of ones if there is a bias; `y`: targets (or residuals); `sign`: of v.

    Source: Maennel, Bousquet & Gelly (2018); Boursier, Pillaud-Vivien & Flammarion (2022).
    """
    if x.shape[1] != 2:
        raise ValueError(f"not applicable: directions are angles for two inputs; there are {x.shape[1]}.")
    if sign not in (1, -1):
        raise ValueError(f"sign must be 1 or -1; got {sign}.")
    turns = 2 * np.pi
    normals = np.arctan2(x[:, 1], x[:, 0])
    kinks = np.sort(np.concatenate([normals - np.pi / 2, normals + np.pi / 2]) % turns)
    kinks = kinks[np.diff(kinks, prepend=kinks[-1] - turns) > ANGLE]
    ends = np.append(kinks[1:], kinks[0] + turns)
    pulls = np.array([_pull(x, y, sign, middle) for middle in (kinks + ends) / 2])
    angles, boundary = [], []
    for k, (start, end) in enumerate(zip(kinks, ends, strict=True)):
        offset = (np.arctan2(pulls[k, 1], pulls[k, 0]) - start) % turns
        if np.any(pulls[k]) and ANGLE < offset < end - start - ANGLE:
            angles.append((start + offset) % turns)
            boundary.append(False)
        # At the sector's start: the sector before must lead forwards to it, this one backwards, or D lie on it.
        along, across = np.array([[np.cos(start), np.sin(start)], [-np.sin(start), np.cos(start)]])
        towards = np.array([pulls[k - 1] @ across, -pulls[k] @ across])
        sizes = np.linalg.norm([pulls[k - 1], pulls[k]], axis=1)
        on_it = (np.abs(towards) <= ANGLE * sizes) & (np.array([pulls[k - 1] @ along, pulls[k] @ along]) > 0)
        if np.all((towards > ANGLE * sizes) | on_it):
            angles.append(start % turns)
            boundary.append(not np.any(on_it))
    order = np.argsort(angles)
    return Alignment(np.array(angles)[order], np.array(boundary, bool)[order])


def _pull(x: np.ndarray, y: np.ndarray, sign: int, angle: float) -> np.ndarray:
    """±D(u) for u at an angle."""
    active = x @ [np.cos(angle), np.sin(angle)] > 0
    return sign * (y * active) @ x / len(x)
