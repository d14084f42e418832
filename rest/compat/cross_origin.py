"""Web pages may use OpenAI's operations from wherever they come: keys are sent by hand, never as
cookies, so that a page can do nothing in the name of its reader."""

import re
from collections.abc import Iterable

from aiohttp import hdrs, web

from rest.http.operation import AnyOperation

_REGEX = re.compile(r"\{(\w+):[^{}]*\}")
_EXPOSED = (
    "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Warning"
)
_PREFLIGHT = {
    hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, OPTIONS",
    # a wildcard does not stand for Authorization
    hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Authorization, *",
    hdrs.ACCESS_CONTROL_MAX_AGE: "600",
}


class CrossOrigin:
    """What browsers ask before and look at behind requests to ``operations``."""

    def __init__(self, operations: Iterable[AnyOperation]) -> None:
        self._paths = sorted({operation.path for operation in operations})
        self._canonical = {_REGEX.sub(r"{\1}", path) for path in self._paths}

    def routes(self) -> list[web.RouteDef]:
        """Answers to the question whether a request may be sent."""
        return [web.options(path, self._preflight) for path in self._paths]

    async def show(self, http: web.Request, response: web.StreamResponse) -> None:
        """Let any page read the answer; for ``Application.on_response_prepare``."""
        resource = http.match_info.route.resource
        if resource is not None and resource.canonical in self._canonical:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    async def _preflight(self, _http: web.Request) -> web.Response:
        return web.Response(status=204, headers=_PREFLIGHT)
