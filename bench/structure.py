"""The size and shape of the source tree, in the numbers that ``docs/architecture.md`` reports.

``python -m bench.structure [CHECKOUT]``
"""

import ast
import collections
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

FLOORS = ("gateway", "rest", "sessions", "pipelines", "media", "store")
SMALL = 130
"""A module below this, with a single importer in its folder, counts as cut for size."""


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    paths = [path for floor in FLOORS for path in sorted((root / floor).rglob("*.py"))]
    texts = {path: path.read_text() for path in paths}
    lengths = [len(text.splitlines()) for text in texts.values() if text]
    folders = collections.Counter(path.parent for path in paths if path.name != "__init__.py")
    count = {
        "source files": len(paths),
        "files that are not empty": len(lengths),
        "lines": sum(lengths),
        "lines per file, median": statistics.median(lengths),
        "lines per file, most": max(lengths),
        "files under 130 lines with one importer, in their folder": len(cut_for_size(root, texts)),
        "files in one folder, most": max(folders.values()),
        "protocols": sum(
            text.count("(Protocol)") + text.count("(Protocol[") for text in texts.values()
        ),
        "# fmt: skip": sum(text.count("# fmt: skip") for text in texts.values()),
        "arguments packed in *(": sum(len(re.findall(r"\*\(", text)) for text in texts.values()),
        "told, tell, tells": sum(
            len(re.findall(r"\b(?:told|tells?)\b", text)) for text in texts.values()
        ),
    }
    for name, value in count.items():
        print(f"{value:>8}  {name}")


def cut_for_size(root: Path, texts: dict[Path, str]) -> list[str]:
    """Small modules that only one other module of the same folder imports."""
    modules = {module_of(path.relative_to(root)): path for path in texts}
    importers = collections.defaultdict(set)
    for module, path in modules.items():
        for name in imports(ast.parse(texts[path]), path.relative_to(root).parent.parts):
            for target in (name, name.rpartition(".")[0]):
                if target in modules:
                    importers[target].add(module)
                    break
    return [
        module
        for module, by in importers.items()
        if len(by) == 1
        and modules[module].parent == modules[next(iter(by))].parent
        and len(texts[modules[module]].splitlines()) < SMALL
    ]


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[str]:
    """Absolute dotted names, each ending with the imported name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


if __name__ == "__main__":
    main()
