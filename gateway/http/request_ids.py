"""The id that each request gets: in the envelope, in a header, in the log."""

import secrets

REQUEST_ID_HEADER = "X-Request-Id"


def new_request_id() -> str:
    """``req_`` and 96 random bits."""
    return f"req_{secrets.token_hex(12)}"
