"""Calls that can be resumed, as they are stored in Redis: sealed, for the resumption window.

Rules
- A call's values are one key: ``state`` (everything), ``moving`` (what changes while somebody
  speaks, written more often), ``held`` (the node that carries the call, empty while it is
  suspended) and ``spent`` (the digest of the handle that resumed it last). They expire ``window``
  seconds after the last node stopped writing them.
- Who takes a call over spends its handle in the same step, so that of two with one handle one wins:
  until the new holder has written the state, no handle in it counts.
- What was said is sealed under a secret that all nodes share. Of handles only digests are stored.
- Who carries a call has its newest *epoch*. Taking a call over begins the next one, which only one
  of several nodes can do; from then on nothing of the node before is accepted.
- Headers of tools are sealed for one process only, so they are stored opened, inside the seal.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sessions.core.checkpoint import VERSION, Checkpoint, Moving
from sessions.tools import seal, unseal
from store.bus import Bus, Saved, Versioned
from store.ids import is_id
from store.tenants.calls import NewTurn
from store.vault import Vault

log = logging.getLogger(__name__)

_PREFIX = "resume"
_MOST_HANDLE_CHARACTERS = 128
_LINE_SECONDS = 24 * 3600.0
"""Carriers end calls that last longer."""
_EXTRA = 1.5
"""A key lives so many windows; while its call is carried, it is renewed three times as often."""

# ---------------------------------------------------------------------- handles


def new_handle(call_id: str) -> str:
    """A handle that nobody can guess; it names the call."""
    return handle_with(call_id, secrets.token_urlsafe(32))


def handle_with(call_id: str, secret: str) -> str:
    """The handle for a call that ``secret`` resumes."""
    return f"{_PREFIX}.{call_id}.{secret}"


def call_of(handle: str) -> str | None:
    """The call that a handle names; None if it is no handle."""
    prefix, _, rest = handle[:_MOST_HANDLE_CHARACTERS].partition(".")
    call_id, _, secret = rest.partition(".")
    return call_id if prefix == _PREFIX and secret and is_id(call_id) else None


def digest_of(handle: str) -> str:
    """What is stored of a handle."""
    return hashlib.sha256(handle.encode(errors="replace")).hexdigest()


# ---------------------------------------------------------------------- a stored call


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call that can be resumed. ``started_at``: Unix seconds."""

    call_id: str
    workspace_id: str
    agent_id: str | None
    owner: str | None
    """Id of the ephemeral key that started it."""
    locked: bool
    channel: str
    started_at: float
    checkpoint: Checkpoint
    handles: tuple[str, ...] = ()
    """Digests of the handles that resume it."""
    spent: str = ""
    """The digest of the handle that resumed it last. It resumes the call again if the caller lost
    the connection before the next handle came, but takes it from no connection that lives."""
    caller: bytes | None = None
    """As in ``host.CallRequest``."""
    records: tuple[NewTurn, ...] = ()
    """The last turns that ended. The journal may not have written them yet."""

    def knows(self, handle: str, *, held: bool) -> bool:
        """Whether ``handle`` resumes the call, which is carried by a node (``held``) or not."""
        digest = digest_of(handle)
        accepted = self.handles if held else (*self.handles, self.spent)
        return any(hmac.compare_digest(digest, known) for known in accepted)

    def was_resumed_by(self, handle: str) -> bool:
        """Whether ``handle`` was used already."""
        return hmac.compare_digest(digest_of(handle), self.spent)


class _State(msgspec.Struct, frozen=True):
    """What is sealed under ``state``."""

    version: int
    call: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LoadedCall:
    """A stored call and who holds it. ``held_by``: a node, "" while the call is suspended."""

    call: StoredCall
    held_by: str
    known: Versioned

    def spent_on(self, handle: str) -> "LoadedCall":
        """The call, resumed by ``handle``."""
        return replace(self, call=replace(self.call, handles=(), spent=digest_of(handle)))


class StoredCalls:
    """Saves, loads and takes over calls that can be resumed. All methods raise BusUnavailable."""

    def __init__(self, bus: Bus, vault: Vault, window: float) -> None:
        """``window``: seconds within which a call can be resumed."""
        self._bus = bus
        self._vault = vault
        self.window = window

    @property
    def renewal(self) -> float:
        """How often, in seconds, a call that is carried must be saved at least."""
        return self.window * _EXTRA / 3

    async def save(self, entries: Sequence[Versioned]) -> list[Saved]:
        """Save calls of this node."""
        return await self._bus.save(entries, self.window * _EXTRA)

    def whole(self, call: StoredCall, epoch: int, held_by: str) -> Versioned:
        """Everything of a call, to be saved."""
        plain = _with_headers(msgspec.to_builtins(call), _opened)
        state = self._vault.seal(msgspec.msgpack.encode(_State(VERSION, plain)))
        moving = self._sealed(call.checkpoint.moving)
        values = {"state": state, "moving": moving, "held": held_by.encode()}
        return Versioned(resumption_key(call.call_id), epoch, values)

    def moving(self, call_id: str, epoch: int, moving: Moving) -> Versioned:
        """What changes while somebody speaks, to be saved."""
        return Versioned(resumption_key(call_id), epoch, {"moving": self._sealed(moving)})

    def renewed(self, call_id: str, epoch: int) -> Versioned:
        """Nothing has changed; the call is still carried."""
        return Versioned(resumption_key(call_id), epoch, {})

    async def load(self, call_id: str) -> LoadedCall | None:
        """The call, if it can be resumed."""
        known = await self._bus.load(resumption_key(call_id))
        return self._opened(call_id, known) if known is not None else None

    def _opened(self, call_id: str, known: Versioned) -> LoadedCall | None:
        if not (state := self._vault.unseal(known.values.get("state", b""))):
            return None
        decoded = msgspec.msgpack.decode(state, type=_State)
        if decoded.version != VERSION:
            log.warning("call %s was stored by another version and cannot be resumed", call_id)
            return None
        call = msgspec.convert(_with_headers(decoded.call, _closed), StoredCall)
        if moving := self._vault.unseal(known.values.get("moving", b"")):
            newest = msgspec.convert(_with_headers(msgspec.msgpack.decode(moving), _closed), Moving)
            call = replace(call, checkpoint=replace(call.checkpoint, moving=newest))
        if (spent := known.values.get("spent", b"").decode()) and spent != call.spent:
            call = replace(call, handles=(), spent=spent)
        return LoadedCall(call, known.values.get("held", b"").decode(), known)

    async def held_by(self, call_id: str) -> str | None:
        """The node that carries the call, "" while it is suspended; None if it is unknown."""
        known = await self._bus.load(resumption_key(call_id), "held")
        return None if known is None else known.values.get("held", b"").decode()

    async def epoch_of(self, call_id: str) -> int:
        """The newest epoch of the call; 0 if it is unknown."""
        known = await self._bus.load(resumption_key(call_id), "held")
        return 0 if known is None else known.epoch

    async def claim(self, loaded: LoadedCall, handle: str, node_id: str) -> LoadedCall | None:
        """Begin the next epoch of a call on this node, and spend the handle. Returns the call as it
        was at its last moment elsewhere; None if another one was faster."""
        values = {"held": node_id.encode(), "spent": digest_of(handle).encode()}
        known = await self._bus.claim(loaded.known, values, self.window)
        return self._opened(loaded.call.call_id, known) if known is not None else None

    async def give_back(self, call_id: str, epoch: int) -> None:
        """Nobody carries the call that was claimed with this epoch. Nothing where another node has
        claimed it since."""
        await self._bus.save(
            [Versioned(resumption_key(call_id), epoch, {"held": b""})], self.window
        )

    async def put_on(self, line: str, call_id: str) -> None:
        """Note which call goes on over a carrier's line; of that only a digest is stored."""
        await self._bus.put(_line_key(line), call_id.encode(), _LINE_SECONDS)

    async def call_on(self, line: str) -> str | None:
        """The call that last began over a line, which may have ended."""
        call_id = await self._bus.get(_line_key(line))
        return None if call_id is None else call_id.decode()

    async def discard(self, call_id: str, epoch: int) -> bool:
        """Forget a call; False if another node has it now."""
        return await self._bus.discard(resumption_key(call_id), epoch)

    def _sealed(self, moving: Moving) -> bytes:
        plain = _with_headers(msgspec.to_builtins(moving), _opened)
        return self._vault.seal(msgspec.msgpack.encode(plain))


async def can_be_resumed(bus: Bus, call_id: str) -> bool:
    """Whether a call is stored still. Raises BusUnavailable."""
    return await bus.load(resumption_key(call_id), "held") is not None


def resumption_key(call_id: str) -> str:
    """Under which a call is stored, sealed."""
    return f"call:{call_id}:resumption"


def _line_key(line: str) -> str:
    return f"line:{digest_of(line)}"


# ---------------------------------------------------------------------- headers of tools


def _opened(sealed: str) -> str:
    return msgspec.json.encode(unseal(sealed)).decode()


def _closed(opened: str) -> str:
    return seal(msgspec.json.decode(opened, type=dict[str, str]))


def _with_headers(plain: Any, translate: Callable[[str], str]) -> Any:
    """``plain`` with every ``sealed`` in it translated."""
    if isinstance(plain, dict):
        return {
            name: translate(value)
            if name == "sealed" and value
            else value
            if name in ("items", "records")
            else _with_headers(value, translate)
            for name, value in plain.items()
        }
    if isinstance(plain, list | tuple):
        return [_with_headers(one, translate) for one in plain]
    return plain
