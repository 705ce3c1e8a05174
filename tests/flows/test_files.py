"""Files are written whole or not at all."""

import errno

import numpy as np
import pytest
from saddlescope.flows import files

ARRAYS = {"x": np.arange(3.0)}
HEADER = {"kind": "thing", "format": 1}


def disk_full(file, **arrays):
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(("writer", "compress"), [("savez", False), ("savez_compressed", True)])
def test_a_full_disk_leaves_the_old_file_intact(writer, compress, tmp_path, monkeypatch):
    path = tmp_path / "thing.npz"
    files.write(path, HEADER | {"number": 1}, ARRAYS, compress=compress)
    monkeypatch.setattr(np, writer, disk_full)
    with pytest.raises(OSError, match=r"cannot write .*thing.npz: No space left on device\.$") as failure:
        files.write(path, HEADER | {"number": 2}, ARRAYS, compress=compress)
    assert failure.value.strerror == "No space left on device"
    header, arrays = files.read(path, "thing", 1)
    assert header["number"] == 1
    np.testing.assert_array_equal(arrays["x"], ARRAYS["x"])
    assert [item.name for item in tmp_path.iterdir()] == ["thing.npz"]


def test_a_folder_is_no_target(tmp_path):
    (tmp_path / "inside").touch()
    with pytest.raises(OSError, match="cannot write .*: it is a folder"):
        files.write(tmp_path, HEADER, ARRAYS, compress=True)
    with pytest.raises(OSError, match="cannot write .*: No such file or directory"):
        files.write(tmp_path / "missing" / "thing.npz", HEADER, ARRAYS, compress=True)
    assert [item.name for item in tmp_path.iterdir()] == ["inside"]
    assert not list(tmp_path.parent.glob("*.part"))


def test_nothing_takes_the_place_before_the_end(tmp_path):
    path = tmp_path / "thing.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as partial:
        partial.write_text("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    with files.replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [item.name for item in tmp_path.iterdir()] == ["thing.txt"]


def test_files_of_another_kind_raise(tmp_path):
    path = tmp_path / "thing.npz"
    files.write(path, HEADER, ARRAYS, compress=False)
    with pytest.raises(ValueError, match="is a saved thing, not a saved trajectory"):
        files.read(path, "trajectory", 1)
    with pytest.raises(ValueError, match="has format 1; this version reads 2"):
        files.read(path, "thing", 2)


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path, figure = tmp_path / "figure.png", Figure(figsize=(1, 1))
    with files.replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=20)
    before = path.read_bytes()

    def disk_full(self, target, **options):
        target.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", disk_full)
    with pytest.raises(OSError, match="cannot write .*figure.png: No space left"), files.replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=20)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["figure.png"]
