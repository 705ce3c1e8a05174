"""A collected sweep as a Zarr store."""

import shutil
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cell import temporary_ending

if TYPE_CHECKING:
    import xarray as xr


def write_store(dataset: "xr.Dataset", path: str | Path) -> None:
    """Writes a data set as a Zarr store of format 3, whole or not at all; `xarray.open_zarr` reads it.

    Each chunk of an array is one cell of the sweep, and all chunks of an array are one file. There is one writer, since
    several that write regions of one store lose data (xarray's issues 8371 and 8876).

    Args:
        dataset: by `collect`.
        path: the store; a former one is replaced once the new one is complete.

    Raises:
        ValueError: when Zarr is not installed.
        OSError: when the store cannot be written.
    """
    try:
        import zarr as _  # noqa: F401
    except ImportError:
        raise ValueError("a store needs Zarr: pip install 'saddlescope[sweep]'.") from None
    path = Path(path)
    temporary, former = (path.with_name(path.name + temporary_ending()) for _ in range(2))
    # Strings of fixed length are not yet part of the format.
    texts = {name: array.astype(object) for name, array in dataset.variables.items() if array.dtype.kind == "U"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # Neither are consolidated metadata, with which the store opens at once.
            warnings.filterwarnings("ignore", "Consolidated metadata")
            dataset.assign(texts).to_zarr(temporary, zarr_format=3, consolidated=True, encoding=_encoding(dataset))
        with suppress(FileNotFoundError):
            path.rename(former)
        temporary.rename(path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error.strerror or error}.") from error
    finally:
        for leftover in (temporary, former):
            shutil.rmtree(leftover, ignore_errors=True)


def _encoding(dataset: "xr.Dataset") -> dict[Any, dict[str, tuple[int, ...]]]:
    """Chunks of one cell, in one shard, for all arrays with a dimension of seeds."""
    block, found = int(dataset.attrs["block"]), {}
    for name, array in dataset.variables.items():
        dims = list(array.dims)
        if "seed" in dims and name not in dims:
            before = dims.index("seed")
            chunks = (*(1,) * before, block, *(max(size, 1) for size in array.shape[before + 1 :]))
            shards = tuple(max(-(-size // chunk), 1) * chunk for size, chunk in zip(array.shape, chunks, strict=True))
            found[name] = {"chunks": chunks, "shards": shards}
    return found
