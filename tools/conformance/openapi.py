"""Reads a service's OpenAPI document: its operations, example bodies, and response schemas."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from jsonschema import Draft202012Validator

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
        return bool(self.definition.get("security", self.document.get("security")))

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
        answers = self.definition["responses"].get("200", {}).get("content", {})
        return self.method == "GET" and self.needs_nothing and JSON in answers

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

    def resolve(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return schema

    def build_example(self, user_id: str) -> Any:
        """Build a body that matches the schema; ids are the user's, texts are random."""
        return self.build_example_of(self.body, user_id)

    def build_example_of(self, schema: Schema, user_id: str) -> Any:
        schema = self.resolve(schema)
        for given in ("default", "const"):
            if given in schema:
                return schema[given]
        if several := schema.get("examples") or schema.get("enum"):
            return several[0]
        if schema.get("anyOf"):
            return self.build_example_of(schema["anyOf"][0], user_id)
        if "properties" in schema:
            required = {name: schema["properties"][name] for name in schema.get("required", [])}
            return {n: self.build_example_of(field, user_id) for n, field in required.items()}
        unique = f"x{uuid4().hex}"  # most names begin with a letter
        formats = {"uuid": user_id, "email": f"{unique}@example.com"}
        texts = formats.get(schema.get("format", ""), unique[: schema.get("maxLength", 32)])
        simple = {"array": [], "object": {}, "integer": 1, "number": 1, "boolean": True}
        return simple.get(schema.get("type", ""), texts)

    def find_mismatch(self, status: int, answer: Any) -> str | None:
        """Explain why a response does not match the document, or return None."""
        responses = self.definition["responses"]
        if str(status) not in responses:
            return f"{status} is not among its documented responses {', '.join(responses)}"
        schema = responses[str(status)].get("content", {}).get(JSON, {}).get("schema", {})
        whole = {**schema, "components": self.document.get("components", {})}
        error = next(Draft202012Validator(whole).iter_errors(answer), None)
        return f"{error.json_path}: {error.message}" if error else None


def list_operations(document: Schema) -> list[Operation]:
    methods = ("get", "post", "put", "patch", "delete")
    return [
        Operation(document, method.upper(), path)
        for path, defined in document["paths"].items()
        for method in methods
        if method in defined
    ]
