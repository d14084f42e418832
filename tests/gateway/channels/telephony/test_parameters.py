"""Custom parameters: the key goes nowhere, facts reach the agent as data."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.parameters import (
    MAX_FACTS,
    MAX_VALUE_CHARS,
    facts_of,
    instructions_with,
    key_of,
    keys_answer,
)


def test_the_key_is_no_fact() -> None:
    sent = {"blab_key": "ek_secret", "BLAB_other": "x", "order": "A-17", "from": "+15551234567"}
    assert key_of(sent) == "ek_secret"
    assert facts_of(sent) == {"order": "A-17", "from": "+15551234567"}
    assert key_of({}) is None
    assert keys_answer({"blab_keys": "answer"})
    assert not keys_answer({"blab_keys": "no"})
    assert key_of({"blab_key": ""}) is None


def test_what_could_pass_for_more_than_a_fact_is_dropped() -> None:
    sent = {"a b": "x", "1st": "x", "": "x", "line": "one\ntwo", "empty": "", "long": "x" * 501}
    assert facts_of(sent) == {}


def test_the_agent_is_told_behind_its_own_instructions() -> None:
    told = instructions_with("Sell tea.", {"order": "A-17", "name": "Ann"})
    assert told.startswith("Sell tea.\n\nAbout this call")
    assert told.endswith("\n- order: A-17\n- name: Ann")
    assert instructions_with("Sell tea.", {}) == "Sell tea."
    assert instructions_with("", {"a": "b"}).startswith("About this call")


@given(st.dictionaries(st.text(max_size=70), st.text(max_size=600), max_size=50))
def test_facts_are_bounded_and_of_one_line(sent: dict[str, str]) -> None:
    facts = facts_of(sent)
    assert len(facts) <= MAX_FACTS
    for name, value in facts.items():
        assert sent[name] == value
        assert len(value) <= MAX_VALUE_CHARS
        assert value.isprintable()
        assert not name.lower().startswith("blab_")
