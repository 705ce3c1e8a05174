"""README, the pages of docs and CI say the same, in the words of the glossary; their code runs, their links lead on."""

import re
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


PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in (ROOT / page).read_text()])
def test_the_python_of_the_documentation_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL):
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target


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
