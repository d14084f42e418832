"""What Prometheus reads."""

from gateway.metrics import Metrics


async def test_empty_answers_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    for outcome in ("retried", "retried", "failed"):
        metrics.empty_answer(outcome)
    response = await metrics.handle(None)  # type: ignore[arg-type]
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'blab_empty_answers_total{outcome="retried"} 2.0' in lines
    assert 'blab_empty_answers_total{outcome="failed"} 1.0' in lines
