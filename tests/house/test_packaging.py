"""The house: floors, rooms, packages, public names, what is imported when, and sizes."""

import ast
import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import saddlescope

ROOT = Path(__file__).parents[2]
FLOORS = ("models", "flows", "analysis", "experiments")
# The command line is no floor: it has no public names.
FOLDERS = (*FLOORS, "command_line")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


# The rooms of each floor, lowest first, each of which imports only from those before it. Files beside rooms are below
# them all. Rooms in one line do not import each other.
ROOMS = {
    "": [[folder] for folder in FOLDERS],
    "models": [["found_units"]],
    "flows": [
        ["compilation", "solvers"],
        ["landscapes"],
        ["losses"],
        ["curvature"],
        ["solver_choice"],
        ["simulation"],
        ["sensitivity", "optimisers", "ensembles"],
    ],
    "flows/solvers": [["bdf", "exponential", "stabilised"]],
    "analysis": [
        ["theory", "curvature", "statistics"],
        ["embeddings"],
        ["leading_order", "symmetries", "observables"],
        ["critical_points"],
        ["visits"],
        ["invariant_manifolds", "orbits", "ensembles"],
        ["figures"],
    ],
    "analysis/theory": [["closed_forms"], ["formulas"]],
    "experiments": [["data", "engines"], ["setups"], ["runs"], ["sweeps"], ["reports", "reproductions"]],
}
PACKAGE = "saddlescope"


def source_files(floor):
    return sorted((ROOT / floor).rglob("*.py"))


def imported_modules(path, root=ROOT):
    """What a file imports of ours, as paths from the root, each with the names taken from it."""
    home = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level - 1 > len(home):
                pytest.fail(f"{path} reaches above the package")
            above = home[: len(home) - (node.level - 1)] + tuple((node.module or "").split(".") if node.module else ())
            yield from (above + (alias.name,) for alias in node.names)
            continue
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name and name.split(".")[0] in (PACKAGE, *FLOORS):
                pytest.fail(f"{path} imports {name} by an absolute name; use a relative import")


def rank(folder, name):
    """The height of a room within a folder: 0 for files, then rooms from the lowest line up."""
    return next((k for k, line in enumerate(ROOMS.get(folder, []), 1) if name in line), 0)


def upward(path, root=ROOT):
    """The imports of a file that do not run downward."""
    parts = path.relative_to(root).parts
    if parts[-1] == "__init__.py":  # gathers the public names of all that is in its folder
        parts = parts[:-1]
    for target in imported_modules(path, root):
        shared = next((k for k, (a, b) in enumerate(zip(parts, target, strict=False)) if a != b), None)
        if shared is None:
            continue  # a folder's own names
        folder = "/".join(parts[:shared])
        here, there = (rank(folder, name) for name in (parts[shared], target[shared]))
        if there > here or there == here > 0:
            yield "/".join(target)


@pytest.mark.parametrize("floor", FOLDERS)
def test_imports_run_downward(floor):
    files = source_files(floor)
    assert files
    for path in files:
        assert not list(upward(path)), path


def test_every_folder_has_its_place():
    for each in FOLDERS:
        for folder in (ROOT / each).rglob("*/"):
            if list(folder.glob("*.py")):
                above = folder.relative_to(ROOT).parent.as_posix()
                assert rank(above, folder.name) > 0, f"{folder} is no room of the list"


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ("flows/bad.py", "from ..experiments import run"),
        ("flows/bad.py", "from .. import analysis"),
        ("flows/losses/bad.py", "from ..simulation.simulate import simulate"),
        ("flows/bad.py", "from .simulation import simulate"),
        ("analysis/symmetries/bad.py", "from ..leading_order.added_unit import steepness"),
        ("flows/solvers/bdf/bad.py", "from ...landscapes import landscape"),
        ("experiments/data/bad.py", "from .. import setups"),
    ],
)
def test_the_import_check_can_fail(tmp_path, where, line):
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text(f"import jax\n{line}\n")
    assert len(list(upward(path, tmp_path))) == 1


def test_packages_list_the_tree():
    folders = {path.parent for folder in FOLDERS for path in source_files(folder)}
    expected = {"saddlescope", *("saddlescope." + ".".join(p.relative_to(ROOT).parts) for p in folders)}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "catalogue.py", "terminal.py"}
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_the_root_imports_nothing_of_ours():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    # The version has one place, from which the installed package has it too.
    assert "version" in PROJECT["project"]["dynamic"]
    assert saddlescope.__version__ == importlib.metadata.version("saddlescope")


@pytest.mark.parametrize("floor", FOLDERS)
def test_every_public_name_imports_and_is_documented(floor):
    package = importlib.import_module(f"saddlescope.{floor}")
    for module in pkgutil.walk_packages(package.__path__, f"saddlescope.{floor}."):
        assert importlib.import_module(module.name).__doc__, module.name
    names = next(path for path in (ROOT / floor / "__init__.pyi", ROOT / floor / "__init__.py") if path.exists())
    for node in ast.walk(ast.parse(names.read_text())):
        for alias in [alias for alias in getattr(node, "names", []) if alias.asname]:
            public = getattr(package, alias.asname)
            assert public.__doc__, f"saddlescope.{floor}.{alias.asname} has no docstring"


# Each takes a tenth of a second or more to import, and few uses of the library need it.
HEAVY = {"matplotlib", "rich", "tyro", "sklearn", "optax", "matfree", "xarray", "pandas"}
HEAVY |= {"zarr", "distributed", "submitit", "altair", "vl_convert"}
PARTS = ("signal", "stats", "interpolate", "integrate", "optimize", "sparse", "linalg", "special")
HEAVY |= {f"scipy.{part}" for part in PARTS}
# Rooms that draw and compare; nobody imports them for anything else.
DRAWING = ("analysis.figures", "experiments.reports", "experiments.reproductions")


def imported(code):
    """What a fresh process has imported after some code, and what it wrote."""
    lines = f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    process = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=300)
    return set(process.stderr.splitlines()[-1].split()), process.stdout


def modules_of(floor):
    """The names of all modules of a floor but those that draw."""
    package = importlib.import_module(f"saddlescope.{floor}")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    return [package.__name__, *(name for name in names if not any(room in name for room in DRAWING))]


def test_modules_import_nothing_heavy_and_compile_nothing():
    listen = "jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: print(name))"
    modules, events = imported(f"import jax\n{listen}\nimport {', '.join(sum(map(modules_of, FLOORS), []))}")
    assert not HEAVY & modules
    assert "compile" not in events


@pytest.mark.slow
def test_the_check_of_imports_can_fail():
    listen = "jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: print(name))"
    modules, events = imported(f"import jax, scipy.signal\n{listen}\njax.numpy.ones(2)")
    assert "scipy.signal" in modules and "compile" in events


SIMPLE = ["list", "--help", "run liner", "reproduce 9Z", "reproduce 1B --seeds 0"]
SIMPLE += ["run relu --seed 99999999999999999999", "run relu --width 100000000000", "run relu --width 0"]
SIMPLE += [
    "run relu --scale -1",
    "run relu --t1 0",
    "report nowhere",
    "animate liner",
    "sweep",
    "sweep --experiment relux",
    "sweep --experiment relu --width x",
]


@pytest.mark.parametrize("line", SIMPLE)
def test_the_command_line_answers_simple_questions_without_jax(line):
    arguments = line.split()
    code = f"from saddlescope.__main__ import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert not {"jax", "diffrax"} & imported(code)[0]


def test_figures_are_imported_when_asked_for():
    modules, said = imported("from saddlescope.analysis import *\nprint(plot.__module__)")
    assert said.strip() == "saddlescope.analysis.figures.itinerary" and "matplotlib" in modules
    import saddlescope.analysis as analysis

    assert {"plot", "plot_manifolds", "itinerary"} <= set(dir(analysis)) & set(analysis.__all__)
    with pytest.raises(AttributeError, match="attribute plots"):
        analysis.plots  # noqa: B018


def test_the_library_never_changes_global_configuration():
    """But for the functions that are there to do so, the second of which sets up processes that are a sweep's own."""
    allowed = {ROOT / "flows" / "compilation" / "cache.py", ROOT / "experiments" / "engines" / "worker.py"}
    for floor in FLOORS:
        for path in set(source_files(floor)) - allowed:
            calls = [
                ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            assert not [call for call in calls if call.endswith("config.update")], path
            assert "rcParams" not in path.read_text()


def sizes(tree):
    """The lines of each function's body, without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            yield node.name, node.end_lineno - body[0].lineno + 1 if body else 0


# Its pieces share the state of a step, and are taken apart elsewhere.
LONG_FUNCTIONS: set[str] = set()


def test_files_and_functions_are_short():
    files = {path.relative_to(ROOT).as_posix(): path.read_text() for each in FOLDERS for path in source_files(each)}
    files |= {path.name: path.read_text() for path in ROOT.glob("*.py")}
    assert not [name for name, text in files.items() if len(text.splitlines()) > 250]
    long = {f"{file}:{name}" for file, text in files.items() for name, size in sizes(ast.parse(text)) if size > 40}
    assert not long - LONG_FUNCTIONS


@pytest.mark.parametrize(("lines", "expected"), [(40, 41), (2, 3)])
def test_the_check_of_sizes_can_fail(lines, expected):
    body = "\n".join(f"    x{k} = {k}" for k in range(lines))
    text = f'def f(\n    a,\n):\n    """A sentence.\n\n    More.\n    """\n{body}\n    return x0\n'
    assert list(sizes(ast.parse(text))) == [("f", expected)]
