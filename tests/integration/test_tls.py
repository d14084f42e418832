"""TLS with the operator's own certificate: pages, calls, and unusable certificates."""

import asyncio
import datetime
import ssl
from pathlib import Path

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.commands.serve import _tls
from gateway.lifecycle import RunningServer, tls_context
from gateway.settings import Settings, SettingsError
from tests.support.gateway.http_support import TestServer


def certificate(folder: Path, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        hidden = serialization.BestAvailableEncryption(password)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files[1].write_bytes(key.private_bytes(encoding, form, hidden))
    return files


def test_pages_and_calls_over_tls_on_the_servers_own_event_loop(tmp_path: Path) -> None:
    """Its transports differ from the standard library's, those of TLS above all."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test_pages_and_calls_over_tls(tmp_path))


async def test_pages_and_calls_over_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    made = TestServer()
    server = await RunningServer.start(made.app, "localhost", 0, tls=tls_context(cert, key))
    trust = ssl.create_default_context(cafile=cert)
    headers = {"Authorization": f"Bearer {made.keys.add()}"}
    try:
        async with aiohttp.ClientSession() as http:
            async with http.get(f"https://localhost:{server.port}/nowhere", ssl=trust) as answer:
                assert answer.status == 404
            url = f"wss://localhost:{server.port}/v1/realtime?model=default"
            async with http.ws_connect(url, ssl=trust, headers=headers) as call:
                assert (await call.receive_json())["type"] == "session.created"
    finally:
        await server.close()


def test_an_unusable_certificate_is_named(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    assert _tls(Settings.read({"BLAB_TLS_CERTIFICATE": str(both)})) is not None
    assert _tls(Settings.read({})) is None
    (tmp_path / "other").mkdir()
    _, hidden = certificate(tmp_path / "other", b"secret")
    for wrong in (hidden, cert):
        settings = Settings.read({"BLAB_TLS_CERTIFICATE": str(cert), "BLAB_TLS_KEY": str(wrong)})
        with pytest.raises(SettingsError, match="BLAB_TLS_CERTIFICATE, BLAB_TLS_KEY"):
            _tls(settings)
    with pytest.raises(SettingsError, match="has no effect without"):
        Settings.read({"BLAB_TLS_KEY": str(key)})
