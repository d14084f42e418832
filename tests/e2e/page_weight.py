"""What a page may load: its HTML, and the styles and modules that are reachable from it."""

import gzip
import re

from tests.support.paths import STATIC

_LINKED = re.compile(r'(?:src|href)="(/[\w/.-]+\.(?:js|css|svg))"')
_IMPORTED = re.compile(r'(?:from|import|addModule\()\s*\(?"([\w/.-]+\.js)"')


def weight_of(folder: str) -> dict[str, int]:
    """Bytes of each file after gzip, by its address."""
    index = f"/{folder}/index.html"
    found = {index: _packed(index)}
    waiting = _LINKED.findall(_text(index))
    while waiting:
        address = waiting.pop()
        if address in found:
            continue
        found[address] = _packed(address)
        if address.endswith(".js"):
            home = address.rpartition("/")[0]
            waiting += [_resolved(home, name) for name in _IMPORTED.findall(_text(address))]
    return found


def _resolved(home: str, name: str) -> str:
    return name if name.startswith("/") else f"{home}/{name.removeprefix('./')}"


def _text(address: str) -> str:
    return (STATIC / address.removeprefix("/")).read_text()


def _packed(address: str) -> int:
    return len(gzip.compress((STATIC / address.removeprefix("/")).read_bytes(), 9))
