"""The house: floors, packages, public names, and that README, tests and CI say the same."""

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import saddlescope

ROOT = Path(__file__).parent.parent
FLOORS = ("models", "flows", "analysis", "experiments")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def source_files(floor):
    return sorted((ROOT / floor).rglob("*.py"))


def imported_floors(path, depth=2):
    """Floors that a file, so many folders down, imports from, relatively or by the installed name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            found.update([node.module.split(".")[0]] if node.module else [alias.name for alias in node.names])
        elif isinstance(node, ast.ImportFrom) and node.level > depth:
            pytest.fail(f"{path} reaches above the package")
        names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name and name.split(".")[0] == "saddlescope":
                pytest.fail(f"{path} imports {name} by the installed name; use a relative import")
            if name and name.split(".")[0] in FLOORS:
                pytest.fail(f"{path} imports a top-level package {name}")
    return found & set(FLOORS)


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downward(floor):
    below = set(FLOORS[: FLOORS.index(floor)])
    files = source_files(floor)
    assert files
    for path in files:
        depth = len(path.relative_to(ROOT).parts)
        assert imported_floors(path, depth) <= below, f"{path} imports from its own floor by '..' or from above"


def test_the_import_check_can_fail(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("from ..experiments import run\nfrom .. import analysis\n")
    assert imported_floors(path) == {"experiments", "analysis"}


def test_packages_list_the_tree():
    folders = {path.parent for floor in FLOORS for path in source_files(floor)}
    expected = {"saddlescope", *("saddlescope." + ".".join(p.relative_to(ROOT).parts) for p in folders)}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py", "catalogue.py"}
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_the_root_imports_nothing_of_ours():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert saddlescope.__version__ == PROJECT["project"]["version"]


@pytest.mark.parametrize("floor", FLOORS)
def test_every_public_name_imports_and_is_documented(floor):
    package = importlib.import_module(f"saddlescope.{floor}")
    for module in pkgutil.iter_modules(package.__path__):
        assert importlib.import_module(f"saddlescope.{floor}.{module.name}").__doc__
    for node in ast.walk(ast.parse((ROOT / floor / "__init__.py").read_text())):
        for alias in [alias for alias in getattr(node, "names", []) if alias.asname]:
            public = getattr(package, alias.asname)
            assert public.__doc__, f"saddlescope.{floor}.{alias.asname} has no docstring"


# Each takes a tenth of a second or more to import, and few uses of the library need it.
HEAVY = {"matplotlib", "rich", "tyro", "sklearn", "optax", "matfree"}
HEAVY |= {f"scipy.{part}" for part in ("signal", "stats", "interpolate", "integrate", "optimize", "sparse", "linalg")}


def imported(code):
    """What a fresh process has imported after some code, and what it wrote."""
    lines = f"{code}\nimport sys\nprint(*sys.modules, file=sys.stderr)"
    process = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=300)
    return set(process.stderr.splitlines()[-1].split()), process.stdout


@pytest.mark.parametrize("package", PROJECT["tool"]["setuptools"]["packages"])
def test_packages_import_nothing_heavy_and_compile_nothing(package):
    listen = "jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: print(name))"
    modules, events = imported(f"import jax\n{listen}\nimport {package}")
    assert not HEAVY & modules
    assert "compile" not in events


def test_the_check_of_imports_can_fail():
    listen = "jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: print(name))"
    modules, events = imported(f"import jax, scipy.signal\n{listen}\njax.numpy.ones(2)")
    assert "scipy.signal" in modules and "compile" in events


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["run", "liner"], ["reproduce", "9Z"]])
def test_the_command_line_answers_simple_questions_without_jax(arguments):
    code = f"from saddlescope.__main__ import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert not {"jax", "diffrax"} & imported(code)[0]


def test_figures_are_imported_when_asked_for():
    modules, said = imported("from saddlescope.analysis import *\nprint(plot.__module__)")
    assert said.strip() == "saddlescope.analysis.figure" and "matplotlib" in modules
    import saddlescope.analysis as analysis

    assert {"plot", "plot_manifolds", "itinerary"} <= set(dir(analysis)) & set(analysis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'plots'"):
        analysis.plots  # noqa: B018


def test_the_library_never_changes_global_configuration():
    """But for the one function that is there to do so."""
    for floor in FLOORS:
        for path in set(source_files(floor)) - {ROOT / "flows" / "compilation.py"}:
            calls = [
                ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            ]
            assert not [call for call in calls if call.endswith("config.update")], path
            assert "rcParams" not in path.read_text()


def readme_commands():
    """The lines of README's shell blocks."""
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_ci_runs_the_readmes_own_commands():
    script = (ROOT / ".ci" / "run").read_text()
    main_job = "pip install . && saddlescope run linear"
    tests = 'pip install ".[test]" && pytest'
    assert readme_commands()[:2] == [main_job, tests]
    for command in (main_job, tests):
        assert command in [line.strip() for line in script.splitlines()], f".ci/run does not run: {command}"


def test_the_readmes_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
