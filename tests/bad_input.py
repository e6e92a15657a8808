"""Bad requests for an endpoint, made from its OpenAPI description.

`bad_requests` yields what an endpoint must refuse: wrong types, missing and unknown fields, NUL,
lone surrogates, numbers beyond every limit, ids that are none, forged cursors, and bodies that are
not JSON or only just.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

Schema = Mapping[str, Any]
Wrong = tuple[str, Any]  # the path of the field in error, and the value of the whole

JSON_TYPE, FORM, MULTIPART = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
)
BOUNDARY = "boundary"

UNSTORABLE = ("nul\x00", "surrogate\ud800")
ENDLESS = "9" * 400
DEEP = json.loads('{"a":' * 200 + "1" + "}" * 200)
NOT_JSON = (
    b"{", b"nul", b"{} {}", b"'a'", b"\xff\xfe", b'{"a": "\xff"}', b"\x00", b"[" * 100_000,
    b"1" * 5000, b'"text"', b"[]", b"7", b"true",
)  # fmt: skip
NOT_CURSORS = (
    "x", "@@@@", "%00", "9" * 400, "é",
    *(urlsafe_b64encode(raw).decode().rstrip("=") for raw in (
        b"\xff", b"[]", b"{}", b"null", b"[null]", b"[1e400]", b'["\\u0000"]', b"[[[]]]",
        b"[" + ENDLESS.encode() + b"]", b'[{"a": 1}]', b"[" * 300,
    )),
)  # fmt: skip
NOT_UUIDS = ("not-a-uuid", "0", "\x00", "9" * 400, "00000000-0000-0000-0000-00000000000g")


@dataclass(frozen=True)
class BadRequest:
    """`names` is the field that a 422 must name; None when no single field is wrong."""

    what: str
    method: str
    path: str
    names: str | None = None
    content: bytes | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """One operation of an OpenAPI document; `ids` are path parameters that exist."""

    document: Schema = field(repr=False)
    method: str
    path: str
    ids: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def operation(self) -> Schema:
        operations = self.document["paths"][self.path]
        found: Schema = inlined(self.document, operations[self.method.lower()])
        return found

    @property
    def is_protected(self) -> bool:
        return bool(self.operation.get("security"))

    @property
    def parameters(self) -> list[Schema]:
        return list(self.operation.get("parameters", []))

    @property
    def body(self) -> tuple[str, Schema] | None:
        """The content type of the body and its schema."""
        contents = self.operation.get("requestBody", {}).get("content", {})
        return next(((kind, content["schema"]) for kind, content in contents.items()), None)

    def url(self, **changed: str) -> str:
        """The path with ids that exist, or belong to nothing, and required query parameters."""
        values = {p["name"]: self.ids.get(p["name"], example(p["schema"]))
                  for p in self.parameters if p["in"] == "path"}  # fmt: skip
        query = {p["name"]: example(p["schema"])
                 for p in self.parameters if p["in"] == "query" and p.get("required")}  # fmt: skip
        query |= {name: value for name, value in changed.items() if name not in values}
        values |= {name: value for name, value in changed.items() if name in values}
        path = self.path.format(**{name: encoded(value) for name, value in values.items()})
        return f"{path}?" + "&".join(f"{name}={encoded(value)}" for name, value in query.items())


def inlined(document: Schema, part: Any, within: frozenset[str] = frozenset()) -> Any:
    """A schema with what its references name in their place; inside itself it says nothing."""
    if isinstance(part, list):
        return [inlined(document, item, within) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" not in part:
        return {key: inlined(document, value, within) for key, value in part.items()}
    name = part["$ref"].rpartition("/")[2]
    if name in within:
        return {}
    return inlined(document, document["components"]["schemas"][name], within | {name})


def encoded(text: Any) -> str:
    return quote(str(text).encode("utf-8", "surrogatepass"), safe="")


def endpoints(document: Schema) -> list[Endpoint]:
    return [
        Endpoint(document, method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
    ]


def bad_requests(endpoint: Endpoint) -> Iterator[BadRequest]:
    yield from bad_parameters(endpoint)
    if endpoint.body is None:
        return
    content_type, schema = endpoint.body
    if content_type == JSON_TYPE:
        yield from bad_json(endpoint, schema)
    else:
        yield from bad_forms(endpoint, content_type, schema)


# -- parameters ---------------------------------------------------------------------------------


def bad_parameters(endpoint: Endpoint) -> Iterator[BadRequest]:
    headers, content = good_body(endpoint)
    for parameter in endpoint.parameters:
        name = parameter["name"]
        for text in bad_texts(parameter):
            what = f"{parameter['in']} {name} = {text[:40]!r}"
            if parameter["in"] == "header":
                sent = {**headers, name: text.encode("utf-8", "surrogatepass")}
                yield BadRequest(what, endpoint.method, endpoint.url(), name, content, sent)
            else:
                url = endpoint.url(**{name: text})
                yield BadRequest(what, endpoint.method, url, name, content, headers)


def bad_texts(parameter: Schema) -> Iterator[str]:
    """Values that a path, query or header parameter must refuse."""
    schema = not_null(parameter["schema"])
    if parameter["name"] == "cursor":
        yield from NOT_CURSORS
    elif parameter["in"] == "header":
        yield from ("x" * 5000, "a b", "é")
    elif schema.get("format") == "uuid":
        yield from NOT_UUIDS
    elif schema.get("type") in ("integer", "number"):
        yield from ("x", "1e400", ENDLESS, "-" + ENDLESS, "1,5", "\x00", "NaN")
    elif schema.get("type") == "boolean":
        yield from ("maybe", "2", "\x00")
    elif "enum" in schema or "const" in schema:
        yield from ("no-such-thing", "\x00")
    else:
        yield "nul\x00"
    if "maxLength" in schema:
        yield "x" * (schema["maxLength"] + 1)
    for limit, beyond in (("minimum", -1), ("maximum", 1)):
        if limit in schema:
            yield str(schema[limit] + beyond)


# -- JSON ---------------------------------------------------------------------------------------


def bad_json(endpoint: Endpoint, schema: Schema) -> Iterator[BadRequest]:
    def request(what: str, content: bytes, name: str | None, kind: str = JSON_TYPE) -> BadRequest:
        return BadRequest(
            what, endpoint.method, endpoint.url(), name, content, {"Content-Type": kind}
        )

    for content in NOT_JSON:
        yield request(f"body {content[:20]!r}", content, None)
    if endpoint.operation["requestBody"].get("required"):
        yield request("no body", b"", None)
        yield request("null body", b"null", None)
    good = json.dumps(example(schema)).encode()
    yield request("not said to be JSON", good, None, "text/plain")
    yield request("too large", b'{"a": "' + b"x" * 3 * 1024**2 + b'"}', None)
    for name, value in wrong(schema):
        shown = f"{name} in {json.dumps(value)[:60]}"
        yield request(shown, json.dumps(value).encode(), name.partition(".")[0] or None)


def good_body(endpoint: Endpoint) -> tuple[dict[str, str], bytes | None]:
    if endpoint.body is None:
        return {}, None
    content_type, schema = endpoint.body
    value = example(schema)
    if content_type == JSON_TYPE:
        return {"Content-Type": JSON_TYPE}, json.dumps(value).encode()
    return form(content_type, value.items())


def not_null(schema: Schema) -> Schema:
    """The one schema of a value that may be left out; {} when there are several."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    if not options:
        return schema
    return options[0] if len(options) == 1 else {}


def may_be_null(schema: Schema) -> bool:
    return any(option.get("type") == "null" for option in schema.get("anyOf", []))


def example(schema: Schema) -> Any:
    """A value the schema allows, as far as the schema tells."""
    schema = not_null(schema)
    for given in ("const", "default"):
        if given in schema:
            return schema[given]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object":
        return example_object(schema)
    if schema.get("type") == "array":
        return [example(schema["items"])] * schema.get("minItems", 0)
    simple: dict[Any, Any] = {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}
    return simple.get(schema.get("type"), example_text(schema))


def example_object(schema: Schema) -> Any:
    if "properties" in schema:
        fields = schema["properties"]
        return {name: example(fields[name]) for name in schema.get("required", [])}
    return {"a": example(schema["additionalProperties"])} if schema.get("minProperties") else {}


def example_text(schema: Schema) -> str:
    formats = {
        "uuid": str(uuid4()),
        "date-time": "2026-01-02T03:04:05Z",
        "email": "someone@example.com",
    }
    text = formats.get(schema.get("format", ""))
    return text or "x" * max(8, int(schema.get("minLength", 0)))


def wrong(schema: Schema) -> Iterator[Wrong]:
    """Values that the schema forbids, each with the path of the field that is wrong."""
    nullable = may_be_null(schema)
    schema = not_null(schema)
    if not nullable and schema:
        yield "", None
    kinds = {
        "string": wrong_text,
        "array": wrong_list,
        "object": wrong_object,
        "integer": wrong_number,
        "number": wrong_number,
        "boolean": wrong_boolean,
    }
    if "type" in schema:
        yield from kinds[schema["type"]](schema)


def wrong_boolean(schema: Schema) -> Iterator[Wrong]:
    yield from at("", ["maybe", 2, {}, []])


def wrong_number(schema: Schema) -> Iterator[Wrong]:
    yield from at("", ["x", {}, [], float("inf"), int(ENDLESS), -int(ENDLESS), *beyond(schema)])


def beyond(schema: Schema) -> Iterator[float]:
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if "minimum" in schema:
        yield schema["minimum"] - 1


def wrong_text(schema: Schema) -> Iterator[Wrong]:
    yield from at("", [{}, [], *UNSTORABLE])
    if schema.get("format") != "date-time":  # seconds since 1970 are a time
        yield from at("", [7, True])
    if schema.get("format") == "uuid":
        yield from at("", NOT_UUIDS)
    if schema.get("minLength", 0) > 0:
        yield "", ""
    if schema.get("maxLength", 10**6) < 10**5:
        yield "", "x" * (schema["maxLength"] + 1)


def wrong_list(schema: Schema) -> Iterator[Wrong]:
    yield from at("", ["x", {}, 7])
    for name, value in wrong(schema["items"]):
        yield f"0.{name}".rstrip("."), [value]
    if "maxItems" in schema and not schema.get("uniqueItems"):
        yield "", [example(schema["items"])] * (schema["maxItems"] + 1)


def wrong_object(schema: Schema) -> Iterator[Wrong]:
    yield from at("", ["x", [], 7])
    good = example(schema)
    fields = schema.get("properties")
    if fields is None:
        yield from wrong_map(schema.get("additionalProperties", True))
        return
    yield "unexpected", {**good, "unexpected": 1}
    for name in schema.get("required", []):
        yield name, {key: value for key, value in good.items() if key != name}
    for name, part in fields.items():
        for inner, value in wrong(part):
            yield f"{name}.{inner}".rstrip("."), {**good, name: value}


def wrong_map(values: Schema | bool) -> Iterator[Wrong]:
    """Objects with names of the caller's choice."""
    if not isinstance(values, bool):
        yield from at("", [{"a": value} for _, value in wrong(values)])
        return
    for text in UNSTORABLE:
        yield from at("", [{"a": text}, {text: 1}, {"a": [{"b": text}]}])
    yield "", DEEP


def at(path: str, values: Iterable[Any]) -> Iterator[Wrong]:
    return ((path, value) for value in values)


# -- forms --------------------------------------------------------------------------------------


def bad_forms(endpoint: Endpoint, content_type: str, schema: Schema) -> Iterator[BadRequest]:
    fields = schema["properties"]
    good = example(schema)

    def request(what: str, pairs: Iterable[tuple[str, Any]], name: str | None) -> BadRequest:
        headers, content = form(content_type, pairs)
        return BadRequest(what, endpoint.method, endpoint.url(), name, content, headers)

    yield request("unexpected field", [*good.items(), ("unexpected", "1")], "unexpected")
    for name in good:
        rest = [(key, value) for key, value in good.items() if key != name]
        yield request(f"no {name}", rest, name)
    for name, part in fields.items():
        if not is_file(not_null(part)):
            yield request(f"NUL in {name}", [*{**good, name: "nul\x00"}.items()], name)
    for content in (b"", b"{}", b"\xff\x00", f"--{BOUNDARY}\r\nContent-Disp".encode()):
        for kind in (form(content_type, [])[0]["Content-Type"], content_type, JSON_TYPE):
            headers = {"Content-Type": kind}
            what = f"{kind} body {content!r}"
            yield BadRequest(what, endpoint.method, endpoint.url(), None, content, headers)


def is_file(schema: Schema) -> bool:
    return "contentMediaType" in schema or schema.get("format") == "binary"


def form(content_type: str, pairs: Iterable[tuple[str, Any]]) -> tuple[dict[str, str], bytes]:
    """Headers and content of a form; a field named `file` is sent as a text file."""
    if content_type == FORM:
        return {"Content-Type": FORM}, urlencode(list(pairs)).encode()
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="a.txt"\r\nContent-Type: text/plain' if name == "file" else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in pairs
    )
    return {
        "Content-Type": f"{MULTIPART}; boundary={BOUNDARY}"
    }, f"{parts}--{BOUNDARY}--\r\n".encode()
