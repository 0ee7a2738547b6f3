"""`/openapi.json`: the public listener described from the very models that check its requests."""

from typing import Any

from serve.schema import REQUESTS


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1's description of the public listener."""
    parts: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for path, model in REQUESTS.items():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        parts |= schema.pop("$defs", {})
        parts[model.__name__] = schema
        body = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
        paths[path] = {"post": _operation("an answer, or a stream of its parts", body)}
    for path, what in (
        ("/v1/models", "what this key may ask"),
        ("/v1/models/{name}", "one of them"),
        ("/health", "whether any base answers, and each base's state"),
        ("/health/live", "the server runs"),
        ("/health/ready", "at least one base answers"),
        ("/health/base/{name}", "this base answers"),
        ("/metrics", "for Prometheus; with keys only for one that may read"),
        ("/openapi.json", "this description"),
    ):
        paths[path] = {"get": _operation(what)}
        if "{name}" in path:
            named = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            paths[path]["get"]["parameters"] = [named]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Adapter factory", "version": "1"},
        "paths": paths,
        "components": {"schemas": parts, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
    }


def _operation(what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"responses": {"200": {"description": what}, "4XX": {"description": "OpenAI's error"}}}
    return found | ({"requestBody": {"required": True, "content": body}} if body else {})
