"""docs/rest.md: every command runs exactly as written, on a real server with its worker."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.live_server import LiveServer
from tests.support.paths import ROOT

pytestmark = pytest.mark.engines


BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECONDS = 400.0


def blocks() -> list[str]:
    """The shell commands of the document, in order."""
    return BLOCK.findall((ROOT / "docs" / "rest.md").read_text())


def script(server: LiveServer) -> str:
    """All blocks as one script that ends at the first command that is refused."""
    first, *others = blocks()
    place = first.replace("http://127.0.0.1:8484", server.url)
    blab = f"{sys.executable} -m gateway.cli"
    head = 'set -euo pipefail\ncurl() { command curl --fail-with-body --max-time 300 "$@"; echo; }'
    return "\n".join([head, place.replace("./blab", blab), *others])


@pytest.mark.timeout(500)
async def test_every_command_of_the_quick_start(live_server: LiveServer, tmp_path: Path) -> None:
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    environment = os.environ | {
        "BLAB_DATA_DIR": str(live_server.data_dir),
        "PYTHONPATH": str(ROOT),
    }
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script(live_server)), cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(SECONDS):
        output, complaints = await process.communicate()
    said = output.decode()
    assert process.returncode == 0, said[-3000:] + complaints.decode()[-1000:]
    assert '"ok":false' not in said
    assert "event: failed" not in said
    assert said.count("event: completed") >= 6
    assert "amiable" in said.lower()  # what the recording says, heard
    assert "-->" in said  # as subtitles
    assert "paris" in said.lower()  # the agent's answer
    assert (tmp_path / "booked.mp3").stat().st_size > 5_000
