"""Files that are written whole or not at all: arrays with a JSON header, without pickles, and whatever else."""

import json
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped


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
    """
    with replacing(path) as temporary, open(temporary, "wb") as file:
        (np.savez_compressed if compress else np.savez)(file, header=json.dumps(header), **arrays)  # pyright: ignore


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
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files if name != "header"}
        kind, found = header["kind"], header["format"]
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a saved {what}.") from error
    if kind != what:
        raise ValueError(f"{path} is a saved {kind}, not a saved {what}.")
    if found != version:
        raise ValueError(f"{path} has format {found}; this version reads {version}.")
    return header, arrays
