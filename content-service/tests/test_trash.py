"""The trash: deleted documents are restored whole, or purged."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from content_service.database import engine
from content_service.models import Document
from content_service.settings import settings

from .conftest import Caller, Login, clean_up, make_old
from .files import make_pdf
from .test_uploads import STORAGE_FOLDER


def list_trash(caller: Caller) -> list[str]:
    return [item["id"] for item in caller.get("/trash").json()["items"]]


def set_trashed_days_ago(document_id: str, days: float) -> None:
    """Make the document look as if it was deleted `days` ago."""
    with engine.begin() as connection:
        row = update(Document).where(Document.id == document_id)
        connection.execute(row.values(deleted_at=datetime.now(UTC) - timedelta(days=days)))


def test_a_deleted_document_is_in_the_trash_and_nowhere_else(author: Caller) -> None:
    document = author.create(title="Palimpsest")

    assert author.delete(f"/documents/{document['id']}").status_code == 204

    assert author.read(document).status_code == 404
    assert author.get("/documents").json()["items"] == []
    assert author.get("/search?q=palimpsest").json()["items"] == []
    assert author.get("/search/suggestions?q=pali").json()["items"] == []
    assert author.get("/documents/stats").json()["documents"] == 0
    assert list_trash(author) == [document["id"]]


def test_a_restored_document_has_its_versions_and_permissions(
    author: Caller, reviewer: Caller
) -> None:
    document = author.create()
    changed = author.change(document, title="Changed").json()
    author.share(document, reviewer)
    author.delete(f"/documents/{document['id']}")

    response = author.post(f"/documents/{document['id']}/restore")

    assert (response.status_code, response.headers["ETag"]) == (200, '"2"')
    assert author.read(document).json() == reviewer.read(document).json() == changed
    assert len(author.get(f"/documents/{document['id']}/versions").json()["items"]) == 2
    assert list_trash(author) == []
    assert author.post(f"/documents/{document['id']}/restore").status_code == 404


def test_only_managers_see_a_document_in_the_trash(
    author: Caller, reviewer: Caller, stranger: Caller
) -> None:
    document = author.create()
    author.share(document, reviewer, "write")
    author.delete(f"/documents/{document['id']}")

    for other in (reviewer, stranger):
        assert list_trash(other) == []
        assert other.post(f"/documents/{document['id']}/restore").status_code == 404
        assert other.delete(f"/trash/{document['id']}").status_code == 404


def test_a_document_is_purged_after_the_days_in_the_trash(author: Caller, login: Login) -> None:
    document = author.upload(make_pdf("Purged for good"))
    kept = author.upload(make_pdf("Kept a while"))
    author.process(document)
    for item, days in ((document, settings.trash_days + 1), (kept, settings.trash_days - 1)):
        author.delete(f"/documents/{item['id']}")
        set_trashed_days_ago(item["id"], days)
        make_old(STORAGE_FOLDER / item["sha256"])

    clean_up()

    assert list_trash(author) == [kept["id"]]
    assert not (STORAGE_FOLDER / document["sha256"]).exists()
    assert (STORAGE_FOLDER / kept["sha256"]).exists()
    assert author.post(f"/documents/{document['id']}/restore").status_code == 404
    trail = login("*").get(f"/documents/{document['id']}/audit").json()["items"]
    assert (trail[0]["action"], trail[0]["actor_id"]) == ("document.purged", None)


def test_a_document_in_the_trash_may_be_purged_at_once(author: Caller) -> None:
    document = author.create()
    assert (
        author.delete(f"/trash/{document['id']}").status_code == 404
    )  # it is not in the trash yet
    author.delete(f"/documents/{document['id']}")

    assert author.delete(f"/trash/{document['id']}").status_code == 204

    assert list_trash(author) == []
    assert author.post(f"/documents/{document['id']}/restore").status_code == 404


def test_a_file_stays_as_long_as_any_version_names_it(author: Caller, reviewer: Caller) -> None:
    content = make_pdf("Had by two people")
    mine = author.upload(content)
    theirs = reviewer.upload(content)
    make_old(STORAGE_FOLDER / mine["sha256"])

    author.delete(f"/documents/{mine['id']}")
    author.delete(f"/trash/{mine['id']}")
    clean_up()
    assert reviewer.get(f"/documents/{theirs['id']}/download").content == content

    reviewer.delete(f"/documents/{theirs['id']}")
    reviewer.delete(f"/trash/{theirs['id']}")
    clean_up()
    assert not (STORAGE_FOLDER / mine["sha256"]).exists()
