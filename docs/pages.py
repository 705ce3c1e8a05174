"""Writes what of the documentation follows from the code: the reference in docs/api, and docs/llms.txt.

Run `python docs/pages.py` after a public name, its first sentence or a page has changed; a test compares. A page of the
reference names every public object of one package, and below them the records that these return; the builder fills in
their docstrings.
"""

import ast
import importlib
import inspect
import re
import typing
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PACKAGE = "saddlescope"
# The packages that users import from, with the title of their page.
FACES = {
    "models": "Models",
    "flows": "Flows",
    "flows.solvers": "Solvers",
    "analysis": "Analysis",
    "analysis.theory": "Theory",
    "experiments": "Experiments",
}
# Held by records, for the library's own use.
INTERNAL = {"Architecture", "Found", "Known", "OnRequest", "Origin", "Program", "Steps", "Traced"}


def _imports(face):
    """The imports from which a package has its public names; a stub has them where they are imported late."""
    folder = ROOT / face.replace(".", "/")
    path = next(path for path in (folder / "__init__.pyi", folder / "__init__.py") if path.exists())
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]


def public_names(face):
    """The names that a package offers, in its own order, without packages."""
    names = dict.fromkeys(alias.asname for node in _imports(face) for alias in node.names if alias.asname)
    package = importlib.import_module(f"{PACKAGE}.{face}")
    return [name for name in names if not inspect.ismodule(getattr(package, name))]


def public_objects(face):
    """The public objects of a package by name."""
    package = importlib.import_module(f"{PACKAGE}.{face}")
    return {name: getattr(package, name) for name in public_names(face)}


def _paragraph(text):
    return " ".join(text.split("\n\n")[0].split())


def first_sentence(thing):
    """The first paragraph of a docstring, on one line: by the house's rule, one sentence."""
    return _paragraph(inspect.getdoc(thing) or "")


def _constants(path):
    """The strings below a file's assignments, by name: the docstrings of constants, which Python does not keep."""
    body = ast.parse(path.read_text()).body
    for here, below in zip(body, body[1:], strict=False):
        if isinstance(here, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            yield ast.unparse(here.target), inspect.cleandoc(below.value.value)


def sentences(face):
    """The first sentence about each public name of a package."""
    folder, constants = ROOT / face.replace(".", "/"), {}
    for node in _imports(face):
        path = folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
        constants |= dict(_constants(path)) if path.exists() else {}
    return {
        name: _paragraph(constants[name]) if name in constants else first_sentence(thing)
        for name, thing in public_objects(face).items()
    }


def _classes(annotation):
    if inspect.isclass(annotation) and annotation.__module__.startswith(f"{PACKAGE}."):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _classes(part)


def _mentioned(thing):
    """The library's classes that a function returns, or that a record holds, or is a sequence of."""
    try:
        hints = typing.get_type_hints(inspect.unwrap(thing))
    except (NameError, TypeError):  # types of libraries that are imported late
        return
    if inspect.isclass(thing):
        annotations = [*hints.values(), *getattr(thing, "__orig_bases__", ())]
    else:
        annotations = [hints.get("return")]
    for annotation in annotations:
        yield from _classes(annotation)


def records(taken):
    """Records that public functions return, and those within them, by full name.

    Args:
        taken: the public objects, which have their place already.

    Returns:
        The classes.
    """
    # What public classes hold is for the library's own use, but for what a flow leaves behind.
    queue = [thing for thing in taken if not inspect.isclass(thing) or thing.__name__ == "Trajectory"]
    found = {}
    while queue:
        for record in _mentioned(queue.pop(0)):
            path, name = f"{record.__module__}.{record.__qualname__}", record.__name__
            if record not in taken and path not in found and name not in INTERNAL and name[0] != "_":
                found[path] = record
                queue.append(record)
    return found


def _table(sentence_of):
    rows = [f"| [`{path.split('.')[-1]}`](#{path}) | {_cell(said)} |" for path, said in sentence_of.items()]
    return "\n".join(["| name | what it is |", "|---|---|", *rows])


def _cell(sentence):
    """A sentence for a table, in which a bar would end the cell: norms are written with commands."""
    parts = sentence.split("$")
    parts[1::2] = [part.replace(r"\|", r"\Vert ").replace("|", r"\vert ").rstrip() for part in parts[1::2]]
    return "$".join(parts).replace("|", "&#124;")


def _directives(paths):
    return "\n\n".join(f"::: {path}" for path in paths)


def reference():
    """The text of each page of the reference, by its path in docs."""
    faces = {face: public_objects(face) for face in FACES}
    returned = records([thing for objects in faces.values() for thing in objects.values()])
    pages = {}
    for face, title in FACES.items():
        public = {f"{PACKAGE}.{face}.{name}": said for name, said in sentences(face).items()}
        own = {path: first_sentence(thing) for path, thing in returned.items() if _face_of(path) == face}
        about = first_sentence(importlib.import_module(f"{PACKAGE}.{face}"))
        text = [f"# {title}", f"`from {PACKAGE}.{face} import …`. {about}", _table(public), _directives(public)]
        if own:
            text += ["## Records", "What these functions return, or what is in it.", _table(own), _directives(own)]
        pages[f"api/{face.replace('.', '-')}.md"] = "\n\n".join(text) + "\n"
    return pages


def _face_of(path):
    """The package on whose page a record stands: the innermost that contains it."""
    return max((face for face in FACES if path.startswith(f"{PACKAGE}.{face}.")), key=len)


def navigation():
    """Titles and paths of the site's pages, in order."""
    text = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    return re.findall(r"^ *- (.+): (\S+\.md)$", text, flags=re.MULTILINE)


def summary(page):
    """The first sentence of a page."""
    text = (DOCS / page).read_text()
    paragraphs = [part for part in text.split("\n\n") if not part.startswith(("#", "!", "`", "|", "```"))]
    return re.split(r"(?<=[.:])\s", " ".join(paragraphs[0].split()))[0].rstrip(":") if paragraphs else ""


def for_language_models():
    """The text of llms.txt: what the site has, page by page, and every public name with its first sentence."""
    import saddlescope

    about = " ".join((saddlescope.__doc__ or "").split("\n\n")[0].removeprefix(f"{PACKAGE}: ").split())
    lines = [f"# {PACKAGE}", "", f"> {about[0].upper()}{about[1:]}", "", "## Pages", ""]
    pages = [(title, page) for title, page in navigation() if not page.startswith("api/")]
    lines += [f"- [{title}]({page.replace('.md', '.html')}): {summary(page)}" for title, page in pages]
    for face, title in FACES.items():
        lines += ["", f"## {title}: {PACKAGE}.{face}", ""]
        target = f"api/{face.replace('.', '-')}.html#{PACKAGE}.{face}"
        lines += [f"- [{name}]({target}.{name}): {said}" for name, said in sentences(face).items()]
    return "\n".join(lines) + "\n"


def texts():
    """All that this script writes, by path in docs."""
    return {**reference(), "llms.txt": for_language_models()}


def main():
    """Writes the files."""
    for path, text in texts().items():
        (DOCS / path).parent.mkdir(exist_ok=True)
        (DOCS / path).write_text(text)


if __name__ == "__main__":
    main()
