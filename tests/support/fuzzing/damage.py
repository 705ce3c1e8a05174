"""Files that are no trajectory, or no longer one: truncated, foreign, forged and malicious."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class Executed:
    """Unpickling it writes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def pack(path: Path, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in contents.items():
            packed.writestr(name, content)


def as_npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def with_header(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    contents = members(path)
    header = json.loads(str(np.load(io.BytesIO(contents["header.npy"]))))
    changed = change(header)
    text = changed if isinstance(changed, str) else json.dumps(header if changed is None else changed)
    pack(path, contents | {"header.npy": as_npy(np.array(text))})


def with_array(path: Path, name: str, change: Callable[[np.ndarray], Any]) -> None:
    contents = members(path)
    changed = np.asarray(change(np.load(io.BytesIO(contents[f"{name}.npy"]))))
    pack(path, contents | {f"{name}.npy": as_npy(changed)})


ARRAYS = ("ts", "thetas", "energies", "losses", "speeds")
VALUES = [None, True, -1, 1.5, "text", "", [], {}, [[0.0, "Nothing"]], [1, 2], float("nan"), float("inf"), "../../x"]
CHANGES: dict[str, Callable[[np.ndarray], Any]] = {
    "nan": lambda array: np.full_like(array, np.nan),
    "integers": lambda array: array.astype(int),
    "complex": lambda array: array + 1j,
    "text": lambda array: array.astype(str),
    "bytes": lambda array: np.zeros(array.shape, "S3"),
    "structured": lambda array: np.zeros(array.shape, [("a", float)]),
    "half": lambda array: array[: len(array) // 2],
    "empty": lambda array: array[:0],
    "scalar": lambda array: array.flat[0],
    "another axis": lambda array: array[..., None],
    "reversed": lambda array: array[::-1],
    "float16": lambda array: array.astype(np.float16),
    "other byte order": lambda array: array.astype(">f8"),
}


def damaged(generator: np.random.Generator, path: Path, witness: Path) -> str:
    """Damages a saved trajectory; how."""
    names = sorted(DAMAGES)
    name = names[generator.integers(len(names))]
    return f"{name} {DAMAGES[name](generator, path, witness) or ''}".strip()


def _choice(generator: np.random.Generator, values: Any) -> Any:
    return list(values)[generator.integers(len(values))]


def truncate(generator: np.random.Generator, path: Path, _: Path) -> str:
    content = path.read_bytes()
    kept = int(generator.integers(len(content)))
    path.write_bytes(content[:kept])
    return f"to {kept} bytes"


def change_bytes(generator: np.random.Generator, path: Path, _: Path) -> str:
    content = bytearray(path.read_bytes())
    places = generator.integers(len(content), size=int(generator.choice([1, 20])))
    for place in places:
        content[place] = int(generator.integers(256))
    path.write_bytes(bytes(content))
    return f"{places}"


def replace_file(generator: np.random.Generator, path: Path, witness: Path) -> str:
    foreign = {
        "noise": generator.bytes(1000),
        "nothing": b"",
        "text": b"not a trajectory\n",
        "JSON": b'{"kind": "trajectory", "format": 4}',
        "a pickle": pickle.dumps(Executed(witness)),
        "an array": as_npy(np.ones(3)),
        "an array of objects": as_npy(np.array([Executed(witness)], object)),
        "an empty archive": b"PK\x05\x06" + bytes(18),
        "a huge array": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }",
    }
    name = _choice(generator, foreign)
    path.write_bytes(foreign[name])
    return f"by {name}"


def change_array(generator: np.random.Generator, path: Path, _: Path) -> str:
    name, change = _choice(generator, ARRAYS), _choice(generator, CHANGES)
    with_array(path, name, CHANGES[change])
    return f"{name}: {change}"


def forge_pickle(generator: np.random.Generator, path: Path, witness: Path) -> str:
    name = _choice(generator, (*ARRAYS, "header"))
    pack(path, members(path) | {f"{name}.npy": as_npy(np.array([Executed(witness)], object))})
    return f"in {name}"


def lose_member(generator: np.random.Generator, path: Path, _: Path) -> str:
    contents = members(path)
    name = _choice(generator, sorted(contents))
    pack(path, {key: value for key, value in contents.items() if key != name})
    return name


def add_member(generator: np.random.Generator, path: Path, _: Path) -> str:
    name = _choice(generator, ("../../outside.npy", "/outside.npy", "other.npy", "text.txt"))
    pack(path, members(path) | {name: as_npy(np.ones(2))})
    return name


def bomb(generator: np.random.Generator, path: Path, _: Path) -> str:
    # The directory says how much it unpacks to; the content need not be there to be refused.
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\x01\x02")
    content[start + 24 : start + 28] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    return "of four gigabytes"


def change_header(generator: np.random.Generator, path: Path, _: Path) -> str:
    value = _choice(generator, VALUES)
    keys = ("kind", "format", "result", "stats", "sign_changes")
    inner = ("rtol", "atol", "solver_history", "reason", "reduced_data", "num_steps", "num_accepted_steps", "method")
    key = _choice(generator, (*keys, *inner))

    def change(header: dict[str, Any]) -> None:
        (header if key in keys else header["stats"])[key] = value

    with_header(path, change)
    return f"{key}: {value!r}"


def replace_header(generator: np.random.Generator, path: Path, _: Path) -> str:
    texts = (
        "",
        "{",
        "[]",
        "null",
        "3",
        '"text"',
        "[" * 100_000,
        '{"kind": "trajectory"}',
        '{"kind": [1], "format": {}}',
    )
    text = _choice(generator, texts)
    with_header(path, lambda header: text)
    return f"by {text:.30}"


DAMAGES: dict[str, Callable[[np.random.Generator, Path, Path], str]] = {
    "truncate": truncate,
    "change bytes": change_bytes,
    "replace the file": replace_file,
    "change an array": change_array,
    "forge a pickle": forge_pickle,
    "lose a member": lose_member,
    "add a member": add_member,
    "bomb": bomb,
    "change the header": change_header,
    "replace the header": replace_header,
}
