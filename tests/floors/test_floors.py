"""The source tree's rules: imports, the pure core, sizes, names and words."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from bench.structure import cut_for_size

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("gateway", "rest", "sessions", "pipelines", "media", "store")
SOURCES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
LONGEST_FILE = 500
LONGEST_FUNCTION = 80
MOST_FILES_OF_A_FOLDER = 20
MOST_CUT_FOR_SIZE = 15
"""Small modules that only one neighbour imports: a few are a subject of their own."""

QUIET_STDLIB = {
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "itertools",
    "math",
    "re",
    "string",
    "types",
    "typing",
    "unicodedata",
}
"""Data types and pure functions: nothing here knows a clock, a task, a file or a socket."""


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported_modules(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, wherever in it."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield stem
            if not node.module:
                yield from (f"{stem}.{alias.name}" for alias in node.names)


def test_imports_run_downward() -> None:
    """The layers contract of pyproject.toml, by import-linter."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint, "--config", ROOT / "pyproject.toml", "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_sessions_import_only_the_engines_of_pipelines() -> None:
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in (ROOT / "sessions").rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("pipelines") and not module.startswith("pipelines.engines")
    ]
    assert wrong == []


def test_the_core_imports_no_clock_task_or_socket() -> None:
    room = sorted((ROOT / "sessions" / "core").rglob("*.py"))
    assert room, "sessions/core has moved"
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in room
        for module in imported_modules(path)
        if not (
            module in ("media.formats", "sessions.languages.packs")
            or module == "sessions.core"
            or module.startswith("sessions.core.")
            or module.partition(".")[0] in QUIET_STDLIB
        )
    ]
    assert wrong == []


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{node.name} has {lines} lines"


def test_folders_have_few_files() -> None:
    loose = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert {name_of(f): n for f, n in loose.items() if n > MOST_FILES_OF_A_FOLDER} == {}


def test_files_are_not_cut_for_size() -> None:
    """A small module that one neighbour imports is usually a part of it (CONTRIBUTING.md)."""
    small = cut_for_size(ROOT, {path: path.read_text() for path in SOURCES})
    assert len(small) <= MOST_CUT_FOR_SIZE, small


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_arguments_are_not_packed_and_the_formatter_is_not_skipped(path: Path) -> None:
    text = path.read_text()
    assert "fmt: skip" not in text
    assert "fmt: off" not in text
    packed = [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Tuple | ast.List)
    ]
    assert packed == [], f"arguments are packed with *(…) in lines {packed}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_only_the_settings_read_the_environment(path: Path) -> None:
    if path == ROOT / "gateway" / "settings" / "__init__.py":
        return
    tree = ast.parse(path.read_text())
    handed_over = [
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Settings.read"
        for argument in node.args
    ]
    reads = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"environ", "getenv"}
        and node not in handed_over
    ]
    assert reads == [], f"os.environ is read in lines {reads}; gateway/settings does that"


NOT_OUR_WORDS = frozenset(
    ["admittance", "asides", "brought", "flight", "landed", "owed", "shelf", "tell", "told"]
)
"""Words that the glossary (docs/architecture.md) has replaced; parts of names, in lower case."""


def test_names_use_the_glossarys_words() -> None:
    astray = []
    for path in SOURCES:
        named = [path.stem]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                named.append(node.name)
            elif isinstance(node, ast.arg):
                named.append(node.arg)
        for name in named:
            words = set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))
            if words & NOT_OUR_WORDS:
                astray.append(f"{name_of(path)}: {name}")
    assert astray == []


NOT_OUR_PROSE = re.compile(
    r"\b(?:admittance|asides|landed|owed|shelf|tells?|told"
    r"|(?:is|are|was|were) asked for|comes? to be|in mid-\w+|stands? in the place"
    r"|what is there)\b",
    re.IGNORECASE,
)
"""Words that the glossary has replaced, and constructions that read as translated, in documents
and docstrings."""


def prose_of_document(path: Path) -> str:
    """Markdown without code, quotations and the glossary, which lists the replaced words."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^## Glossary\n.*?(?=^## |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`|\"[^\"\n]*\"", "", text)


def docstrings(path: Path) -> Iterator[str]:
    """Every string that stands as a statement of its own."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text


def test_documents_and_docstrings_use_the_glossarys_words() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"]
    texts = [(path, prose_of_document(path)) for path in documents]
    programs = [*SOURCES, *(ROOT / "bench").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    texts += [(path, text) for path in [*programs, ROOT / "blab"] for text in docstrings(path)]
    astray = [
        f"{name_of(path)}: {found[0]!r} in {text[max(0, found.start() - 30) : found.end() + 30]!r}"
        for path, text in texts
        for found in NOT_OUR_PROSE.finditer(text)
    ]
    assert astray == []


def test_the_tests_mirror_the_tree() -> None:
    """``tests/a/b/test_c.py`` or ``test_c_aspect.py`` belongs to ``a/b/c.py`` or to the package."""
    astray = []
    for floor in FLOORS:
        for test in (ROOT / "tests" / floor).rglob("test_*.py"):
            folder = ROOT / test.parent.relative_to(ROOT / "tests")
            subject = test.stem.removeprefix("test_")
            names = [path.stem for path in folder.glob("*") if path.name != "__init__.py"]
            if any(f"{subject}_".startswith(f"{name}_") for name in names):
                continue
            astray.append(name_of(test))
    assert astray == []


def test_the_lock_names_no_private_index() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    hosts = set()
    for package in lock["package"]:
        files = [*package.get("wheels", []), package.get("sdist", {})]
        urls = [file["url"] for file in files if "url" in file]
        urls += [
            package["source"][kind] for kind in ("registry", "url") if kind in package["source"]
        ]
        hosts |= {urlparse(url).hostname or url for url in urls}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}
