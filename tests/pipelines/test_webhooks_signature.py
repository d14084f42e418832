"""Signatures, verified by the specification's own library."""

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from pipelines.webhooks import new_secret, signature_headers


def test_the_official_library_accepts_them() -> None:
    secret = new_secret()
    body = '{"type":"tts.completed","text":"grüße"}'.encode()
    made = signature_headers(secret, "evt_1", int(time.time()), body)
    assert Webhook(secret).verify(body, made)["type"] == "tts.completed"
    for changed in (body + b" ", body.replace(b"tts", b"stt")):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(changed, made)
    for name in ("webhook-id", "webhook-timestamp"):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, made | {name: made[name] + "1"})
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, made)


def test_secrets_are_as_the_specification_asks() -> None:
    secret = new_secret()
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert new_secret() != secret
