"""Pairs of handwritten digits to tell apart, offline from scikit-learn."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int

Labelled = tuple[Float[np.ndarray, "P pixels"], Int[np.ndarray, " P"]]


def digits() -> Labelled:
    """The 1797 handwritten digits of 8 × 8 pixels that scikit-learn ships.

    Needs the extra `saddlescope[data]`.

    Returns:
        Images with pixels from 0 to 1, and their labels.

    Raises:
        ValueError: when scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ValueError('the digits come with scikit-learn: pip install "saddlescope[data]".') from error
    images, labels = load_digits(return_X_y=True)
    return np.asarray(images) / 16.0, np.asarray(labels).astype(int)


def image_pair(
    images: Float[np.ndarray, "P pixels"], labels: Int[np.ndarray, " P"], first: int, second: int
) -> tuple[Float[Array, "n pixels"], Float[Array, "n 2"]]:
    """The images of two classes.

    Args:
        images: images of all classes, one per row.
        labels: their classes.
        first: class whose target is (1, 0).
        second: class whose target is (0, 1).

    Returns:
        The images of the two classes, in their order, and one-hot targets.

    Raises:
        ValueError: when a class has no image.

    Source: Zhang, Saxe & Latham (2025), Figure 3.
    """
    for label in (first, second):
        if not np.any(labels == label):
            raise ValueError(f"there is no image of class {label}; there are {sorted(set(labels.tolist()))}.")
    chosen = (labels == first) | (labels == second)
    targets = np.stack([labels[chosen] == first, labels[chosen] == second], axis=1)
    return jax.device_put((images[chosen], targets.astype(float)))
