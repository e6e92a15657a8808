"""Reads a service's OpenAPI document: its operations, example bodies, and response schemas."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any
from uuid import uuid4

import httpx
from openapi_schema_validator import OAS30ReadValidator, OAS31Validator

Schema = Mapping[str, Any]
JSON = "application/json"


@dataclass(frozen=True)
class Operation:
    """Represents one method of one path in an OpenAPI document."""

    document: Schema
    method: str
    path: str

    @property
    def definition(self) -> Schema:
        found: Schema = self.document["paths"][self.path][self.method.lower()]
        return found

    @property
    def is_protected(self) -> bool:
        ways = self.definition.get("security", self.document.get("security"))
        return bool(ways) and {} not in ways  # {}: a login is optional

    def get_parameters(self, where: str) -> dict[str, Schema]:
        """Return the parameters in the path, query or header by lower-case name."""
        found = self.definition.get("parameters", [])
        return {p["name"].lower(): p for p in found if p["in"] == where}

    @property
    def needs_nothing(self) -> bool:
        """Whether there is no path parameter and no required query parameter."""
        query = self.get_parameters("query").values()
        return "{" not in self.path and not any(p.get("required") for p in query)

    @property
    def is_plain_read(self) -> bool:
        return self.method == "GET" and self.needs_nothing and JSON in self.result_types

    @property
    def result_types(self) -> list[str]:
        """Return the content types of the response 200."""
        return list(self.resolve(self.definition["responses"].get("200", {})).get("content", {}))

    @property
    def takes_json(self) -> bool:
        return JSON in self.definition.get("requestBody", {}).get("content", {})

    @property
    def is_list(self) -> bool:
        return self.is_plain_read and {"limit", "cursor"} <= self.get_parameters("query").keys()

    @property
    def url(self) -> str:
        """The path with random ids, which belong to no object."""
        parts = self.path.split("/")
        return "/".join(str(uuid4()) if part.startswith("{") else part for part in parts)

    @property
    def body(self) -> Schema:
        content = self.definition.get("requestBody", {}).get("content", {})
        found: Schema = self.resolve(content.get(JSON, {}).get("schema", {}))
        return found

    def resolve(self, part: Schema) -> Schema:
        while "$ref" in part:
            _, components, kind, name = part["$ref"].split("/")
            part = self.document[components][kind][name]
        return part

    def build_example(self, user_id: str) -> Any:
        """Build a body that matches the schema; ids are the user's, texts are random."""
        return self.build_example_of(self.body, user_id)

    def build_example_of(self, schema: Schema, user_id: str) -> Any:
        schema = self.resolve(schema)
        for given in ("default", "const"):
            if given in schema:
                return schema[given]
        # Before examples: a name in them may be taken already.
        if "properties" in schema:
            required = {name: schema["properties"][name] for name in schema.get("required", [])}
            return {n: self.build_example_of(field, user_id) for n, field in required.items()}
        if several := schema.get("examples") or schema.get("enum"):
            return several[0]
        if schema.get("anyOf"):
            return self.build_example_of(schema["anyOf"][0], user_id)
        unique = f"x{uuid4().hex}"  # most names begin with a letter
        formats = {"uuid": user_id, "email": f"{unique}@example.com"}
        texts = formats.get(schema.get("format", ""), unique[: schema.get("maxLength", 32)])
        simple = {"array": [], "object": {}, "integer": 1, "number": 1, "boolean": True}
        return simple.get(schema.get("type", ""), texts)

    def find_mismatch(self, response: httpx.Response) -> str | None:
        """Explain why a response does not match the document, or return None."""
        described = self.find_response(response.status_code)
        if described is None:
            return f"documented are {', '.join(self.definition['responses'])}"
        contents: Schema = described.get("content", {})
        if not contents:
            return "a body, but none is documented" if response.content else None
        media_type = get_media_type(response)
        for documented, content in contents.items():
            if fnmatch(media_type, documented.partition(";")[0].lower()):
                is_json = media_type.endswith("json")
                return self.find_error(content.get("schema", {}), response) if is_json else None
        return f"{media_type}; documented are {', '.join(contents)}"

    def find_response(self, status: int) -> Schema | None:
        """Find what the document says about a status, about its range, or about all others."""
        responses = self.definition["responses"]
        keys = (str(status), f"{status // 100}XX", "default")
        found: Schema | None = next((responses[key] for key in keys if key in responses), None)
        return self.resolve(found) if found else None

    def find_error(self, schema: Schema, response: httpx.Response) -> str | None:
        is_30 = str(self.document["openapi"]).startswith("3.0")  # before JSON Schema 2020-12
        whole = {**schema, "components": self.document.get("components", {})}
        validator = OAS30ReadValidator(whole) if is_30 else OAS31Validator(whole)
        error = next(validator.iter_errors(response.json()), None)
        return f"{error.json_path}: {error.message}" if error else None


def get_media_type(response: httpx.Response) -> str:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def list_operations(document: Schema) -> list[Operation]:
    methods = ("get", "post", "put", "patch", "delete")
    return [
        Operation(document, method.upper(), path)
        for path, defined in document["paths"].items()
        for method in methods
        if method in defined
    ]
