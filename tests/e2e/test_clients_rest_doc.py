"""docs/clients.md, OpenAI's REST: every example runs exactly as written, on the real engines."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.live_server import LiveServer
from tests.support.paths import ROOT

pytestmark = pytest.mark.engines


SECTION = re.compile(r"^## OpenAI's REST$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SECONDS = 300.0


def blocks() -> list[tuple[str, str]]:
    """Language and text of the section's examples, in order."""
    section = SECTION.search((ROOT / "docs" / "clients.md").read_text())
    assert section is not None
    return BLOCK.findall(section[1])


def script(server: LiveServer) -> str:
    """All examples as one script that ends at the first that fails."""
    head = 'set -euo pipefail\ncurl() { command curl --fail-with-body --max-time 200 "$@"; echo; }'
    lines = [head]
    for number, (language, text) in enumerate(blocks()):
        if language == "python":
            path = f"example{number}.py"
            lines.append(f"cat > {path} <<'END'\n{text}END\n{sys.executable} {path}")
        else:
            place = text.replace("http://127.0.0.1:8484", server.url)
            lines.append(place.replace("./blab", f"{sys.executable} -m gateway.cli"))
    return "\n".join(lines)


@pytest.mark.timeout(400)
async def test_every_example(live_server: LiveServer, tmp_path: Path) -> None:
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
    assert process.returncode == 0, said[-3000:] + complaints.decode()[-2000:]
    assert said.lower().count("amiable") >= 3  # what the recording says: srt, streamed, by words
    assert "-->" in said
    assert said.lower().count("paris") >= 2  # the chat model's answer, by both clients
    assert said.count("data: [DONE]") == 1
    assert '"id":"whisper-1"' in said
    assert "blab-stable blab" in said
    for name in ("curl.mp3", "booked.mp3"):
        assert (tmp_path / name).stat().st_size > 5_000
