"""Files that are written whole or not at all: arrays with a JSON header, without pickles, and whatever else."""

import json
import zipfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from ..models.arguments import file_path

# Of all arrays together: a trajectory keeps 160 MB of weights, and what is recorded beside them is less than that.
MOST_BYTES = 2**32


@contextmanager
def replacing(path: str | Path, *, ending: str = ".part") -> Generator[Path, None, None]:
    """Yields a temporary path beside `path`, which takes its place once the block has ended without an error.

    Args:
        path: the file to write; a former one stays as it is until then, and for good if anything goes wrong.
        ending: of the temporary file's name; writers that may meet each take their own.

    Yields:
        The path to write to, in the same folder.

    Raises:
        OSError: when the file cannot be written: the disk is full, the folder is missing, the target is a folder.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ending)
    try:
        if path.is_dir():
            raise OSError("it is a folder")
        yield temporary
        temporary.replace(path)
    except OSError as error:
        failure = OSError(f"cannot write {path}: {(reason := error.strerror or str(error))}.")
        failure.strerror = reason  # for those who name the file themselves
        raise failure from error
    finally:
        # After success there is none.
        with suppress(OSError):
            temporary.unlink()


def write(
    path: str | Path, header: dict[str, Any], arrays: dict[str, Shaped[np.ndarray, "..."]], *, compress: bool
) -> None:
    """Writes one `.npz` file of arrays with a JSON header, like `replacing`.

    Args:
        path: the file; an old one is replaced once the new one is complete.
        header: values that JSON can hold.
        arrays: arrays by name; the name `header` is taken.
        compress: whether to spend time on a smaller file.

    Raises:
        ValueError: for a header that JSON cannot hold.
    """
    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the header must hold what JSON can: {error}.") from error
    with replacing(path) as temporary, open(temporary, "wb") as file:
        (np.savez_compressed if compress else np.savez)(file, header=text, **arrays)  # pyright: ignore


def _unpacked(path: Path) -> tuple[dict[str, Any], dict[str, Shaped[np.ndarray, "..."]]]:
    """Header and arrays; nothing is executed, and no more than `MOST_BYTES` are unpacked."""
    with zipfile.ZipFile(path) as packed:
        if sum(member.file_size for member in packed.infolist()) > MOST_BYTES:
            raise ValueError("it holds more than a trajectory does")
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(str(file["header"]))
        return header, {name: file[name] for name in file.files if name != "header"}


def read(path: str | Path, what: str, version: int) -> tuple[dict[str, Any], dict[str, Shaped[np.ndarray, "..."]]]:
    """Reads the header and the arrays of a file that `write` wrote.

    Args:
        path: the file.
        what: the kind of file, as its header names it.
        version: the format that can be read.

    Returns:
        The header and the arrays by name.

    Raises:
        ValueError: when the file is not of this kind and version.
    """
    path = file_path(f"a saved {what}", path)
    # Of a pipe or a device the end may never come.
    if not path.is_file():
        where = "is no file" if path.exists() else "does not exist"
        raise ValueError(f"{path} is not a saved {what}: it {where}.")
    try:
        header, arrays = _unpacked(path)
        kind, found = header["kind"], header["format"]
    except Exception as error:  # what somebody else wrote can fail in any way
        raise ValueError(f"{path} is not a saved {what}, or it is damaged.") from error
    if kind != what:
        raise ValueError(f"{path} is a saved {str(kind)[:40]}, not a saved {what}.")
    if found != version:
        raise ValueError(f"{path} has format {str(found)[:40]}; this version reads {version}.")
    return header, arrays
