"""Pairs of handwritten digits to tell apart: offline from scikit-learn, or MNIST from a user's own file."""

import gzip
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Array, Float, Int

Labelled = tuple[Float[np.ndarray, "P pixels"], Int[np.ndarray, " P"]]


def digits() -> Labelled:
    """The 1797 handwritten digits of 8 × 8 pixels that scikit-learn ships, with pixels from 0 to 1, and their labels.

    Needs the extra `saddlescope[data]`.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ValueError('the digits come with scikit-learn: pip install "saddlescope[data]".') from error
    images, labels = load_digits(return_X_y=True)
    return images / 16.0, labels.astype(int)


def mnist(path: str | Path) -> Labelled:
    """The training images of MNIST with pixels from 0 to 1, and their labels, from a local copy.

    **Arguments:** `path`: an `.npz` file with `x_train` and `y_train`, or a folder with `train-images-idx3-ubyte` and
    `train-labels-idx1-ubyte`, either of them with or without `.gz`.
    """
    path = Path(path)
    if path.is_dir():
        images, labels = (_idx(_find(path, f"train-{name}-ubyte")) for name in ("images-idx3", "labels-idx1"))
    elif path.suffix == ".npz" and path.exists():
        with np.load(path) as file:
            if not {"x_train", "y_train"} <= set(file.files):
                raise ValueError(f"{path} must hold x_train and y_train; it holds {', '.join(file.files)}.")
            images, labels = file["x_train"], file["y_train"]
    else:
        raise ValueError(f"{path} is neither an .npz file nor a folder of idx files.")
    if len(images) != len(labels):
        raise ValueError(f"{path} holds {len(images)} images and {len(labels)} labels.")
    return images.reshape(len(images), -1) / 255.0, labels.astype(int)


def image_pair(
    images: Float[np.ndarray, "P pixels"], labels: Int[np.ndarray, " P"], first: int, second: int
) -> tuple[Float[Array, "n pixels"], Float[Array, "n 2"]]:
    """The images of two classes, and one-hot targets.

    **Raises:** `ValueError` if a class has no image.

    Source: Zhang, Saxe & Latham (2025), Figure 3.
    """
    for label in (first, second):
        if not np.any(labels == label):
            raise ValueError(f"there is no image of class {label}; there are {sorted(set(labels.tolist()))}.")
    chosen = (labels == first) | (labels == second)
    targets = np.stack([labels[chosen] == first, labels[chosen] == second], axis=1)
    return jax.device_put((images[chosen], targets.astype(float)))


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.exists():
            return candidate
    raise ValueError(f"{folder} holds neither {name} nor {name}.gz.")


def _idx(path: Path) -> np.ndarray:
    """Unsigned bytes in the idx format: a magic number with the number of axes, their sizes, the entries."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path} is not an idx file of unsigned bytes.")
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, 4).astype(int)
    entries = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if entries.size != np.prod(shape):
        raise ValueError(f"{path} is cut off: {entries.size} entries for shape {tuple(shape)}.")
    return entries.reshape(shape)
