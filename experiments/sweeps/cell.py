"""One cell of a sweep as one file: labelled arrays with a header and a checksum, without pickles."""

import hashlib
import json
import uuid
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from ...flows.files import replacing
from .configuration import Configuration, from_canonical

if TYPE_CHECKING:
    import xarray as xr

# Format of the file; rises when older versions could not read it.
KIND, FORMAT = "cell of a sweep", 1
# Rises when a variable of the cells changes its meaning; variables may be added without.
SCHEMA = 1
Arrays = dict[str, Shaped[np.ndarray, "..."]]


class DamagedCell(ValueError):
    """A file that is no whole cell: truncated, corrupted, or of another configuration than its name says."""


def temporary_ending() -> str:
    """The end of a temporary file's name that no other writer uses, on whatever machine."""
    return f".{uuid.uuid4().hex[:12]}.part"


def save_cell(path: Path, configuration: Configuration, dataset: "xr.Dataset", provenance: dict[str, Any]) -> None:
    """Writes one cell beside its place and renames it into it.

    The file is an ordinary `.npz`, its header JSON. Its bytes depend on nothing but the arguments.

    Args:
        path: the file.
        configuration: what the cell is of.
        dataset: its labelled arrays, with a dimension `seed`.
        provenance: the versions and the commit that computed it.

    Raises:
        ValueError: when the arrays are not those of the configuration's seeds, or hold objects.
    """
    arrays = {str(name): _plain(str(name), variable.values) for name, variable in dataset.variables.items()}
    if dataset.sizes.get("seed") != len(configuration.seeds):
        raise ValueError(f"a cell has a dimension seed of {len(configuration.seeds)}; got {dict(dataset.sizes)}.")
    arrays["seed"] = np.array(configuration.seeds, np.int64)
    header = {
        "kind": KIND,
        "format": FORMAT,
        "schema": SCHEMA,
        "configuration": configuration.canonical,
        "dims": {**{str(name): list(map(str, v.dims)) for name, v in dataset.variables.items()}, "seed": ["seed"]},
        "coords": sorted({*map(str, dataset.coords), "seed"}),
        **provenance,
    }
    text = json.dumps({**header, "checksum": _checksum(header, arrays)}, sort_keys=True)
    with replacing(path, ending=temporary_ending()) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=text, **arrays)  # pyright: ignore[reportArgumentType]


def load_cell(path: Path) -> "xr.Dataset":
    """Reads one cell.

    Args:
        path: the file.

    Returns:
        Its labelled arrays; configuration (JSON), versions (JSON) and commit are attributes. A file that is no whole
        cell raises `DamagedCell`, one of a later format another `ValueError`.
    """
    import xarray as xr

    header, arrays = _read(path)
    variables = {name: (tuple(header["dims"][name]), array) for name, array in arrays.items()}
    attributes = {"schema": header["schema"], "commit": header["commit"]}
    attributes |= {name: json.dumps(header[name], sort_keys=True) for name in ("configuration", "versions")}
    return xr.Dataset(variables, attrs=attributes).set_coords(header["coords"])


def read_header(path: Path) -> dict[str, Any]:
    """The header of a whole cell: everything but its arrays; raises like `load_cell`."""
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Any], Arrays]:
    try:
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]))
            arrays = {name: file[name] for name in file.files if name != "header"}
        kind, version, checksum = header["kind"], header["format"], header.pop("checksum")
        if kind == KIND and version > FORMAT:
            raise _UnknownFormat(f"{path} has format {version}; this version reads {FORMAT}.")
        whole = kind == KIND and checksum == _checksum(header, arrays)
        whole = whole and from_canonical(header["configuration"]).identifier == path.stem
    except _UnknownFormat as error:
        raise ValueError(str(error)) from None
    except (FileNotFoundError, PermissionError):
        raise
    # What NumPy and zipfile raise for damaged bytes, from headers that are none to sizes that do not fit.
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedCell(f"{path} is not a whole cell: {error}.") from error
    except (TypeError, AttributeError, NotImplementedError, RuntimeError, MemoryError, OverflowError) as error:
        raise DamagedCell(f"{path} is not a whole cell: {type(error).__name__}.") from error
    if not whole:
        raise DamagedCell(f"{path} is not a whole cell: its checksum or its name does not fit.")
    return header, arrays


class _UnknownFormat(Exception):
    pass


def _checksum(header: dict[str, Any], arrays: Arrays) -> str:
    """SHA-256 of header and arrays: of what is read, not of how it is packed."""
    hashed = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def _plain(name: str, values: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """An array that needs no pickle: strings get a fixed length."""
    array = np.asarray(values)
    if array.dtype.kind in "OT":
        if not all(isinstance(value, str) for value in array.ravel().tolist()):
            raise ValueError(f"{name} holds objects; a cell holds numbers, truth values and strings.")
        array = array.astype(np.str_)
    if array.dtype.kind not in "biufcUSMm":
        raise ValueError(f"{name} has type {array.dtype}; a cell holds numbers, truth values and strings.")
    return array
