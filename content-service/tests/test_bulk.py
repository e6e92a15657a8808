"""One action on many documents, each with its own outcome."""

from typing import Any
from uuid import uuid4

import pytest

from .conftest import Caller


def bulk(caller: Caller, action: str, ids: list[str], **more: Any) -> dict[str, Any]:
    request = {"action": action, "document_ids": ids, **more}
    response = caller.post("/documents/bulk", json=request)
    assert response.status_code == 207, response.text
    found: dict[str, Any] = response.json()
    return found


def test_only_the_forbidden_ones_of_a_hundred_fail(author: Caller, reviewer: Caller) -> None:
    mine = [author.create(title=f"Mine {n}")["id"] for n in range(97)]
    readable = reviewer.create()
    invisible = reviewer.create()
    reviewer.share(readable, author)
    ids = [*mine[:50], readable["id"], invisible["id"], str(uuid4()), *mine[50:]]

    result = bulk(author, "delete", ids)

    assert (result["succeeded"], result["failed"]) == (97, 3)
    assert [outcome["document_id"] for outcome in result["results"]] == ids
    failed = [outcome for outcome in result["results"] if outcome["status"] != 204]
    assert [(outcome["status"], outcome["code"]) for outcome in failed] == [
        (403, "LevelTooLow"),
        (404, "UnknownDocument"),
        (404, "UnknownDocument"),
    ]
    assert failed[1]["detail"] == failed[2]["detail"]
    assert [item["id"] for item in author.get("/documents").json()["items"]] == [readable["id"]]
    assert reviewer.read(readable).status_code == reviewer.read(invisible).status_code == 200


def test_deleted_documents_are_restored(author: Caller) -> None:
    ids = [author.create()["id"] for _ in range(3)]
    bulk(author, "delete", ids)

    assert bulk(author, "restore", ids)["succeeded"] == 3

    assert len(author.get("/documents").json()["items"]) == 3
    assert bulk(author, "restore", ids)["failed"] == 3


def test_tags_are_added_as_a_new_version(author: Caller) -> None:
    plain = author.create()
    tagged = author.create(tags=["b"])
    full = author.create(tags=[f"t{n}" for n in range(20)])

    result = bulk(author, "tag", [plain["id"], tagged["id"], full["id"]], tags=["a", "b", "a"])

    assert [outcome["status"] for outcome in result["results"]] == [204, 204, 422]
    shown = [author.read(document).json() for document in (plain, tagged, full)]
    assert [(document["tags"], document["version"]) for document in shown[:2]] == [
        (["a", "b"], 2),
        (["b", "a"], 2),
    ]
    assert shown[2] == full


@pytest.mark.parametrize(
    ("field", "change"),
    [("action", {"action": "burn"}), ("document_ids", {"document_ids": []}),
     ("document_ids", {"document_ids": [str(uuid4())] * 101}),
     ("document_ids.0", {"document_ids": ["x"]}), ("tags.0", {"tags": [""]}),
     ("tags", {"action": "tag"}), ("tags", {"tags": ["a"]})],
)  # fmt: skip
def test_an_invalid_request_is_422(author: Caller, field: str, change: dict[str, Any]) -> None:
    request = {"action": "delete", "document_ids": [str(uuid4())], **change}

    response = author.post("/documents/bulk", json=request)

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
