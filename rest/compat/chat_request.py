"""A chat completion's request: OpenAI's parameters, as far as they mean something here.

What would change the answer's shape and cannot be done (several choices, log probabilities, images
and audio) is refused; sampling parameters other than ``temperature`` are accepted and have no
effect. Schemas of tools and of ``response_format`` may be any JSON schema; what the embedded
model's grammar cannot hold of one is left open (see ``engines.json_schemas``).
"""

import json
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pipelines.engines.base import (
    AnswerFormat,
    ChatMessage,
    ChatToolCall,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.chat.json_schemas import fault
from rest.http.errors import ValidationFailed
from rest.http.fields import ModelId

MAX_MESSAGES = 2000
MAX_CHARACTERS = 400_000
"""Of all messages together; the engine drops the oldest long before."""
MAX_TOOLS = 128
MAX_STOPS = 4
DEFAULT_TOKENS, MAX_TOKENS = 1024, 16_384
DEFAULT_TEMPERATURE = 0.4
"""As in calls."""

ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]


class Part(Struct):
    """A part of a message's content; only ``text`` is understood."""

    type: str
    text: str = ""
    refusal: str = ""


class CalledFunction(Struct):
    """What an earlier answer called."""

    name: ToolName
    arguments: str = "{}"


class Call(Struct):
    """A call of an earlier answer."""

    id: Annotated[str, Meta(max_length=200)]
    function: CalledFunction


class Message(Struct):
    """One message of the history."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: Annotated[list[Call], Meta(max_length=MAX_TOOLS)] | None = None
    tool_call_id: Annotated[str, Meta(max_length=200)] | None = None


class Function(Struct):
    """A function that the model may use."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct):
    """A tool; only functions are known."""

    type: Literal["function"]
    function: Function


class NamedFunction(Struct):
    """A function by its name."""

    name: ToolName


class NamedTool(Struct):
    """The one tool that must be called."""

    function: NamedFunction


FormatName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,64}$")]


class JsonSchema(Struct):
    """The schema that an answer must fit."""

    name: FormatName
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """Text, any JSON object, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    """What a stream has beside the answer."""

    include_usage: bool = False


class ChatCreate(Struct, kw_only=True):
    """OpenAI's CompletionCreateParams."""

    model: ModelId
    messages: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    stop: str | Annotated[list[str], Meta(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    n: int | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    functions: list[Any] | None = None

    @property
    def limit(self) -> int:
        """Tokens of the answer at most."""
        return min(self.max_completion_tokens or self.max_tokens or DEFAULT_TOKENS, MAX_TOKENS)

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer and are not part of it."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in given if stop)


def refuse_unknown(asked: ChatCreate) -> None:
    """Raise ValidationFailed for what is not supported here."""
    wrong = {
        "n": (asked.n or 1) != 1,
        "logprobs": bool(asked.logprobs),
        "modalities": (asked.modalities or ["text"]) != ["text"],
        "functions": bool(asked.functions),
    }
    instead = {"n": "ask once for each answer", "functions": "send 'tools'"}
    for name, is_wrong in wrong.items():
        if is_wrong:
            raise ValidationFailed(
                f"This {name} is not supported: {instead.get(name, 'leave it out')}.",
                param=name,
                openai_code="unsupported_parameter",
            )


def history(asked: ChatCreate) -> list[ChatMessage]:
    """The messages as chat models take them; raises ValidationFailed."""
    made = [_message(message, f"messages[{place}]") for place, message in enumerate(asked.messages)]
    if sum(len(message.content) for message in made) > MAX_CHARACTERS:
        raise ValidationFailed(
            f"The messages are longer than {MAX_CHARACTERS} characters.",
            param="messages",
            openai_code="context_length_exceeded",
        )
    return made


def offer_of(asked: ChatCreate) -> ToolOffer | None:
    """The tools that may be used; raises ValidationFailed."""
    if not asked.tools:
        if asked.tool_choice not in (None, "none", "auto"):
            raise ValidationFailed("tool_choice needs tools.", param="tool_choice")
        return None
    tools = tuple(
        _definition(tool.function, f"tools[{place}].function")
        for place, tool in enumerate(asked.tools)
    )
    parallel = asked.parallel_tool_calls is not False
    if not isinstance(asked.tool_choice, NamedTool):
        return ToolOffer(tools, asked.tool_choice or "auto", parallel)
    name = asked.tool_choice.function.name
    if all(tool.name != name for tool in tools):
        raise ValidationFailed(
            f"tool_choice names {name!r}, which is not among the tools.", param="tool_choice"
        )
    return ToolOffer(tools, name, parallel)


def format_of(asked: ChatCreate) -> AnswerFormat | None:
    """The format that the answer must have; raises ValidationFailed."""
    wanted = asked.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return AnswerFormat()
    given = wanted.json_schema
    if given is None:
        raise ValidationFailed(
            "A response_format of type 'json_schema' needs json_schema.",
            param="response_format.json_schema",
        )
    schema = given.schema or {}
    where = "response_format.json_schema.schema"
    _check(schema, where)
    if given.strict and schema.get("type") != "object" and "$ref" not in schema:
        raise ValidationFailed("A strict schema is of type 'object'.", param=f"{where}.type")
    return AnswerFormat(
        schema=json.dumps(schema),
        name=given.name,
        strict=bool(given.strict),
        description=given.description or "",
    )


def _definition(function: Function, where: str) -> ToolDefinition:
    schema = function.parameters or {}
    _check(schema, f"{where}.parameters")
    if schema.get("type", "object") != "object":
        raise ValidationFailed(
            "Parameters are a schema of type 'object'.", param=f"{where}.parameters.type"
        )
    return ToolDefinition(
        name=function.name,
        description=function.description or "",
        parameters=json.dumps(schema),
        strict=bool(function.strict),
    )


def _check(schema: dict[str, Any], where: str) -> None:
    wrong = fault(schema)
    if wrong is not None:
        raise ValidationFailed(
            f"This is not a JSON schema: {wrong[1]}.",
            param=f"{where}{wrong[0]}",
            openai_code="invalid_json_schema",
        )


def _message(message: Message, where: str) -> ChatMessage:
    text = _text(message, where)
    match message.role:
        case "assistant":
            calls = tuple(
                ChatToolCall(call.id, call.function.name, call.function.arguments)
                for call in message.tool_calls or ()
            )
            return ChatMessage("assistant", text, calls=calls)
        case "tool":
            if not message.tool_call_id:
                raise ValidationFailed(
                    "A tool's message needs tool_call_id.", param=f"{where}.tool_call_id"
                )
            return ChatMessage("tool", text, call_id=message.tool_call_id)
        case "user":
            return ChatMessage("user", text)
        case "system" | "developer":
            return ChatMessage("system", text)


def _text(message: Message, where: str) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    if content is None:
        if message.role == "assistant":
            return ""
        raise ValidationFailed("The message has no content.", param=f"{where}.content")
    for place, part in enumerate(content):
        if part.type not in ("text", "refusal"):
            raise ValidationFailed(
                f"A part of type {part.type[:40]!r} is not understood: send text.",
                param=f"{where}.content[{place}]",
                openai_code="unsupported_content",
            )
    return "\n".join(part.text or part.refusal for part in content)
