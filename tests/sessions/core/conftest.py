"""Fixtures of the core's tests."""

from collections.abc import Callable

import pytest

from sessions.core.config import SessionConfig, TurnDetection
from tests.support.sessions.model_shell import ModelShell

ShellFactory = Callable[..., ModelShell]


@pytest.fixture
def call() -> ShellFactory:
    """A call in progress; keyword arguments set its turn detection and configuration."""

    def begin(**wishes: object) -> ModelShell:
        names = TurnDetection.__dataclass_fields__
        detection = TurnDetection(**{k: v for k, v in wishes.items() if k in names})
        others = {k: v for k, v in wishes.items() if k not in names}
        return ModelShell(SessionConfig(turn_detection=detection, **others))

    return begin
