"""Builds bad requests for an endpoint from its OpenAPI description.

`bad_requests` yields what an endpoint must refuse: wrong types, missing and unknown fields, NUL,
lone surrogates, numbers beyond every limit, ids that are none, forged cursors, and bodies that are
not JSON or only just.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .api_endpoints import (
    BOUNDARY,
    JSON_TYPE,
    Endpoint,
    Schema,
    build_example,
    build_good_body,
    encode_form,
    is_file,
    may_be_null,
    without_null,
)

Wrong = tuple[str, Any]  # the path of the field in error, and the value of the whole

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
# Unknown to a schema, unless it declares them; with them, a careless service would grant something.
UNKNOWN = {
    "unexpected": 1,
    "id": "00000000-0000-4000-8000-000000000000",
    "user_id": "00000000-0000-4000-8000-000000000000",
    "owner_id": "00000000-0000-4000-8000-000000000000",
    "roles": ["admin"],
    "permissions": ["*"],
    "is_admin": True,
    "is_verified": True,
    "is_active": True,
    "status": "completed",
    "actor": "workflow-service",
    "created_at": "2026-01-02T03:04:05Z",
}
NOT_UUIDS = ("not-a-uuid", "0", "\x00", "9" * 400, "00000000-0000-0000-0000-00000000000g")


@dataclass(frozen=True)
class BadRequest:
    """Holds a request; `names` is the field that a 422 must name, None without a single one."""

    what: str
    method: str
    path: str
    names: str | None = None
    content: bytes | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)


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

IGNORED_IF_INVALID = {"Range", "If-Range"}  # by RFC 9110: the answer is the whole file


def bad_parameters(endpoint: Endpoint) -> Iterator[BadRequest]:
    headers, content = build_good_body(endpoint)
    for parameter in endpoint.parameters:
        name = parameter["name"]
        if name in IGNORED_IF_INVALID:
            continue
        for text in bad_texts(parameter):
            what = f"{parameter['in']} {name} = {text[:40]!r}"
            if parameter["in"] == "header":
                sent = {**headers, name: text.encode("utf-8", "surrogatepass")}
                yield BadRequest(what, endpoint.method, endpoint.build_url(), name, content, sent)
            else:
                url = endpoint.build_url(**{name: text})
                yield BadRequest(what, endpoint.method, url, name, content, headers)


def bad_texts(parameter: Schema) -> Iterator[str]:
    """Yield values that a path, query or header parameter must refuse."""
    schema = without_null(parameter["schema"])
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
            what, endpoint.method, endpoint.build_url(), name, content, {"Content-Type": kind}
        )

    for content in NOT_JSON:
        yield request(f"body {content[:20]!r}", content, None)
    if endpoint.operation["requestBody"].get("required"):
        yield request("no body", b"", None)
        yield request("null body", b"null", None)
    good = json.dumps(build_example(schema)).encode()
    yield request("not said to be JSON", good, None, "text/plain")
    yield request("too large", b'{"a": "' + b"x" * 10 * 1024**2 + b'"}', None)
    for name, value in wrong_values(schema):
        shown = f"{name} in {json.dumps(value)[:60]}"
        yield request(shown, json.dumps(value).encode(), name.partition(".")[0] or None)


def wrong_values(schema: Schema) -> Iterator[Wrong]:
    """Yield values that the schema forbids, each with the path of the wrong field."""
    nullable = may_be_null(schema)
    schema = without_null(schema)
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
    yield from at_path("", ["maybe", 2, {}, []])


def wrong_number(schema: Schema) -> Iterator[Wrong]:
    yield from at_path(
        "", ["x", {}, [], float("inf"), int(ENDLESS), -int(ENDLESS), *beyond_limits(schema)]
    )


def beyond_limits(schema: Schema) -> Iterator[float]:
    if "maximum" in schema:
        yield schema["maximum"] + 1
    if "minimum" in schema:
        yield schema["minimum"] - 1


def wrong_text(schema: Schema) -> Iterator[Wrong]:
    yield from at_path("", [{}, [], *UNSTORABLE])
    if schema.get("format") != "date-time":  # seconds since 1970 are a time
        yield from at_path("", [7, True])
    if schema.get("format") == "uuid":
        yield from at_path("", NOT_UUIDS)
    if schema.get("minLength", 0) > 0:
        yield "", ""
    if schema.get("maxLength", 10**6) < 10**5:
        yield "", "x" * (schema["maxLength"] + 1)


def wrong_list(schema: Schema) -> Iterator[Wrong]:
    yield from at_path("", ["x", {}, 7])
    for name, value in wrong_values(schema["items"]):
        yield f"0.{name}".rstrip("."), [value]
    if "maxItems" in schema and not schema.get("uniqueItems"):
        yield "", [build_example(schema["items"])] * (schema["maxItems"] + 1)


def wrong_object(schema: Schema) -> Iterator[Wrong]:
    yield from at_path("", ["x", [], 7])
    good = build_example(schema)
    fields = schema.get("properties")
    if fields is None:
        yield from wrong_map(schema.get("additionalProperties", True))
        return
    for name in UNKNOWN.keys() - fields.keys():
        yield name, {**good, name: UNKNOWN[name]}
    for name in schema.get("required", []):
        yield name, {key: value for key, value in good.items() if key != name}
    for name, part in fields.items():
        for inner, value in wrong_values(part):
            yield f"{name}.{inner}".rstrip("."), {**good, name: value}


def wrong_map(values: Schema | bool) -> Iterator[Wrong]:
    """Yield bad objects whose names the caller chooses."""
    if not isinstance(values, bool):
        yield from at_path("", [{"a": value} for _, value in wrong_values(values)])
        return
    for text in UNSTORABLE:
        yield from at_path("", [{"a": text}, {text: 1}, {"a": [{"b": text}]}])
    yield "", DEEP


def at_path(path: str, values: Iterable[Any]) -> Iterator[Wrong]:
    return ((path, value) for value in values)


# -- forms --------------------------------------------------------------------------------------


def bad_forms(endpoint: Endpoint, content_type: str, schema: Schema) -> Iterator[BadRequest]:
    fields = schema["properties"]
    good = build_example(schema)

    def request(what: str, pairs: Iterable[tuple[str, Any]], name: str | None) -> BadRequest:
        headers, content = encode_form(content_type, pairs)
        return BadRequest(what, endpoint.method, endpoint.build_url(), name, content, headers)

    yield request("unexpected field", [*good.items(), ("unexpected", "1")], "unexpected")
    for name in good:
        rest = [(key, value) for key, value in good.items() if key != name]
        yield request(f"no {name}", rest, name)
    for name, part in fields.items():
        if not is_file(without_null(part)):
            yield request(f"NUL in {name}", [*{**good, name: "nul\x00"}.items()], name)
    for content in (b"", b"{}", b"\xff\x00", f"--{BOUNDARY}\r\nContent-Disp".encode()):
        for kind in (encode_form(content_type, [])[0]["Content-Type"], content_type, JSON_TYPE):
            headers = {"Content-Type": kind}
            what = f"{kind} body {content!r}"
            yield BadRequest(what, endpoint.method, endpoint.build_url(), None, content, headers)
