"""Server events as clients of the beta know them (header ``OpenAI-Beta: realtime=v1``).

Renamed: ``response.output_text|output_audio|output_audio_transcript.*`` lose ``output_``,
``conversation.item.added`` is ``conversation.item.created``, and its ``.done`` is not told. The
session, the response and the content of items take the beta's flat shape. What the beta has no
name for stays as it is.
"""

from typing import Any

from .replies import Body

AUDIO_DELTA = "response.audio.delta"
"""What ``response.output_audio.delta`` is called."""

_PREFIX = "response.output_"
_RENAMED = ("text", "audio", "audio_transcript")
_FORMATS = {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}
_TOKENS = ("text_tokens", "audio_tokens", "cached_tokens")
_CONTENT = {"output_text": "text", "output_audio": "audio"}


def beta_event(event: Body) -> Body | None:
    """The event by its beta name and in its beta shape; None where the beta tells none."""
    kind = event["type"]
    if kind == "conversation.item.done":
        return None
    told = dict(event)
    if kind == "conversation.item.added":
        told["type"] = "conversation.item.created"
    elif kind.startswith(_PREFIX) and kind[len(_PREFIX) :].rpartition(".")[0] in _RENAMED:
        told["type"] = "response." + kind[len(_PREFIX) :]
    if "session" in told:
        told["session"] = beta_session(told["session"])
    if "response" in told:
        told["response"] = _response(told["response"])
    if "item" in told:
        told["item"] = _item(told["item"])
    return told


def beta_session(session: Body) -> Body:
    """The session object in the beta's flat shape."""
    heard = session["audio"]["input"]
    flat: Body = {
        "id": session["id"],
        "input_audio_format": _format(heard["format"]),
        "input_audio_transcription": heard["transcription"],
        "input_audio_noise_reduction": heard["noise_reduction"],
        "turn_detection": heard["turn_detection"],
    }
    if "output" in session["audio"]:
        spoken = session["audio"]["output"]
        flat |= {
            "model": session["model"],
            "modalities": _modalities(session["output_modalities"]),
            "instructions": session["instructions"],
            "voice": spoken["voice"],
            "speed": spoken["speed"],
            "output_audio_format": _format(spoken["format"]),
            "tools": session["tools"],
            "tool_choice": session["tool_choice"],
            "max_response_output_tokens": session["max_output_tokens"],
        }
    return flat | ({"blab": session["blab"]} if "blab" in session else {})


def _response(response: Body) -> Body:
    flat = {
        name: value
        for name, value in response.items()
        if name not in ("audio", "output_modalities")
    }
    flat["modalities"] = _modalities(response["output_modalities"])
    if (usage := response["usage"]) is not None:
        details = usage["input_token_details"]
        known = {name: details[name] for name in _TOKENS}
        flat["usage"] = usage | {"input_token_details": known}
    flat["output"] = [_item(item) for item in response["output"]]
    if "audio" in response:
        spoken = response["audio"]["output"]
        flat |= {"voice": spoken["voice"], "output_audio_format": _format(spoken["format"])}
    return flat


def _item(item: Body) -> Body:
    if "content" not in item:
        return item
    content = [
        part | {"type": _CONTENT.get(part["type"], part["type"])} for part in item["content"]
    ]
    return item | {"content": content}


def _modalities(modalities: list[str]) -> list[str]:
    """The beta counts the transcript of speech as text."""
    return ["text", "audio"] if "audio" in modalities else ["text"]


def _format(form: dict[str, Any]) -> str:
    return _FORMATS[form["type"]]
