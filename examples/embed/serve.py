#!/usr/bin/env python3
"""A web page with an embedded agent, on an origin of its own and under a strict policy.

``BLAB`` is the server, ``KEY`` an API key with ``agents:write``. Makes an agent and an embed for
the page, and serves it at http://localhost:8000 (or on the port in ``PORT``) until Ctrl-C, which
deletes both.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import Request, urlopen

SERVER = os.environ.get("BLAB", "http://127.0.0.1:8484")
PORT = int(os.environ.get("PORT", "8000"))
PAGE = Path(__file__).with_name("index.html")
POLICY = "; ".join(
    [
        "default-src 'none'",
        "img-src data:",
        f"script-src {SERVER}",
        f"connect-src {SERVER} {SERVER.replace('http', 'ws', 1)}",
    ]
)


def api(method: str, path: str, body: object = None) -> dict[str, str]:
    """The ``data`` of an answer of the server."""
    headers = {"Authorization": f"Bearer {os.environ['KEY']}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(SERVER + path, data, headers, method=method), timeout=30) as answer:
        found: dict[str, str] = json.load(answer)["data"]
        return found


def serve(embed_id: str) -> None:
    """Answer every request with the page."""
    text = PAGE.read_text().replace("{server}", SERVER).replace("{embed}", embed_id)

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", POLICY)
            self.end_headers()
            self.wfile.write(text.encode())

    with ThreadingHTTPServer(("127.0.0.1", PORT), Page) as server:
        print(f"http://localhost:{PORT}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> None:
    """Make what the page needs, serve it, and clear up."""
    prompt = "You help the visitors of a small shop. Answer in one short sentence."
    agent = api("POST", "/api/agents", {"name": "Shop assistant", "systemPrompt": prompt})
    texts = {
        "title": "Ask the shop",
        "greeting": "Hello! What are you looking for?",
        "consent": "What you say is processed on the shop's own server.",
    }
    body = {"name": "Shop", "origins": [f"http://localhost:{PORT}"], "texts": texts}
    try:
        serve(api("POST", f"/api/agents/{agent['id']}/embeds", body)["id"])
    finally:
        api("DELETE", f"/api/agents/{agent['id']}")


if __name__ == "__main__":
    main()
