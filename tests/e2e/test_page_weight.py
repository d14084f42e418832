"""What the pages weigh: each room with all that it loads in use, as browsers get it."""

import subprocess
from pathlib import Path

import pytest

from gateway.http.pages import ROOMS
from gateway.http.static_files import without_comments
from tests.e2e.npm_packages import web_tools
from tests.e2e.page_weight import packed, weight_of
from tests.support.paths import STATIC

__all__ = ["web_tools"]

MOST_BYTES = 60_000
PAGES = sorted({"demo", *ROOMS.values()})


@pytest.mark.parametrize("folder", PAGES)
def test_a_room_in_use_is_light(folder: str) -> None:
    """Its HTML, styles, scripts and worklets, with the client library and all that comes late."""
    sizes = weight_of(folder)
    assert {f"/{folder}/app.js", "/shared/theme.css", "/shared/rooms.js"} <= sizes.keys()
    assert sum(sizes.values()) <= MOST_BYTES, (sum(sizes.values()), sizes)


def test_nothing_that_a_room_could_load_is_left_out() -> None:
    """Every script of a page's folder is reached from the page."""
    for folder in PAGES:
        ours = {f"/{path.relative_to(STATIC)}" for path in (STATIC / folder).rglob("*.js")}
        assert ours <= weight_of(folder).keys()
    shared = {f"/{path.relative_to(STATIC)}" for path in (STATIC / "shared").glob("*.[!h]*")}
    assert shared == {one for page in PAGES for one in weight_of(page) if "/shared/" in one}


def test_the_calls_of_two_pages_are_counted() -> None:
    called = {"/sdk/blab.js", "/sdk/capture-worklet.js", "/sdk/player-worklet.js"}
    for folder in ("demo", "agents"):
        assert called <= weight_of(folder).keys()
    assert packed("/sdk/blab.js") > 8_000


def test_scripts_without_their_comments_do_the_same(web_tools: Path, tmp_path: Path) -> None:
    """esbuild makes the same of each, and every line stays where it is."""
    folders = sorted({*PAGES, "shared"})
    paths = [path for folder in folders for path in sorted((STATIC / folder).rglob("*.js"))]
    bodies = {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in paths}
    served = {name: without_comments(name, body) for name, body in bodies.items()}
    for name, body in served.items():
        assert body.count(b"\n") == bodies[name].count(b"\n")
    assert made(web_tools, tmp_path / "served", served) == made(
        web_tools, tmp_path / "ours", bodies
    )
    assert len(paths) > 80


def made(web_tools: Path, folder: Path, bodies: dict[str, bytes]) -> dict[str, str]:
    """What esbuild makes of the scripts, by their names."""
    for name, body in bodies.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    program = str(web_tools / ".bin" / "esbuild")
    command = [program, *bodies, "--minify-whitespace", "--outdir=made", "--outbase=."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return {name: (folder / "made" / name).read_text() for name in bodies}
