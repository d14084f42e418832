"""Redis or Valkey: what may be lost. Streams, mailboxes, expiring values, leases, rates.

Rules
- Every operation ends within ``BusLimits.deadline`` (a blocking read: that long after its wait) and
  fails with nothing but BusUnavailable, whatever went wrong: outage, time-out, full server, all
  connections busy. The next operation reconnects by itself.
- Every key has a TTL, so that nothing outlives a crash and a full server may evict.
- An entry's sequence number *is* its stream id (``<seq>-0``): reading from a number on is exact,
  writing twice is harmless, and a gap is visible.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from .errors import BusUnavailable

_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

# A lease, its record and its place in a list; see ``Lease``. A list outlives its members' leases: a
# dead node's are in it until it is read.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] and ARGV[3] ~= '1' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if #KEYS > 1 then
    redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[2])
    redis.call('ZADD', KEYS[3], 0, ARGV[5])
    redis.call('PEXPIRE', KEYS[3], 4 * ARGV[2])
end
return 1
"""
_DROP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', unpack(KEYS, 1, math.min(#KEYS, 2)))
if #KEYS > 1 then redis.call('ZREM', KEYS[3], ARGV[2]) end
return 1
"""
# Members whose record has expired are removed on the way; there may be many, so it stops somewhere.
_MEMBERS = """
local found, from, count = {}, ARGV[1], tonumber(ARGV[4])
for _ = 1, 50 do
    local members = redis.call('ZREVRANGEBYLEX', KEYS[1], from, '-', 'LIMIT', 0, 100)
    for _, member in ipairs(members) do
        local record = redis.call('GET', ARGV[2] .. member .. ARGV[3])
        if record then found[#found + 1] = record else redis.call('ZREM', KEYS[1], member) end
        if #found == count then return found end
        from = '(' .. member
    end
    if #members < 100 then return found end
end
return found
"""

# GCRA: the key holds when the next request is due if they came evenly spaced (microseconds of the
# server's clock); one may come ahead of that by as much as the whole quota.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local spacing, quota = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local ahead = due + spacing - now
if ahead > quota then return {0, 0, due - now, ahead - quota} end
redis.call('SET', KEYS[1], string.format('%.0f', due + spacing), 'PX', math.ceil(ahead / 1000))
return {1, math.floor((quota - ahead) / spacing), ahead, 0}
"""

# The bell rings for the first message: its receiver takes all that are in the mailbox.
_POST = """
local waiting = redis.call('LLEN', KEYS[1])
if waiting >= tonumber(ARGV[3]) then return 0 end
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if waiting == 0 then
    redis.call('RPUSH', KEYS[2], ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return 1
"""


# Values of one key that only the holder of its newest epoch may change; see ``Versioned``.
_SAVE = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and tonumber(epoch) > tonumber(ARGV[1]) then return 0 end
if not epoch and #ARGV == 2 then return 2 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""
_CLAIM = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return false end
redis.call('HSET', KEYS[1], 'epoch', tonumber(ARGV[1]) + 1, unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
"""
_DISCARD = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and epoch ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
"""

_LEASES_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class BusLimits:
    """Limits of a Bus; seconds."""

    deadline: float = 0.9
    connections: int = 16
    readers: int = 64
    """Simultaneous blocking reads; further ones fail with BusUnavailable."""


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """An entry to be appended to a stream; ``sequence`` counts from 1 and only grows."""

    stream: str
    sequence: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease, and what others see while it is held: a record, by name in a list of records.

    ``forced``: take it over from whoever holds it."""

    key: str
    holder: str
    record_key: str = ""
    record: bytes = b""
    list_key: str = ""
    member: str = ""
    forced: bool = False


class Saved(IntEnum):
    """What became of values that were to be saved."""

    TAKEN = 0
    """A newer epoch holds the key: nothing was saved."""
    DONE = 1
    MISSING = 2
    """There was nothing whose time could be extended."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """Values of one key, and the ``epoch`` of who saves them: an older one than the key has is
    refused. Values that are not given stay; without any, only the time is extended."""

    key: str
    epoch: int
    values: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Taken:
    """What is left of a rate. ``reset``: seconds until all of it is free again; ``retry_after``:
    seconds until the next may be taken, 0 where this one was."""

    allowed: bool
    remaining: int
    reset: float
    retry_after: float


class Bus:
    """A client of one server. Safe for many tasks of one loop; connects when first used."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "blab:",
        limits: BusLimits = BusLimits(),
    ) -> None:
        """``url``: ``redis://``, ``rediss://`` or ``unix://``. ``prefix`` begins every key."""
        self._prefix = prefix
        self._limits = limits
        options: dict[str, Any] = {
            "protocol": 2,
            # the one deadline is ours (_bounded): the client's own, nested inside it, can swallow
            # its cancellation when both expire together, and wait once more
            "socket_timeout": None,
            "socket_connect_timeout": None,
            # one retry, at once: a pooled connection may have died with the server it went to
            "retry": Retry(NoBackoff(), 1),
        }
        self._pool = BlockingConnectionPool.from_url(
            url, max_connections=limits.connections, timeout=None, **options
        )
        self._reader_pool = ConnectionPool.from_url(url, max_connections=limits.readers, **options)
        self._redis = Redis(connection_pool=self._pool)
        self._reader = Redis(connection_pool=self._reader_pool)

    async def close(self) -> None:
        """Close all connections."""
        for pool in (self._pool, self._reader_pool):
            with contextlib.suppress(RedisError, OSError):
                await pool.aclose()

    async def ping(self) -> None:
        """Raises BusUnavailable where the server does not answer."""
        async with self._bounded():
            await cast("Any", self._redis.ping())

    # ------------------------------------------------------------------ values that expire

    async def put(self, key: str, value: bytes, ttl: float) -> None:
        """Set ``key`` for ``ttl`` seconds."""
        async with self._bounded():
            await self._redis.set(self._prefix + key, value, px=_milliseconds(ttl))

    async def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or it has expired."""
        async with self._bounded():
            return cast("bytes | None", await self._redis.get(self._prefix + key))

    async def pop(self, key: str) -> bytes | None:
        """The value, which only one caller gets and which is gone then; None as in ``get``."""
        async with self._bounded():
            return cast("bytes | None", await self._redis.getdel(self._prefix + key))

    async def delete(self, key: str) -> None:
        """Delete a key, if it is there."""
        async with self._bounded():
            await self._redis.delete(self._prefix + key)

    # ------------------------------------------------------------------ leases

    async def lease_acquire(self, key: str, holder: str, ttl: float) -> bool:
        """Take a lease for ``ttl`` seconds; False where somebody holds it (even ``holder``)."""
        async with self._bounded():
            name = self._prefix + key
            return bool(await self._redis.set(name, holder, nx=True, px=_milliseconds(ttl)))

    async def lease_renew(self, key: str, holder: str, ttl: float) -> bool:
        """Extend a lease; False where ``holder`` no longer holds it."""
        async with self._bounded():
            return await self._scripted(_RENEW, key, holder, _milliseconds(ttl))

    async def lease_release(self, key: str, holder: str) -> bool:
        """Release a lease; False where ``holder`` no longer held it."""
        async with self._bounded():
            return await self._scripted(_RELEASE, key, holder)

    async def hold(self, leases: Sequence[Lease], ttl: float) -> list[bool]:
        """Take or renew leases for ``ttl`` seconds and write their records, in one go; False where
        somebody else holds one."""
        held: list[bool] = []
        for start in range(0, len(leases), _LEASES_AT_ONCE):
            async with self._bounded(), self._redis.pipeline(transaction=False) as pipe:
                for lease in leases[start : start + _LEASES_AT_ONCE]:
                    shown = (lease.record, lease.member) if lease.record_key else ()
                    keys = self._keys_of(lease)
                    forced = "1" if lease.forced else "0"
                    pipe.eval(
                        _HOLD, len(keys), *keys, lease.holder, _milliseconds(ttl), forced, *shown
                    )
                held += map(bool, await pipe.execute())
        return held

    async def release(self, leases: Sequence[Lease]) -> None:
        """Release those of the leases that their holder still holds, with their records."""
        for start in range(0, len(leases), _LEASES_AT_ONCE):
            async with self._bounded(), self._redis.pipeline(transaction=False) as pipe:
                for lease in leases[start : start + _LEASES_AT_ONCE]:
                    keys = self._keys_of(lease)
                    pipe.eval(_DROP, len(keys), *keys, lease.holder, lease.member)
                await pipe.execute()

    async def members(
        self, list_key: str, *, value_of: str, before: str | None = None, count: int = 100
    ) -> list[bytes]:
        """The records in a list whose leases are held, the greatest name first, at most ``count``,
        with names below ``before``. ``value_of``: the key of a record, its name as ``*``."""
        prefix, _, suffix = value_of.partition("*")
        begin = "+" if before is None else f"({before}"
        arguments = (begin, self._prefix + prefix, suffix, str(count))
        async with self._bounded():
            reply = self._redis.eval(_MEMBERS, 1, self._prefix + list_key, *arguments)
            return list(await cast("Any", reply))

    def _keys_of(self, lease: Lease) -> list[str]:
        keys = [lease.key, lease.record_key, lease.list_key] if lease.record_key else [lease.key]
        return [self._prefix + key for key in keys]

    async def _scripted(self, script: str, key: str, *arguments: str | int | bytes) -> bool:
        encoded = (one if isinstance(one, bytes) else str(one) for one in arguments)
        reply = self._redis.eval(script, 1, self._prefix + key, *encoded)
        return bool(await cast("Any", reply))

    # ------------------------------------------------------------------ values with an epoch

    async def save(self, entries: Sequence[Versioned], ttl: float) -> list[Saved]:
        """Save the values of each key for ``ttl`` seconds; what became of each."""
        async with self._bounded(), self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.eval(
                    _SAVE,
                    1,
                    self._prefix + entry.key,
                    str(entry.epoch),
                    str(_milliseconds(ttl)),
                    *_flat(entry.values),
                )
            return [Saved(reply) for reply in await pipe.execute()]

    async def load(self, key: str, *names: str) -> Versioned | None:
        """All values of a key, or those of ``names``; None where it is unknown or has expired."""
        async with self._bounded():
            if names:
                found = await cast("Any", self._redis.hmget(self._prefix + key, "epoch", *names))
                values = dict(zip(("epoch", *names), found, strict=True))
            else:
                found = await cast("Any", self._redis.hgetall(self._prefix + key))
                values = {name.decode(): value for name, value in found.items()}
        return _versioned(key, values)

    async def claim(
        self, known: Versioned, values: Mapping[str, bytes], ttl: float
    ) -> Versioned | None:
        """Take a key over from its holder: begin the next epoch, and set ``values``. Returns all
        values as they are then; None where another epoch has begun since ``known`` was loaded."""
        encoded = (str(known.epoch), str(_milliseconds(ttl)), *_flat(values))
        async with self._bounded():
            reply = self._redis.eval(_CLAIM, 1, self._prefix + known.key, *encoded)
            flat: list[bytes] | None = await cast("Any", reply)
        if flat is None:
            return None
        names = (name.decode() for name in flat[::2])
        return _versioned(known.key, dict(zip(names, flat[1::2], strict=True)))

    async def discard(self, key: str, epoch: int) -> bool:
        """Delete a key; False where a newer epoch holds it."""
        async with self._bounded():
            return await self._scripted(_DISCARD, key, epoch)

    # ------------------------------------------------------------------ rates

    async def take(self, key: str, limit: int, seconds: float) -> Taken:
        """Take one of ``limit`` in ``seconds``; all may be taken at once, and they refill evenly. A
        refusal takes nothing."""
        spacing = max(1, int(seconds * 1_000_000 / limit))
        async with self._bounded():
            reply = self._redis.eval(
                _TAKE, 1, self._prefix + key, str(spacing), str(spacing * limit)
            )
            allowed, remaining, reset, retry_after = await cast("Any", reply)
        return Taken(
            allowed=bool(allowed),
            remaining=remaining,
            reset=reset / 1e6,
            retry_after=retry_after / 1e6,
        )

    # ------------------------------------------------------------------ streams

    async def append(self, entries: Sequence[StreamEntry], *, keep: int, ttl: float) -> None:
        """Append entries in their order; each stream keeps about its last ``keep``, for ``ttl`` s.

        An entry whose number is not above the stream's last is skipped: it has been written
        already."""
        async with self._bounded(), self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(
                    self._prefix + entry.stream,
                    {"e": entry.data},
                    id=f"{entry.sequence}-0",
                    maxlen=keep,
                    approximate=True,
                )
            for stream in {entry.stream for entry in entries}:
                pipe.pexpire(self._prefix + stream, _milliseconds(ttl))
            for reply in await pipe.execute(raise_on_error=False):
                written_before = isinstance(reply, ResponseError) and "equal or smaller" in str(
                    reply
                )
                if isinstance(reply, Exception) and not written_before:
                    raise reply

    async def range(self, stream: str, after: int, *, count: int = 100) -> list[tuple[int, bytes]]:
        """Entries with numbers above ``after``, oldest first, at most ``count``."""
        async with self._bounded():
            entries = await self._redis.xrange(
                self._prefix + stream, min=f"{after + 1}-0", count=count
            )
        return _numbered(entries)

    async def last(self, stream: str) -> int:
        """The number of a stream's last entry; 0 where there is none."""
        async with self._bounded():
            entries = await self._redis.xrevrange(self._prefix + stream, count=1)
        return _numbered(entries)[0][0] if entries else 0

    async def read(
        self, positions: Mapping[str, int], *, count: int = 100, wait: float = 0.5
    ) -> dict[str, list[tuple[int, bytes]]]:
        """Entries with numbers above those given, by stream, oldest first, at most ``count`` of
        each; waits up to ``wait`` seconds for the first one, then returns nothing."""
        streams: Any = {self._prefix + name: f"{after}-0" for name, after in positions.items()}
        async with self._bounded(wait):
            reply = await self._reader.xread(streams, count=count, block=_milliseconds(wait))
        found = cast("list[tuple[bytes, Any]]", reply or [])
        begin = len(self._prefix)
        return {name.decode()[begin:]: _numbered(entries) for name, entries in found}

    # ------------------------------------------------------------------ letter boxes

    async def post(
        self, box: str, letter: bytes, *, bell: str, name: str, keep: int, ttl: float
    ) -> bool:
        """Put a message into a mailbox and, where that was empty, ``name`` on the bell; False where
        ``keep`` messages are waiting already. What nobody takes within ``ttl`` s is dropped."""
        keys = (self._prefix + box, self._prefix + bell)
        async with self._bounded():
            arguments: tuple[Any, ...] = (letter, name, str(keep), str(_milliseconds(ttl)))
            reply = self._redis.eval(_POST, 2, *keys, *arguments)
            return bool(await cast("Any", reply))

    async def collect(self, box: str, count: int) -> list[bytes]:
        """Take up to ``count`` messages out of a mailbox, oldest first."""
        async with self._bounded():
            letters = await cast("Any", self._redis.lpop(self._prefix + box, count))
        return letters or []

    async def rung(self, bell: str, *, wait: float = 0.5) -> str | None:
        """The next name on the bell; None where none arrived within ``wait`` seconds. A name that
        was in transit when this failed is lost."""
        async with self._bounded(wait):
            reply = await cast("Any", self._reader.blpop([self._prefix + bell], timeout=wait))
        return reply[1].decode() if reply else None

    @contextlib.asynccontextmanager
    async def _bounded(self, wait: float = 0.0) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(wait + self._limits.deadline):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise BusUnavailable(f"Redis: {type(error).__name__}: {error}") from error


def _numbered(entries: Any) -> list[tuple[int, bytes]]:
    return [(int(number.split(b"-")[0]), fields[b"e"]) for number, fields in entries]


def _versioned(key: str, values: dict[str, bytes]) -> Versioned | None:
    epoch = values.pop("epoch", None)
    if epoch is None:
        return None
    return Versioned(key, int(epoch), {n: v for n, v in values.items() if v is not None})


def _flat(values: Mapping[str, bytes]) -> list[str | bytes]:
    return [part for pair in values.items() for part in pair]


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
