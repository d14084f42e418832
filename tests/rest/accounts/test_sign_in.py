"""Signing in with a browser: the cookie, its CSRF token, and what each is refused for."""

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

import pytest

from rest.accounts.accounts import AccountResource, Accounts, Passwords, SignInRates, SignInThrottle
from rest.accounts.api_keys import ApiKeyResource
from rest.accounts.auth import Authenticator, SignedIn
from rest.accounts.keys import SCOPES, EphemeralKeys, Grant, SignInGrant
from rest.accounts.sign_in import Browsers, Cookie, SignInResource, SignIns
from rest.http.ratelimit import ClientAddress, Rate, RateLimiter
from store.bus import Bus
from store.database import Database
from store.tenants.accounts import ApiKeys, Users, Workspaces
from tests.support.gateway.http_support import MemoryBus
from tests.support.rest.api_app import TOKENS, Answered, Client, ask, new_tenant, serving

ADA = {"email": "ada@example.org", "password": "correct horse", "name": "Ada"}
HTTPS = {"Origin": "https://blab.example", "Host": "blab.example", "X-Forwarded-Proto": "https"}
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.fixture
def sign_ins() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
async def client(database: Database, redis: Bus, sign_ins: MemoryBus) -> AsyncIterator[Client]:
    passwords = Passwords(memory_kib=64, passes=1)
    rates = SignInRates(Rate(1000, 1), (Rate(3, 600),))
    throttle = SignInThrottle(RateLimiter(redis), ClientAddress(), rates)
    accounts = Accounts(database, passwords, throttle, open=True)
    users = SignedIn(TOKENS, Workspaces(database), lambda: sign_ins.now)
    keys = EphemeralKeys(sign_ins)
    authenticator = Authenticator(ApiKeys(database), keys, users=users)
    browsers = Browsers(authenticator, users, SignIns(sign_ins))
    resources = [
        AccountResource(database, accounts, TOKENS),
        SignInResource(database, accounts, browsers),
        ApiKeyResource(database, authenticator.forget),
    ]
    async with serving(resources, browsers.of_request) as client:
        yield client
    passwords.close()


class Browser:
    """Keeps what the server makes it keep."""

    def __init__(self, client: Client, **headers: str) -> None:
        self.client = client
        self.headers = headers
        self.cookies: dict[str, str] = {}
        self.csrf = ""

    async def ask(self, method: str, path: str, **more: Any) -> Answered:
        headers = self.headers | dict(more.pop("headers", {}))
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        if self.csrf and method != "GET":
            headers.setdefault("X-CSRF-Token", self.csrf)
        self.client.session.cookie_jar.clear()
        answer = await ask(self.client, method, path, headers=headers, **more)
        for name, morsel in SimpleCookie(answer.headers.get("Set-Cookie", "")).items():
            self.cookies[name] = morsel.value
            if morsel["max-age"] == "0":
                del self.cookies[name]
        if answer.status == 200 and path.startswith("/session"):
            self.csrf = answer.data["csrfToken"] or ""
        return answer

    async def register(self, **changes: Any) -> Answered:
        return await self.ask("POST", "/session/account", json=ADA | changes)

    async def sign_in(self, **changes: Any) -> Answered:
        asked = {name: ADA[name] for name in ("email", "password")}
        return await self.ask("POST", "/session", json=asked | changes)

    async def make_key(self, **more: Any) -> Answered:
        return await self.ask("POST", "/api/api-keys", json={"name": "k", "scopes": []}, **more)


@pytest.fixture
def browser(client: Client) -> Browser:
    return Browser(client)


async def test_a_browser_signs_up_out_and_in(browser: Browser) -> None:
    nobody = {
        "registration": "open",
        "user": None,
        "workspaces": [],
        "workspaceId": None,
        "csrfToken": None,
    }
    assert (await browser.ask("GET", "/session")).data == nobody
    made = await browser.register()
    [workspace] = made.data["workspaces"]
    assert made.data["user"]["email"] == ADA["email"]
    assert made.data["workspaceId"] == workspace["id"]
    assert (await browser.ask("GET", "/session")).data == made.data
    assert (await browser.ask("GET", "/api/auth/me")).data["workspaceId"] == workspace["id"]
    assert (await browser.make_key()).status == 200
    assert (await browser.ask("DELETE", "/session")).data == nobody
    assert browser.cookies == {}
    assert (await browser.ask("GET", "/session")).data == nobody
    assert (await browser.ask("GET", "/api/auth/me")).status == 401
    again = await browser.sign_in()
    assert again.data["user"] == made.data["user"]
    assert again.data["csrfToken"] != made.data["csrfToken"]


async def test_no_page_sees_the_cookie_or_a_token(browser: Browser) -> None:
    made = await browser.register()
    [(name, value)] = browser.cookies.items()
    set_cookie = made.headers["Set-Cookie"]
    assert set_cookie == f"{name}={value}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"
    secret = value.partition(".")[0]
    for answer in (made, await browser.ask("GET", "/session")):
        assert secret.encode() not in answer.raw
        assert b"eyJ" not in answer.raw


async def test_over_https_only_a_cookie_of_this_host_counts(
    browser: Browser, client: Client
) -> None:
    await browser.register()
    [(plain, value)] = browser.cookies.items()
    secure = Browser(client, **HTTPS)
    signed_in = await secure.sign_in()
    assert list(secure.cookies) == [f"__Host-{plain}"]
    assert signed_in.headers["Set-Cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")
    assert (await secure.make_key()).status == 200
    for headers in (HTTPS, {"X-Forwarded-Proto": "https"}):
        planted = Browser(client, **headers)
        planted.cookies = {plain: value}
        assert (await planted.ask("GET", "/session")).data["user"] is None
        assert (await planted.ask("GET", "/api/auth/me")).status == 401


async def test_a_sign_out_ends_copies_too(browser: Browser, client: Client) -> None:
    await browser.register()
    copy = Browser(client)
    copy.cookies = dict(browser.cookies)
    assert (await copy.ask("GET", "/api/auth/me")).status == 200
    await browser.ask("DELETE", "/session")
    for method, path in (("GET", "/api/auth/me"), ("GET", "/api/api-keys"), ("DELETE", "/session")):
        refused = await copy.ask(method, path)
        assert (refused.status, refused.details) == (401, {"reason": "signed_out"})


async def page_key(browser: Browser, bus: MemoryBus) -> str:
    """A key as a page gets it that somebody has signed in to."""
    signed_in = (await browser.ask("GET", "/session")).data
    [text] = browser.cookies.values()
    place = Cookie(text.partition(".")[0]).place
    grant = Grant(
        signed_in["workspaceId"],
        scopes=SCOPES,
        sign_in=SignInGrant(signed_in["user"]["id"], 1, place),
    )
    return (await EphemeralKeys(bus).mint(grant)).value


async def test_a_pages_key_is_its_users_until_they_sign_out(
    browser: Browser, client: Client, sign_ins: MemoryBus
) -> None:
    made = await browser.register()
    key = await page_key(browser, sign_ins)
    me = (await ask(client, "GET", "/api/auth/me", key)).data
    assert me["user"] == made.data["user"]
    assert me["workspaceId"] == made.data["workspaceId"]
    await browser.ask("DELETE", "/session")
    assert (await ask(client, "GET", "/api/auth/me", key)).status == 401
    assert (await ask(client, "GET", "/api/api-keys", key)).status == 401


async def test_a_pages_key_without_sign_in_is_nobodys(client: Client, sign_ins: MemoryBus) -> None:
    browser = Browser(client)
    workspace = (await browser.register()).data["workspaces"][0]
    grant = Grant(workspace["id"], scopes=SCOPES)
    key = (await EphemeralKeys(sign_ins).mint(grant)).value
    me = (await ask(client, "GET", "/api/auth/me", key)).data
    assert me == {
        "workspaceId": workspace["id"],
        "workspaces": [{"id": workspace["id"], "name": workspace["name"]}],
        "user": None,
        "apiKey": None,
    }


async def test_a_new_password_ends_every_sign_in_with_the_one_before(
    browser: Browser, client: Client, database: Database, sign_ins: MemoryBus
) -> None:
    made = await browser.register()
    user = made.data["user"]
    login = {name: ADA[name] for name in ("email", "password")}
    token = (await ask(client, "POST", "/api/auth/login", json=login)).data["token"]
    key = await page_key(browser, sign_ins)
    passwords = Passwords(memory_kib=64, passes=1)
    hashed = await passwords.hash("another horse")
    passwords.close()
    await Users(database).replace_password_hash(user["id"], hashed)
    # a sign-in by the new one counts at once
    anew = Browser(client)
    assert (await anew.sign_in(password="another horse")).data["user"] == user
    assert (await anew.ask("GET", "/api/auth/me")).data["user"] == user
    assert (await browser.ask("GET", "/api/auth/me")).status == 401
    assert (await browser.ask("GET", "/session")).data["user"] is None
    for ended in (token, key):
        assert (await ask(client, "GET", "/api/auth/me", ended)).status == 401


async def test_another_sign_in_ends_the_one_before(browser: Browser, client: Client) -> None:
    await browser.register()
    before = Browser(client)
    before.cookies = dict(browser.cookies)
    assert (await browser.sign_in()).status == 200
    assert (await before.ask("GET", "/api/auth/me")).status == 401
    assert (await browser.ask("GET", "/api/auth/me")).status == 200


async def test_a_sign_in_expires(browser: Browser, sign_ins: MemoryBus) -> None:
    await browser.register()
    sign_ins.now += 12 * 3600 - 1
    assert (await browser.ask("GET", "/api/auth/me")).status == 200
    sign_ins.now += 2
    assert (await browser.ask("GET", "/api/auth/me")).status == 401
    assert (await browser.ask("GET", "/session")).data["user"] is None


async def test_what_redis_holds_opens_nothing(browser: Browser, sign_ins: MemoryBus) -> None:
    await browser.register()
    [secret] = [value.partition(".")[0] for value in browser.cookies.values()]
    [(place, (_, sealed))] = sign_ins.values.items()
    assert secret not in place
    assert b"usr_" not in sealed
    sign_ins.values[place] = (sign_ins.now + 60, b"usr_1")
    assert (await browser.ask("GET", "/api/auth/me")).status == 401


@pytest.mark.parametrize("token", ["", "wrong", "\u00e9"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/api-keys", {"name": "k", "scopes": []}),
        ("DELETE", "/api/api-keys/key_00000000000000000000000000", None),
        ("PATCH", "/session", {"workspaceId": "ws_1"}),
        ("DELETE", "/session", None),
    ],
)
async def test_changes_need_the_csrf_token(
    browser: Browser, method: str, path: str, body: Any, token: str
) -> None:
    await browser.register()
    refused = await browser.ask(method, path, json=body, headers={"X-CSRF-Token": token})
    assert (refused.status, refused.body["error"]["code"]) == (403, "FORBIDDEN")
    assert refused.details == {"path": "X-CSRF-Token", "reason": "bad_csrf_token"}
    assert (await browser.ask("GET", "/api/api-keys")).data == []


async def test_another_browsers_csrf_token_is_wrong(browser: Browser, client: Client) -> None:
    await browser.register()
    other = Browser(client)
    await other.register(email="eve@example.org")
    refused = await browser.make_key(headers={"X-CSRF-Token": other.csrf})
    assert (refused.status, refused.details["reason"]) == (403, "bad_csrf_token")


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/auth/me", None),
        ("POST", "/api/api-keys", {"name": "k", "scopes": []}),
        ("GET", "/session", None),
        ("POST", "/session", {"email": ADA["email"], "password": ADA["password"]}),
        ("POST", "/session/account", ADA | {"email": "new@example.org"}),
        ("PATCH", "/session", {"workspaceId": "ws_1"}),
        ("DELETE", "/session", None),
    ],
)
async def test_pages_of_other_sites_are_refused(
    browser: Browser, headers: dict[str, str], method: str, path: str, body: Any
) -> None:
    await browser.register()
    before = dict(browser.cookies)
    refused = await browser.ask(method, path, json=body, headers=headers)
    assert (refused.status, refused.body["error"]["code"]) == (403, "FORBIDDEN")
    assert refused.details == {"reason": "foreign_origin"}
    assert browser.cookies == before
    assert (await browser.ask("GET", "/api/auth/me")).status == 200


async def test_a_credential_in_the_header_counts_instead(
    browser: Browser, client: Client, database: Database
) -> None:
    """Without a CSRF token: no browser sends it by itself."""
    await browser.register()
    theirs = await new_tenant(database, "theirs@example.org")
    cookie = "; ".join(f"{name}={text}" for name, text in browser.cookies.items())
    body = {"name": "k", "scopes": []}
    made = await ask(
        client, "POST", "/api/api-keys", theirs.key, json=body, headers={"Cookie": cookie}
    )
    assert made.status == 200
    listed = (await ask(client, "GET", "/api/api-keys", theirs.key)).data
    assert made.data["id"] in [one["id"] for one in listed]
    assert (await browser.ask("GET", "/api/api-keys")).data == []
    refused = await browser.ask("GET", "/api/auth/me", headers={"Authorization": "Bearer no"})
    assert refused.status == 401


async def test_a_user_of_two_workspaces_chooses(browser: Browser, database: Database) -> None:
    made = await browser.register()
    first = made.data["workspaceId"]
    second = (await Workspaces(database).create("Second", made.data["user"]["id"])).id
    theirs = (await new_tenant(database, "theirs@example.org")).workspace_id
    for _ in range(2):  # the memberships of users are cached
        chosen = await browser.ask("PATCH", "/session", json={"workspaceId": second})
        assert chosen.data["workspaceId"] == second
        assert [one["id"] for one in chosen.data["workspaces"]] == [first, second]
    for foreign in (theirs, "ws_00000000000000000000000000", "nonsense", ""):
        refused = await browser.ask("PATCH", "/session", json={"workspaceId": foreign})
        assert (refused.status, refused.details["reason"]) == (403, "not_a_member")


async def test_what_is_done_counts_for_the_workspace_that_was_chosen(
    client: Client, database: Database, browser: Browser, sign_ins: MemoryBus
) -> None:
    made = await browser.register()
    first = made.data["workspaceId"]
    second = (await Workspaces(database).create("Second", made.data["user"]["id"])).id
    theirs = (await new_tenant(database, "theirs@example.org")).workspace_id
    sign_ins.now += 11  # a membership is known everywhere by then

    async def keys_of(browser: Browser, named: str | None = None) -> int:
        headers = {"X-Workspace-Id": named} if named else {}
        return len((await browser.ask("GET", "/api/api-keys", headers=headers)).data)

    await browser.make_key()
    await browser.ask("PATCH", "/session", json={"workspaceId": second})
    assert (await browser.ask("GET", "/session")).data["workspaceId"] == second
    assert (await keys_of(browser), await keys_of(browser, first)) == (0, 1)
    await browser.make_key(headers={"X-Workspace-Id": first})
    assert (await keys_of(browser), await keys_of(browser, first)) == (0, 2)
    # what the browser says is a wish: the server looks up what is theirs
    forged = Browser(client)
    forged.cookies = {
        name: f"{text.partition('.')[0]}.{theirs}" for name, text in browser.cookies.items()
    }
    assert await keys_of(forged) == 2
    refused = await forged.ask("GET", "/api/api-keys", headers={"X-Workspace-Id": theirs})
    assert (refused.status, refused.details["reason"]) == (403, "not_a_member")


async def test_a_user_without_workspace_is_not_signed_in(
    browser: Browser, database: Database, sign_ins: MemoryBus
) -> None:
    made = await browser.register()
    await database.execute("DELETE FROM users WHERE id = $1", made.data["user"]["id"])
    sign_ins.now += 11
    assert (await browser.ask("GET", "/api/auth/me")).status == 401
    assert (await browser.ask("GET", "/session")).data["user"] is None


async def test_attempts_are_throttled_with_those_of_the_api(
    browser: Browser, client: Client
) -> None:
    await browser.register()
    wrong = {"email": ADA["email"], "password": "wrong"}
    assert (await ask(client, "POST", "/api/auth/login", json=wrong)).status == 401
    statuses = [(await browser.sign_in(password="wrong")).status for _ in range(3)]
    assert statuses == [401, 401, 429]
    refused = await browser.sign_in()
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0


@pytest.mark.parametrize("text", ["", ".", "x" * 300, "\u00e9", "..ws_1", "a=b"])
async def test_any_other_cookie_is_nobodys(client: Client, text: str) -> None:
    stranger = Browser(client)
    stranger.cookies = {"blab_sign_in": text, "__Host-blab_sign_in": text}
    assert (await stranger.ask("GET", "/session")).data["user"] is None
    assert (await stranger.ask("GET", "/api/auth/me")).status == 401
