"""CallReader: tool calls that a model writes as text, found in the stream of its tokens.

Rules
- What looks like a call is never text: it is a call, mended where that is possible, or it is
  ``unusable``. That is: it has the markup of calls, or is an object with a name and arguments.
- A call names a tool that was offered and has arguments that fit its schema, as far as they can
  be brought to (numbers written as texts, superfluous names).
- Everything else is text, unchanged. It flows at once; only what may be the beginning of a call is
  held back: ``call_markup.LOOK`` characters, or as long as an object that begins like one has no
  end, at most ``LIMIT``.
- Behind a call without a closing tag nothing but further calls is read: what a model writes there
  is a guess at the tool's answer. The same call twice is one call.
"""

import contextlib
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pipelines.engines.base import ToolCallDelta, ToolOffer, new_call_id

from .call_markup import Markup, interpreted
from .json_schemas import arguments_schema, coerced, fits

LIMIT = 16_384
_CLOSER = re.compile(r"[}\])>`]")
_SURE = ("tag", "bracket")
"""Kinds that cannot be anything but a call."""


class CallReader:
    """Feed text, take text and calls; ``flush`` at the end."""

    def __init__(self, offer: ToolOffer, *, formatted: bool = False) -> None:
        """``formatted``: the answer itself is to be JSON, so that only tags are markup."""
        self.unusable = ""
        """What looked like a call and was none that can be made."""
        self.calls = 0
        """Calls found so far."""
        self.repeats = False
        """A call was left out that had been made before."""
        self._schemas = {tool.name: arguments_schema(tool.parameters) for tool in offer.tools}
        self._markup = _markup(tuple(self._schemas), not formatted)
        self._held = ""
        self._kind: str | None = None
        """The kind of form at the beginning of what is held."""
        self._looked = 0
        self._doubtful = False
        self._start = True
        self._quiet = False
        """Text is dropped: it stands behind a call."""
        self._made: set[tuple[str, str]] = set()

    def made_before(self, calls: Iterable[tuple[str, str]]) -> None:
        """Names and arguments of calls that are not to be made once more."""
        for name, arguments in calls:
            with contextlib.suppress(ValueError, RecursionError):
                self._made.add((name, _canonical(json.loads(arguments))))

    def feed(self, text: str) -> tuple[str, list[ToolCallDelta]]:
        """What ``text`` adds: text to be said, whole calls."""
        return self._take(text, last=False)

    def flush(self) -> tuple[str, list[ToolCallDelta]]:
        """What is left when the answer is complete."""
        return self._take("", last=True)

    def _take(self, text: str, *, last: bool) -> tuple[str, list[ToolCallDelta]]:
        self._held += text
        said = ""
        calls: list[ToolCallDelta] = []
        while self._held:
            if self._kind is None:
                said += self._text(last=last)
                if self._kind is None:
                    break
            more = self._form(last=last)
            if more is None:
                break
            said += more[0]
            calls += more[1]
        return said, calls

    def _text(self, *, last: bool) -> str:
        """Text up to the next form, without what may become the beginning of one."""
        opening = self._markup.opening(self._held)
        if opening is not None:
            self._kind, cut = opening
        else:
            unsure = 0 if last else self._markup.unsure(self._held, at_start=self._start)
            cut = len(self._held) - unsure
        said, self._held = self._held[:cut], self._held[cut:]
        if self._quiet:
            return ""
        self._start = self._start and not said.strip()
        return said

    def _form(self, *, last: bool) -> tuple[str, list[ToolCallDelta]] | None:
        """The form at the beginning of what is held, once it is whole."""
        assert self._kind is not None  # noqa: S101 - asked for only then
        closes = not self._doubtful and bool(_CLOSER.search(self._held, self._looked))
        self._looked = len(self._held)
        end = self._markup.end(self._kind, self._held) if closes or last else None
        if end is None:
            if not last and len(self._held) <= LIMIT:
                return None
            end = len(self._held)
        form, rest, kind = self._held[:end], self._held[end:], self._kind
        calls, looks = self._read(form)
        if last and looks and not calls and rest:
            calls, _ = self._read(form + rest)
        if self._kind == "named" and not calls and not re.search(r"[{=]", form):
            looks = False
        if looks and not calls and not last and len(self._held) <= LIMIT:
            self._doubtful = True  # the rest of it may stand behind a brace too early
            return None
        self._kind, self._looked, self._doubtful = None, 0, False
        if not calls and not looks and kind not in _SURE:
            self._held, self._start = rest, False
            return ("" if self._quiet else form), []
        self._held = rest.lstrip() if kind == "tag" else rest
        stray = re.fullmatch(r"</[^>]*>", form)
        if not calls and not stray:
            self.unusable = self.unusable or form
        self._quiet = self._quiet or not (kind == "tag" and form.endswith(">"))
        return "", [new for call in calls if (new := self._call(*call)) is not None]

    def _read(self, form: str) -> tuple[list[tuple[str, str]], bool]:
        """Names and arguments that ``form`` calls, and whether it looks like a call at all."""
        found = interpreted(form, self._schemas)
        return [call for one in found if (call := self._fitting(*one))], bool(found)

    def _fitting(self, name: str, arguments: Any) -> tuple[str, str] | None:
        """The tool that is meant and its arguments; None where they cannot be made to fit."""
        known = self._known(name)
        if known is None or arguments is None:
            return None
        arguments = coerced(arguments, self._schemas[known])
        if not fits(arguments, self._schemas[known]):
            return None
        return known, json.dumps(arguments, ensure_ascii=False)

    def _call(self, name: str, arguments: str) -> ToolCallDelta | None:
        made = name, _canonical(json.loads(arguments))
        if made in self._made:
            self.repeats = True
            return None
        self._made.add(made)
        index, self.calls = self.calls, self.calls + 1
        return ToolCallDelta(index, new_call_id(), name, arguments)

    def _known(self, name: str) -> str | None:
        """The tool that ``name`` means."""
        if name in self._schemas:
            return name
        bare = _letters(name.rpartition(".")[2])
        alike = [known for known in self._schemas if _letters(known) == bare]
        return alike[0] if len(alike) == 1 else None


@lru_cache(64)
def _markup(names: tuple[str, ...], bare: bool) -> Markup:
    return Markup(names, bare=bare)


def _canonical(arguments: Any) -> str:
    return json.dumps(arguments, sort_keys=True)


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
