"""Passwords are hashed well, off the loop, a few at once."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from argon2 import extract_parameters

from rest.accounts.accounts import AT_ONCE, WAITING, Passwords
from rest.http.errors import Unavailable


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_password_matches_its_hash_only(passwords: Passwords) -> None:
    stored = await passwords.hash("correct horse")
    assert stored.startswith("$argon2id$")
    assert "correct" not in stored
    assert await passwords.verify(stored, "correct horse")
    assert not await passwords.verify(stored, "correct horsf")
    assert not await passwords.verify("no hash", "correct horse")
    assert await passwords.hash("correct horse") != stored


async def test_the_parameters_are_at_least_the_floor(passwords: Passwords) -> None:
    parameters = extract_parameters(await passwords.hash("x"))
    assert parameters.memory_cost >= 19 * 1024
    assert parameters.time_cost >= 2
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)


async def test_the_same_characters_are_the_same_password(passwords: Passwords) -> None:
    stored = await passwords.hash("caf\u00e9 \ufb01n")
    assert await passwords.verify(stored, "cafe\u0301 fin")


async def test_a_missing_hash_takes_the_same_work(passwords: Passwords) -> None:
    assert extract_parameters(passwords._nobodys) == extract_parameters(await passwords.hash("x"))
    assert not await passwords.verify(None, "anything")
    assert not passwords.outdated(passwords._nobodys)


async def test_other_parameters_are_outdated(passwords: Passwords) -> None:
    old = Passwords(memory_kib=1024, passes=1)
    stored = await old.hash("x")
    old.close()
    assert passwords.outdated(stored)
    assert await passwords.verify(stored, "x")


async def test_few_at_once_and_the_loop_goes_on(
    passwords: Passwords, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    lock = threading.Lock()
    running, most = 0, 0

    def slow(stored: str, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(10)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(passwords, "_matches", slow)
    waiting = [asyncio.create_task(passwords.verify("x", "y")) for _ in range(AT_ONCE + WAITING)]
    async with asyncio.timeout(5):
        while running < AT_ONCE:
            await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await passwords.verify("x", "y")
    go_on.set()
    assert all(await asyncio.gather(*waiting))
    assert most == AT_ONCE
