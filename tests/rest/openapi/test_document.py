"""The served document contains the contract (tests/support/rest/contract) and is a valid one."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from rest.http.body_checks import faults_in, unknown_in
from rest.http.fields import MAX_TEXT
from rest.openapi.document import OpenApi, document
from rest.openapi.schemas import COMPONENT_EXAMPLES, ERROR_EXAMPLE, REQUEST_EXAMPLES, STORABLE
from tests.support.paths import CONTRACT as CONTRACT_FILE
from tests.support.rest.all_resources import ADDITIONS, all_operations
from tests.support.rest.contract_comparison import differences, operation_differences

Schema = dict[str, Any]

CONTRACT: Schema = json.loads(CONTRACT_FILE.read_text())
OPERATIONS = [(path, method) for path, methods in CONTRACT["paths"].items() for method in methods]
PUBLIC = ("/api/auth/register", "/api/auth/login")
"""Public, though the contract marks them as authenticated: nobody has a credential before."""


@pytest.fixture(scope="module")
def served() -> Schema:
    made: Schema = json.loads(json.dumps(document(all_operations())))
    return made


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_operation_of_the_contract(served: Schema, path: str, method: str) -> None:
    wanted = CONTRACT["paths"][path][method]
    found = list(operation_differences(CONTRACT, served, method, path, wanted))
    if path in PUBLIC:
        label = f"{method.upper()} {path}"
        assert found == [f"{label}: security: [] for [{{'bearerAuth': []}}]"]
    else:
        assert found == []


def test_the_components_and_nothing_else_of_the_contract(served: Schema) -> None:
    lines = [line for line in differences(CONTRACT, served) if line.startswith("component")]
    assert lines == []
    assert len(OPERATIONS) == 53
    for name in ("openapi", "info", "servers", "security"):
        assert served[name] == CONTRACT[name]
    assert {tag["name"] for tag in CONTRACT["tags"]} < {tag["name"] for tag in served["tags"]}
    scheme = CONTRACT["components"]["securitySchemes"]
    assert served["components"]["securitySchemes"] == scheme


def test_beside_the_contracts_paths_only_additions_are_under_api(served: Schema) -> None:
    assert set(served["paths"]) == set(CONTRACT["paths"]) | set(ADDITIONS)


def test_it_is_a_valid_document(served: Schema) -> None:
    validate(served)
    ids = [one["operationId"] for methods in served["paths"].values() for one in methods.values()]
    assert len(set(ids)) == len(ids)


def test_the_document_says_more_than_the_contract(served: Schema) -> None:
    transcribe = served["paths"]["/api/stt"]["post"]
    headers = {one["name"] for one in transcribe["parameters"] if one["in"] == "header"}
    assert headers == {"Idempotency-Key", "X-Workspace-Id"}
    assert {"408", "409", "413", "415", "500", "503"} < set(transcribe["responses"])
    exported = served["paths"]["/api/stt/{id}/export"]["get"]
    (query,) = (one for one in exported["parameters"] if one["in"] == "query")
    assert query["schema"]["default"] == "txt"
    assert exported["responses"]["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}
    assert "409" in exported["responses"]
    assert "409" in served["paths"]["/api/jobs/{id}"]["delete"]["responses"]
    listed = served["paths"]["/api/jobs"]["get"]
    assert "409" not in listed["responses"]
    limit = next(one for one in listed["parameters"] if one["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}


Spoil = Callable[[Schema], object]


def operation(whole: Schema, path: str = "/api/tts", method: str = "post") -> Schema:
    found: Schema = whole["paths"][path][method]
    return found


def component(whole: Schema, name: str) -> Schema:
    found: Schema = whole["components"]["schemas"][name]
    return found


SPOILED: dict[str, Spoil] = {
    "missing": lambda w: w["paths"].pop("/api/usage"),
    "summary": lambda w: operation(w).update(summary="Speak"),
    "security": lambda w: operation(w).update(security=[]),
    "description": lambda w: operation(w).update(description="Required API-key scopes: x."),
    "body: only": lambda w: operation(w).pop("requestBody"),
    "answer 429: missing": lambda w: operation(w)["responses"].pop("429"),
    "answer 200: not in": lambda w: operation(w)["responses"].update(
        {"200": {"description": "OK"}}
    ),
    "('query', 'days')": lambda w: operation(w, "/api/usage/breakdown", "get")[
        "parameters"
    ].clear(),
    "required, and not in the contract": lambda w: operation(w)["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": {}}
    ),
    "default": lambda w: component(w, "TtsCreate")["properties"]["polish"].pop("default"),
    "enum": lambda w: component(w, "TtsCreate")["properties"]["delivery"]["enum"].pop(),
    "maximum": lambda w: component(w, "TtsCreate")["properties"]["speed"].update(maximum=3),
    "type": lambda w: component(w, "Job")["properties"]["progress"].update(type="number"),
    "null": lambda w: component(w, "Job")["properties"]["id"].update(nullable=True),
    "not required": lambda w: component(w, "TtsCreate")["required"].remove("model"),
    "required ['voice']": lambda w: component(w, "TtsCreate")["required"].append("voice"),
    ".emotion: missing": lambda w: component(w, "TtsCreate")["properties"].pop("emotion"),
    "component UsageEvent: missing": lambda w: [
        w["paths"].pop("/api/usage/events"),
        w["components"]["schemas"].pop("UsageEvent"),
    ],
}


@pytest.mark.parametrize("what", SPOILED)
def test_the_comparison_detects_every_difference(what: str) -> None:
    spoiled = copy.deepcopy(CONTRACT)
    assert list(differences(CONTRACT, spoiled)) == []
    operation(spoiled).setdefault("parameters", [])
    SPOILED[what](spoiled)
    assert any(what in line for line in differences(CONTRACT, spoiled))


async def test_it_is_served_to_everybody_and_cached() -> None:
    app = web.Application()
    app.add_routes(OpenApi(all_operations()).routes())
    async with TestClient(TestServer(app)) as client:
        async with client.get("/openapi.json") as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert (await answer.json())["openapi"] == "3.0.3"
            tag = answer.headers["ETag"]
        async with client.get("/openapi.json", headers={"If-None-Match": tag}) as answer:
            assert (answer.status, await answer.read()) == (304, b"")


def test_every_body_has_an_example_that_is_understood_whole() -> None:
    bodies = {
        f"{one.method} {one.path}": one.body for one in all_operations() if one.body is not None
    }
    assert bodies.keys() == REQUEST_EXAMPLES.keys()
    for name, body in bodies.items():
        assert faults_in(REQUEST_EXAMPLES[name], body) == []
        assert unknown_in(REQUEST_EXAMPLES[name], body) == []


def test_examples_fit_their_schemas(served: Schema) -> None:
    components = served["components"]["schemas"]
    for name, example in COMPONENT_EXAMPLES.items():
        schema = components[name]
        assert schema["example"] == example
        assert set(schema.get("required", ())) <= example.keys() <= schema["properties"].keys()
    error = served["components"]["responses"]["Error400"]["content"]["application/json"]
    assert error["example"] == ERROR_EXAMPLE


def test_a_jobs_output_is_that_of_its_type(served: Schema) -> None:
    components = served["components"]["schemas"]
    job = components["Job"]
    kinds = job["properties"]["type"]["enum"]
    assert job["discriminator"]["mapping"].keys() == set(kinds)
    outputs = [one["$ref"].rpartition("/")[2] for one in job["properties"]["output"]["oneOf"]]
    required = [set(components[name]["required"]) for name in outputs]
    for place, mine in enumerate(required):  # so that no output is two of them
        others = [components[name]["properties"] for name in outputs if name != outputs[place]]
        assert all(mine - other.keys() for other in others)
    for name in job["discriminator"]["mapping"].values():
        output = components[name.rpartition("/")[2]]["properties"]["output"]
        assert output["nullable"]
        assert output["allOf"][0]["$ref"].rpartition("/")[2] in outputs


def test_texts_of_requests_hold_no_nul_and_texts_to_speak_a_word(served: Schema) -> None:
    components = served["components"]["schemas"]
    text = components["TtsCreate"]["properties"]["input"]
    assert (text["minLength"], text["maxLength"]) == (1, MAX_TEXT)
    for said in ("Hello.", "5", "こんにちは", "...x", "two\nlines"):
        assert re.search(text["pattern"], said), said
    for nothing in ("", " ", "...", "!?", "a\0"):
        assert not re.search(text["pattern"], nothing), nothing
    item = components["BatchCreate"]["properties"]["items"]["items"]
    assert item["properties"]["input"] == text
    assert components["ProjectCreate"]["properties"]["name"]["pattern"] == STORABLE
    assert "pattern" not in components["Project"]["properties"]["name"]
    (model,) = (
        one
        for one in served["paths"]["/api/voices/catalog"]["get"]["parameters"]
        if one["name"] == "model"
    )
    assert model["schema"]["pattern"] == STORABLE
