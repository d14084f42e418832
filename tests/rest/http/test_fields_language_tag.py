"""Tags of languages."""

import pytest

from rest.http.errors import ValidationFailed
from rest.http.fields import language_named


@pytest.mark.parametrize(
    ("tag", "language"), [(None, None), ("", None), ("en", "en"), ("pt-BR", "pt"), ("DE", "de")]
)
def test_the_first_part(tag: str | None, language: str | None) -> None:
    assert language_named(tag) == language


@pytest.mark.parametrize("tag", ["english", "e", "en_US", "en-", f"en{'-a' * 20}"])
def test_malformed_ones(tag: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        language_named(tag)
    assert refused.value.param == "language"
