"""The scopes are the contract's."""

import json

from rest.accounts.keys import SCOPES
from tests.support.paths import CONTRACT


def test_scopes() -> None:
    create = json.loads(CONTRACT.read_text())["components"]["schemas"]["ApiKeyCreate"]
    assert list(SCOPES) == create["properties"]["scopes"]["items"]["enum"]
