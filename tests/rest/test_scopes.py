"""The scopes are the contract's."""

import json
from pathlib import Path

from rest.scopes import SCOPES

CONTRACT = Path(__file__).parent / "contract" / "openapi.json"


def test_scopes() -> None:
    create = json.loads(CONTRACT.read_text())["components"]["schemas"]["ApiKeyCreate"]
    assert list(SCOPES) == create["properties"]["scopes"]["items"]["enum"]
