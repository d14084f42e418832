"""Any JSON is an event of the core or a client fault, according to the declarations."""

from contextlib import suppress
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.wire.checks import SessionChecks
from gateway.channels.wire.client_events import RESPONSE_FIELDS, ClientEvent, parse_event
from gateway.channels.wire.fields import Fields, names_of
from gateway.channels.wire.items import TOOL_ITEMS
from gateway.channels.wire.session_object import SESSION_FIELDS
from pipelines.engines.call_names import NameFault
from pipelines.ssrf import CustomerHttp
from sessions.channel import ClientFault, Partly, SpokenItem
from sessions.core.config import SessionConfig
from sessions.core.events import ConfigureSession, Event

CONFIG = SessionConfig()
DECLARED = {str(event.__struct_config__.tag): event for event in get_args(ClientEvent)}
NAMES = {name for event in (*DECLARED.values(), *TOOL_ITEMS.values()) for name in names_of(event)}
NESTED = "input output format rate content text transcript events language speech_model label url"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(sorted({*NAMES, *SESSION_FIELDS, *RESPONSE_FIELDS, *NESTED.split()}))
words = st.sampled_from(
    [
        *DECLARED,
        *TOOL_ITEMS,
        "message",
        "user",
        "input_text",
        "audio/pcm",
        "server_vad",
        "audio",
        "text",
        "inf",
    ]
)
plausible = st.recursive(
    json_values | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5),
    max_leaves=16,
)
objects = st.dictionaries(names, plausible, max_size=5)


def value_of(hint: Any, bounds: msgspec.Meta = msgspec.Meta()) -> st.SearchStrategy[Any]:  # noqa: B008
    """What a member so declared may be."""
    arguments = get_args(hint)
    if get_origin(hint) is Annotated:
        return value_of(arguments[0], arguments[1])
    if NoneType in arguments:
        return st.none() | st.one_of([value_of(each) for each in arguments if each is not NoneType])
    if get_origin(hint) is Literal:
        return st.sampled_from(arguments)
    if hint is str:
        plain = st.characters(codec="utf-8", exclude_characters="\0")
        return st.text(plain, max_size=min(bounds.max_length or 80, 80))
    if hint is int:
        return st.integers(bounds.ge, bounds.le)
    if hint is float:
        return st.floats(bounds.ge, bounds.le)
    if hint is bool:
        return st.booleans()
    return objects if hint is Fields else plausible


def message_of(declaration: type[msgspec.Struct]) -> st.SearchStrategy[dict[str, Any]]:
    """Messages that keep to the declaration of their type."""
    hints = get_type_hints(declaration, include_extras=True)
    members = msgspec.structs.fields(declaration)
    required = {member.name: value_of(hints[member.name]) for member in members if member.required}
    optional = {m.name: value_of(hints[m.name]) for m in members if not m.required}
    tag = {"type": st.just(declaration.__struct_config__.tag)}
    return st.fixed_dictionaries(tag | required, optional=optional)


messages = st.one_of([message_of(declaration) for declaration in DECLARED.values()])
spoilt = st.builds(lambda message, more: message | more, messages, objects)
anything = json_values | plausible | messages | spoilt


@pytest.mark.slow
@given(message=anything)
def test_any_json_value_is_an_event_or_a_client_fault(message: Any) -> None:
    try:
        outcome: Any = parse_event(message, CONFIG)
    except ClientFault as fault:
        outcome = fault
    assert isinstance(outcome, (*get_args(Event), SpokenItem, Partly, ClientFault))
    if isinstance(outcome, ClientFault):
        assert outcome.code
        assert outcome.message.encode()
        assert (outcome.param or "").encode() is not None


PLAIN = [
    declaration
    for declaration in DECLARED.values()
    if not any(Fields in (hint, *get_args(hint)) for hint in get_type_hints(declaration).values())
]


@pytest.mark.parametrize("declaration", PLAIN, ids=lambda each: each.__name__)
@given(data=st.data())
def test_events_that_fit_their_declaration_are_accepted(
    declaration: Any, data: st.DataObject
) -> None:
    assert isinstance(parse_event(data.draw(message_of(declaration)), CONFIG), get_args(Event))


@pytest.mark.parametrize("kind", DECLARED)
def test_an_unknown_field_is_refused_with_the_declared_ones(kind: str) -> None:
    with pytest.raises(ClientFault) as refused:
        parse_event({"type": kind, "surprise": 1}, CONFIG)
    accepted = ", ".join(sorted(names_of(DECLARED[kind])))
    assert refused.value.code == "unknown_parameter"
    assert refused.value.message.endswith(f"Known: {accepted}.")


NOTHING_SERVED = SessionChecks(
    lambda names: (
        NameFault("voice", names.voice, "none"),
        NameFault("model", names.model, "none"),
    ),
    CustomerHttp().check,
    locked=True,
)


@given(message=anything)
def test_checks_refuse_in_the_same_form_as_the_decoder(message: Any) -> None:
    """For any message, a check beyond the form is a client fault with a path."""
    with suppress(ClientFault):
        parsed = parse_event(message, CONFIG, NOTHING_SERVED)
        event = parsed.event if isinstance(parsed, Partly) else parsed
        if isinstance(event, ConfigureSession):
            assert event.config.instructions == CONFIG.instructions
            assert event.config.voice == CONFIG.voice
