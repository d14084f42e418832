"""Bucket: an S3 bucket by its URL.

``s3://bucket/prefix?option=value``. What the URL does not say is looked up where AWS's own clients
look: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and so
on, a web identity, the machine's role.

Options: ``endpoint`` (the URL of a server that speaks S3; ``http://``: without TLS), ``region``,
``access_key_id``, ``secret_access_key``, ``virtual_hosted_style_request`` (true/false), and
``redirects`` (true by default; false where clients cannot reach the endpoint: then downloads go
through this server).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qsl, urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_OPTIONS = ("endpoint", "region", "access_key_id", "secret_access_key")
_VIRTUAL_HOST = "virtual_hosted_style_request"
_REDIRECTS = "redirects"
_TRUTH = {"true": True, "false": False}
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
"""A server that sends nothing for so long counts as unreachable."""
_RETRY: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket. ``redirects``: whether clients may be sent to it."""

    store: S3Store
    redirects: bool

    @classmethod
    def open(cls, url: str) -> "Bucket":
        """The bucket at ``url``; raises ValueError. Does not connect."""
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError("the address of a bucket is s3://bucket/prefix")
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
        accepted = (*_OPTIONS, _VIRTUAL_HOST, _REDIRECTS)
        unknown = sorted(given.keys() - set(accepted))
        if unknown:
            raise ValueError(
                f"{unknown[0]!r} is no option of a bucket; there are {', '.join(accepted)}"
            )
        options: dict[str, str | bool] = {name: given[name] for name in _OPTIONS if name in given}
        if _VIRTUAL_HOST in given:
            options[_VIRTUAL_HOST] = _switch(given, _VIRTUAL_HOST)
        client: ClientConfig = {
            "allow_http": True,  # where the endpoint says http://
            "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=_READ_SECONDS),
            "timeout": timedelta(
                days=1
            ),  # limits a whole download, which a slow client may prolong
        }
        address = parts._replace(query="").geturl()
        try:
            store = S3Store.from_url(
                address,
                config=cast("S3Config", options),
                client_options=client,
                retry_config=_RETRY,
            )
        except BaseError as error:
            raise ValueError(f"no bucket can be made of this: {type(error).__name__}") from error
        redirects = _switch(given, _REDIRECTS) if _REDIRECTS in given else True
        return cls(store, redirects)


def _switch(given: dict[str, str], name: str) -> bool:
    try:
        return _TRUTH[given[name]]
    except KeyError:
        raise ValueError(f"{name} is true or false") from None
