"""Addition modulo p, on cyclic shifts of a template with a given spectrum."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from .synthetic import Pair


def fourier_template(
    length: int, amplitudes: Mapping[int, float], *, key: PRNGKeyArray | None = None
) -> Float[np.ndarray, " length"]:
    r"""A real template of given $|\hat x(\xi)|$ and zero mean.

    Args:
        length: p.
        amplitudes: $|\hat x|$ by frequency, 1 to p/2.
        key: draws the phases, by default 0.

    Returns:
        The template.

    Raises:
        ValueError: when a frequency is out of its range.
    """
    frequencies = list(amplitudes)
    if not all(1 <= frequency <= length // 2 for frequency in frequencies):
        raise ValueError(f"frequencies must lie between 1 and {length // 2}; got {frequencies}.")
    phases = np.zeros(len(frequencies))
    if key is not None:
        phases = np.asarray(jax.random.uniform(key, (len(frequencies),), maxval=2 * np.pi))
    spectrum = np.zeros(length // 2 + 1, complex)
    spectrum[frequencies] = np.array(list(amplitudes.values())) * np.exp(1j * phases)
    if length % 2 == 0:
        # The highest frequency of an even length is real.
        spectrum[-1] = np.abs(spectrum[-1])
    return np.fft.irfft(spectrum, length)


def modular_addition(template: Float[np.ndarray, " p"]) -> Pair:
    r"""All p² sums modulo p, on cyclic shifts of a template: inputs $[x_a, x_b]$, targets $x_{a + b}$.

    Args:
        template: the p entries of the shift by zero.

    Returns:
        Inputs and targets.

    Source: Kunin et al. (2025), Section 6.
    """
    p = len(template)
    shifts = np.stack([np.roll(template, a) for a in range(p)])
    a, b = np.divmod(np.arange(p * p), p)
    return jax.device_put((np.concatenate([shifts[a], shifts[b]], axis=1), shifts[(a + b) % p]))
