"""Phonemes: English by rules, other languages by a program (here replaced by a script)."""

import stat
from pathlib import Path

import pytest

from pipelines.engines.base import EngineFailed, base_language
from pipelines.engines.kokoro import phonemes as kokoro_phonemes
from pipelines.engines.kokoro.phonemes import ESPEAK_VOICES, Phonemizer


@pytest.fixture(scope="module")
def english() -> Phonemizer:
    return Phonemizer()


def program(tmp_path: Path, script: str) -> Phonemizer:
    """With a program that notes how it was called and then runs ``script``."""
    path = tmp_path / "espeak-ng"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Phonemizer(str(path))


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_english_needs_no_program(english: Phonemizer) -> None:
    assert english.languages == ("en", "pt")
    assert english.phonemes("Hello there.") == "həlˈO ðˈɛɹ."
    assert english.phonemes("Hello there.", "en-GB") == "həlˈQ ðˈɛː."
    assert english.phonemes("It costs $12.", "en-US") == english.phonemes(
        "It costs twelve dollars."
    )


def test_portuguese_needs_no_program(english: Phonemizer) -> None:
    assert english.phonemes("Bom dia, tudo bem?", "pt-BR") == "bˈoŋ ʤˈiæ, tˈudʊ bˈAŋ?"
    assert english.reason("pt-PT") is None


def test_other_languages_are_refused_with_the_reason(english: Phonemizer) -> None:
    with pytest.raises(EngineFailed, match=r"'de' is not spoken: .* espeak-ng, which is not"):
        english.phonemes("Guten Tag.", "de")
    reason = english.reason("ja")
    assert reason == "nothing installed here has its phonemes"
    assert english.reason("en-AU") is None


def test_the_program_runs_once_per_piece(tmp_path: Path) -> None:
    phonemizer = program(tmp_path, "echo ' (^e^n)t^ʃ(^d^e)a^ɪn '; echo mɪt; cat >> /dev/null")
    assert phonemizer.phonemes("Eins, zwei!", "de-AT") == "ʧIn mɪt, ʧIn mɪt!"
    assert calls(tmp_path) == ["-q --ipa --tie=^ -b 1 -v de --stdin"] * 2
    assert phonemizer.phonemes("Eins. ¿…?", "de") == "ʧIn mɪt. …?"
    assert len(calls(tmp_path)) == 2
    phonemizer.phonemes("Un", "fr-CA")
    assert calls(tmp_path)[2] == "-q --ipa --tie=^ -b 1 -v fr-fr --stdin"


def test_the_text_is_not_passed_as_an_argument(tmp_path: Path) -> None:
    phonemizer = program(tmp_path, "cat")
    assert phonemizer.phonemes("--path=/etc `id` 3,50 l'eau", "fr") == "path=/etc `id` 3,50 l'eau"
    assert calls(tmp_path) == ["-q --ipa --tie=^ -b 1 -v fr-fr --stdin"]


def test_a_program_that_fails_or_hangs_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EngineFailed, match="CalledProcessError"):
        program(tmp_path, "exit 3").phonemes("Hola", "es")
    monkeypatch.setattr(kokoro_phonemes, "ESPEAK_SECONDS", 0.05)
    with pytest.raises(EngineFailed, match="TimeoutExpired"):
        program(tmp_path, "exec sleep 60").phonemes("Hola", "es")
    with pytest.raises(EngineFailed, match="FileNotFoundError"):
        Phonemizer("/nowhere/espeak-ng").phonemes("Hola", "es")


def test_what_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Phonemizer.found().languages == ("en", "pt")
    program(tmp_path, "cat")
    assert Phonemizer.found().languages == ("en", "pt", *ESPEAK_VOICES)


def test_the_base_of_a_tag() -> None:
    assert [base_language(tag) for tag in ("en", "pt-BR", "ZH-Hant-TW")] == ["en", "pt", "zh"]
