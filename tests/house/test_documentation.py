"""README, the pages of docs and CI say the same, in the words of the glossary; their code runs, their links lead on."""

import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("models", "flows", "analysis", "experiments", "command_line")


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


PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
# Their code compiles for longer than all other pages' together.
SLOW = {"docs/stiff-solvers.md", "docs/uses.md", "docs/coming-from.md", "docs/one-of-each-kind.md"}
SLOW |= {"docs/report.md", "docs/solvers.md", "docs/sweeps.md", "docs/observables.md", "docs/events.md"}
SLOW |= {"docs/ensembles.md", "docs/saddles.md", "docs/statistics.md", "docs/theory.md", "docs/tutorial.md"}
# Their blocks continue each other.
CONTINUED = {"docs/tutorial.md"}


def marked(page):
    return pytest.param(page, marks=pytest.mark.slow if page in SLOW else ())


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if "```python" in (ROOT / page).read_text()])
def test_the_python_of_the_documentation_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        exec(compile(block, page, "exec"), names if page in CONTINUED else {})


def anchors(page):
    """The places of a page that a link may name: headings, as Markdown makes them, and public names."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading.lower()).strip()
        yield re.sub(r"[\s-]+", "-", plain)
    yield from re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE)


def links(page):
    """Targets and anchors of the links of a page, without those in code."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    return re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", text)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target, anchor in links(page):
        if target.startswith("https://"):
            continue
        path = (ROOT / page).parent.joinpath(target).resolve() if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in set(anchors(path.relative_to(ROOT).as_posix())), f"{target}#{anchor}"


@pytest.fixture(scope="module")
def pages():
    """What `docs/pages.py` defines."""
    return runpy.run_path(str(ROOT / "docs" / "pages.py"))


def test_the_reference_is_what_its_script_writes(pages):
    for path, text in pages["texts"]().items():
        assert (ROOT / "docs" / path).read_text() == text, f"{path} is not up to date: run `python docs/pages.py`"


def test_every_public_name_is_on_one_page_of_the_reference(pages):
    named = [name for page in PAGES if page.startswith("docs/api/") for name in anchors(page) if "." in name]
    assert set(FOLDERS) - {"command_line"} <= set(pages["FACES"])
    for face in pages["FACES"]:
        for name in pages["public_names"](face):
            assert named.count(f"saddlescope.{face}.{name}") == 1, f"{face}.{name}"


def test_every_page_has_its_place(pages):
    """In the navigation, once."""
    placed = sorted(f"docs/{page}" for _, page in pages["navigation"]())
    assert placed == PAGES[1:], "each page needs one line in `nav` of mkdocs.yml"


def test_every_function_of_theory_stands_beside_its_formula(pages):
    linked = {anchor.split(".")[-1] for _, anchor in links("docs/theory.md")}
    assert set(pages["public_names"]("analysis.theory")) - linked == {"NotApplicable"}


def test_measurements_are_told_the_same_twice():
    """The tables of the page for users of Diffrax are those of the benchmarks."""
    told = (ROOT / "docs" / "stiff-solvers.md").read_text().split("## Work and precision")[1]
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len(rows) > 30 and not set(rows) - set((ROOT / "docs" / "benchmarks.md").read_text().splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["zensical", "mkdocs"])
def test_the_site_builds_without_a_warning(builder, tmp_path):
    if importlib.util.find_spec(builder) is None:
        pytest.skip(f'{builder} is not installed: pip install ".[docs]"')
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    # As a module: the script would search its own folder first, and take the script `saddlescope` for the package.
    command = [sys.executable, "-m", builder, "build", "--strict"]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # Material's own advertisement
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=quiet)
    told = process.stdout + process.stderr
    assert process.returncode == 0 and "griffe" not in told and "WARNING" not in told, told
    theory = (tmp_path / "site" / "theory.html").read_text()
    assert "\\(" in theory and "api/analysis-theory.html#" in theory
    # Formulas are set without a network: what the page loads is part of the site.
    loaded = re.findall(r'<(?:script|link rel="?stylesheet"?)[^>]*? (?:src|href)="?([^" >]+)', theory)
    assert any("katex" in path for path in loaded)
    assert not [path for path in loaded if not (tmp_path / "site" / path.partition("?")[0]).exists()]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason='not installed: pip install ".[docs]"')
    nbformat = pytest.importorskip("nbformat")
    path = ROOT / "docs" / "notebook.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    # Kept without results, which would be those of another day.
    assert not [cell for cell in json.loads(path.read_text())["cells"] if cell.get("outputs")]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def forbidden_words():
    """The last column of the glossary."""
    rows = [line.split("|") for line in (ROOT / "docs" / "glossary.md").read_text().splitlines() if line[:1] == "|"]
    return [word.strip() for row in rows[2:] for word in row[-2].split(",") if word.strip()]


def test_the_glossary_is_the_law():
    words = forbidden_words()
    assert "verdict" in words
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", flags=re.IGNORECASE)
    files = [path for each in FOLDERS for path in (ROOT / each).rglob("*.py")] + [*ROOT.glob("*.py")]
    files += [ROOT / page for page in ("CONTRIBUTING.md", *PAGES) if page != "docs/glossary.md"]
    # A field of records on disk, which keep their schema, is no word of ours.
    texts = {path: " ".join(path.read_text().replace('"verdict"', "").split()) for path in files}
    found = [f"{path}: {word}" for path, text in texts.items() for word in pattern.findall(text)]
    assert not found


def test_types_that_a_text_names_exist():
    """Types in backticks, such as `CriticalPoint`, in docstrings, comments and pages, are names in a program here."""
    sources = [path for folder in (*FOLDERS, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    known, texts = set(), {page: (ROOT / page).read_text() for page in (*PAGES, "CONTRIBUTING.md")}
    for path in sources:
        with tokenize.open(path) as file:
            tokens = list(tokenize.generate_tokens(file.readline))
        known |= {token.string for token in tokens if token.type == tokenize.NAME}
        texts[path.name] = " ".join(t.string for t in tokens if t.type in (tokenize.STRING, tokenize.COMMENT))
    named = {(name, where) for where, text in texts.items() for name in re.findall(r"`((?:[A-Z][a-z\d]+){2,})`", text)}
    assert len(named) > 100
    assert not {(name, where) for name, where in named if name not in known}
