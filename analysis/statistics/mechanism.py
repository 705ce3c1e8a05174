"""Whether the data or the initial weights set how long plateaus last, by the law of their dwell times in ε."""

import math
from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from .laws import LawFit, fit_law

# Logarithm of a ratio of likelihoods beyond which one law is preferred: twenty to one.
DECIDED = math.log(20)


class Mechanism(eqx.Module):
    """Which of two laws dwell times follow as the initialisation scale falls.

    Attributes:
        name: "data" for ln 1/ε, "initialisation" for a power of 1/ε, "undetermined" where neither is twenty times as
            likely as the other.
        power: the fit of a power of 1/ε.
        logarithm: the fit of a line in ln 1/ε.
    """

    name: Literal["data", "initialisation", "undetermined"] = eqx.field(static=True)
    power: LawFit
    logarithm: LawFit

    def __str__(self) -> str:
        evidence = self.logarithm.log_likelihood - self.power.log_likelihood
        return (
            f"mechanism: {self.name} (likelihood of ln 1/ε over that of a power: e^{evidence:.1f})\n"
            f"  power of 1/ε: {self.power}\n"
            f"  line in ln 1/ε: {self.logarithm}"
        )


def mechanism(
    scales: Float[np.ndarray, " K"],
    times: Float[np.ndarray, "K B"],
    censored: Bool[np.ndarray, "K B"] | None = None,
    *,
    confidence: float = 0.95,
) -> Mechanism:
    r"""Whether data or initial weights set dwell times.

    Where units enter linearly near a saddle, weights grow as $e^{st}$ at rates s that the data give: a plateau lasts
    $\Delta(1/s) \ln(1/\varepsilon)$, whatever the seed, up to a shift that does not depend on ε. All units grow along
    one direction, and each transition raises a rank. Where they enter at higher order p, a unit grows as
    $\dot r = c\, r^{p-1}$, and times are $\varepsilon^{2-p}$ times a factor that the sizes of the initial weights
    give, whatever ε. Both laws have an intercept, a slope and one spread: their likelihoods compare as they are.

    Args:
        scales: initialisation scales ε.
        times: dwell times of one plateau, one row per scale and one column per seed; NaN where there is none.
        censored: which are lower bounds; by default none.
        confidence: level of the intervals.

    Returns:
        The mechanism with both fits.

    Source: Zhang, Saxe & Latham (2025), Theorem 4 and Proposition 5, for the laws; derived here: the comparison.
    """
    power = fit_law(1 / scales, times, censored, law="power", confidence=confidence)
    logarithm = fit_law(1 / scales, times, censored, law="logarithm", confidence=confidence)
    evidence = logarithm.log_likelihood - power.log_likelihood
    preferred = "data" if evidence > 0 else "initialisation"
    return Mechanism(name=preferred if abs(evidence) > DECIDED else "undetermined", power=power, logarithm=logarithm)
