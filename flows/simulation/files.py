"""Files of arrays with a JSON header, written whole or not at all; no pickles."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def write(path: str | Path, header: dict[str, Any], arrays: dict[str, np.ndarray], *, compress: bool) -> None:
    """Writes one `.npz` file beside the old one and then puts it in its place."""
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    with open(temporary, "wb") as file:
        (np.savez_compressed if compress else np.savez)(file, header=json.dumps(header), **arrays)  # pyright: ignore
    temporary.replace(path)


def read(path: str | Path, what: str, version: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays; a `ValueError` for a file that is not of this kind and version.

    **Arguments:** `what`: the kind, as the header names it; `version`: the format that can be read.
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
