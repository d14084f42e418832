"""The contract and the served document, tried by schemathesis on a real server: keys, Postgres,
worker and engines.

The commands are those of docs/testing.md; the seed is fixed, and so is the number of examples.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.live_server import LiveServer
from tests.support.paths import ROOT

pytestmark = pytest.mark.engines


SECONDS = 300.0
"""For one document; alone it takes a tenth of that."""
OPERATIONS = 53
"""Of the contract; the served document has more."""


def commands(server: LiveServer, key: str) -> list[list[str]]:
    """The commands of the document, with this server's address and key in them."""
    document = (ROOT / "docs" / "testing.md").read_text()
    made = []
    for line in document.splitlines():
        if "schemathesis --config-file" in line:
            words = shlex.split(line.replace("$BLAB", server.url).replace("$KEY", key))
            assert words[0] == ".venv/bin/schemathesis"
            made.append([str(Path(sys.executable).with_name("schemathesis")), *words[1:]])
    return made


def new_key(server: LiveServer) -> str:
    """A key that may do everything."""
    words = [sys.executable, "-m", "gateway.cli", "key", "--name", "contract"]
    environment = os.environ | {"BLAB_DATA_DIR": str(server.data_dir)}
    made = subprocess.run(words, check=True, capture_output=True, env=environment, cwd=ROOT)
    return made.stdout.decode().strip()


@pytest.mark.timeout(700)
def test_no_operation_breaks_the_contract(live_server: LiveServer) -> None:
    contract, served = commands(live_server, new_key(live_server))
    for command in (contract, served):
        tried = subprocess.run(
            command,
            cwd=ROOT,
            timeout=SECONDS,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said = tried.stdout.decode()
        assert tried.returncode == 0, said[-6000:]
        tested = re.search(r"Tested: (\d+)", said)
        assert tested is not None, said
        assert int(tested[1]) >= OPERATIONS
        assert '"INTERNAL"' not in said
    assert "Traceback" not in live_server.log.read_text()
