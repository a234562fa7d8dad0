"""The OpenAPI description of a RunPod endpoint of this worker: RunPod's routes with this worker's job and result.

`python -m batch.description` prints it; docs/endpoint.openapi.json is what it prints.
"""

import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from batch.protocol import BASE, MOST_REQUEST, Progress
from pipeline.errors import Code
from pipeline.job import SCHEMA, Result, json_schema

_PLACE = "#/components/schemas/"
_KEY = {"401": {"description": "The key is missing or wrong."}, "429": {"description": "Too many requests; wait as Retry-After says."}}
_NO_JOB = {"404": {"description": "RunPod does not know the job (any more)."}}
_JOB_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}, "description": "as /run answered it"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"{_PLACE}{name}"}


def _open(schema: Any) -> Any:
    """A schema of answers without `additionalProperties: false`: a later worker may add keys within a version."""
    if isinstance(schema, dict):
        return {key: _open(value) for key, value in schema.items() if key != "additionalProperties" or value is not False}
    return [_open(value) for value in schema] if isinstance(schema, list) else schema


def _schemas() -> dict[str, Any]:
    """The job's schemas as docs/job.schema.json has them, those of answers open, and RunPod's own around them."""
    _, answers = models_json_schema([(Result, "serialization"), (Progress, "serialization")], by_alias=True)
    job, told = (json.loads(json.dumps(schema["$defs"]).replace("#/$defs/", _PLACE)) for schema in (json_schema(), answers))
    return {**job, **_open(told), "Request": _request(), "State": _state(), "Stream": _stream(), "Health": _health()}


def _request() -> dict[str, Any]:
    string, count = {"type": "string"}, {"type": "integer", "minimum": 1}
    bucket = dict.fromkeys(("accessId", "accessSecret", "bucketName", "endpointUrl"), string)
    addressing = {"type": "string", "enum": ["auto", "path", "virtual"], "default": "auto"}
    return {
        "type": "object",
        "description": f"A job, and what RunPod has to know of it; at most {MOST_REQUEST // 1_000_000} MB (/runsync: 20 MB).",
        "required": ["input"],
        "properties": {
            "input": _ref("Job"),
            "webhook": {"type": "string", "format": "uri", "description": "RunPod posts the final State here"},
            "policy": {
                "type": "object",
                "properties": {
                    "executionTimeout": count | {"description": "milliseconds of execution"},
                    "ttl": count | {"description": "milliseconds from submission, after which the job is forgotten"},
                    "lowPriority": {"type": "boolean"},
                },
            },
            "s3Config": {
                "type": "object",
                "description": "a bucket of the job's own",
                "required": list(bucket),
                "properties": bucket | {"addressing": addressing},
                "additionalProperties": False,
            },
        },
    }


def _state() -> dict[str, Any]:
    codes = ", ".join(Code)
    return {
        "type": "object",
        "description": "What RunPod says of a job. It may hold more keys of RunPod's.",
        "required": ["id", "status"],
        "properties": {
            "id": {"type": "string"},
            "status": {"type": "string", "enum": ["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"]},
            "output": {
                "anyOf": [_ref("Result"), _ref("Progress"), {"type": "null"}],
                "description": "Result where COMPLETED, Progress where IN_PROGRESS and told, else absent",
            },
            "error": {
                "type": ["string", "null"],
                "description": f"FAILED: `CODE: sentence`. Codes: {codes}; later ones may be added. A text without a code is RunPod's.",
            },
            "executionTime": {"type": "number", "description": "milliseconds of execution"},
            "delayTime": {"type": "number", "description": "milliseconds in the queue"},
            "workerId": {"type": ["string", "null"]},
        },
        "allOf": [
            {
                "if": {"required": ["status"], "properties": {"status": {"const": "COMPLETED"}}},
                "then": {"required": ["output"], "properties": {"output": _ref("Result")}},
            },
        ],
    }


def _stream() -> dict[str, Any]:
    chunks = {"type": "array", "items": {"type": "object"}, "description": "empty: this worker sends no parts of a result"}
    return {"type": "object", "required": ["status", "stream"], "properties": {"status": {"type": "string"}, "stream": chunks}}


def _health() -> dict[str, Any]:
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    return {"type": "object", "required": ["jobs", "workers"], "properties": {"jobs": counts, "workers": counts}}


def _operation(name: str, summary: str, answer: str, *, job: bool = False, request: bool = False, webhook: bool = False) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": name, "summary": summary}
    if job:
        made["parameters"] = [_JOB_ID]
    if request:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref("Request")}}}
    good = {"200": {"description": "OK", "content": {"application/json": {"schema": _ref(answer)}}}}
    made["responses"] = good | _KEY | (_NO_JOB if job else {})
    if request:
        made["responses"]["400"] = {"description": "The request is no job or too large."}
    if webhook:
        sent = {"required": True, "content": {"application/json": {"schema": _ref("State")}}}
        call = {
            "requestBody": sent,
            "responses": {"200": {"description": "Taken. After anything else RunPod tries twice more, 10 s apart."}},
        }
        made["callbacks"] = {"ended": {"{$request.body#/webhook}": {"post": call}}}
    return made


def description() -> dict[str, Any]:
    """The description, OpenAPI 3.1; `info.version` is the version of the job's schema."""
    wait = {"type": "integer", "minimum": 1000, "maximum": 300_000, "default": 90_000}
    runsync = _operation(
        "runsync", "Do a job and wait; a State that is not final after that: ask /status", "State", request=True, webhook=True
    )
    runsync["parameters"] = [{"name": "wait", "in": "query", "schema": wait, "description": "milliseconds"}]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vehicle illustrations at a RunPod endpoint",
            "version": str(SCHEMA),
            "description": "Routes and states are RunPod's; job, result and errors are this worker's. docs/services.md has examples.",
        },
        "servers": [
            {"url": f"{BASE}/{{endpoint}}", "variables": {"endpoint": {"default": "ENDPOINT_ID", "description": "the endpoint's id"}}}
        ],
        "security": [{"key": []}],
        "paths": {
            "/run": {"post": _operation("run", "Put a job into the queue", "State", request=True, webhook=True)},
            "/runsync": {"post": runsync},
            "/status/{id}": {"get": _operation("status", "A job's state, its progress, its result for 30 minutes", "State", job=True)},
            "/stream/{id}": {"get": _operation("stream", "Parts of a result: none; progress is in /status", "Stream", job=True)},
            "/cancel/{id}": {"post": _operation("cancel", "Cancel a job; the state after it", "State", job=True)},
            "/health": {"get": _operation("health", "How many jobs and workers there are", "Health")},
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}, "schemas": _schemas()},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(description(), indent=2) + "\n")
