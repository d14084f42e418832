"""What Prometheus reads."""

from aiohttp.test_utils import make_mocked_request

from gateway.http.metrics import Metrics
from rest.accounts.auth import Principal


async def test_empty_answers_are_counted_by_what_became_of_them() -> None:
    async def nobody(_request: object) -> Principal:
        raise AssertionError("loopback needs no key")

    class Loopback:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return ("127.0.0.1", 1) if name == "peername" else default

    metrics = Metrics()
    for outcome in ("retried", "retried", "failed"):
        metrics.empty_answer(outcome)
    request = make_mocked_request(
        "GET", "/metrics", headers={"Host": "localhost"}, transport=Loopback()
    )
    response = await metrics.handler(nobody)(request)
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'blab_empty_answers_total{outcome="retried"} 2.0' in lines
    assert 'blab_empty_answers_total{outcome="failed"} 1.0' in lines
