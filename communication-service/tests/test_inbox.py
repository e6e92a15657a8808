"""The caller's own inbox: listing, reading and archiving."""

from collections.abc import Callable

from .conftest import Caller

Deliver = Callable[..., None]


def test_the_inbox_counts_and_marks_what_is_read(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    for number in range(3):
        sender.notify(recipient, channels=["in_app"], subject=f"{number}")
        deliver()
    assert recipient.get("/inbox/unread-count").json() == {"unread": 3}
    newest, middle, _ = recipient.inbox()
    assert (newest["subject"], newest["read_at"]) == ("2", None)

    first = recipient.put(f"/inbox/{middle['id']}/read")
    again = recipient.put(f"/inbox/{middle['id']}/read")

    assert first.json()["read_at"] is not None
    assert again.json() == first.json()
    assert recipient.get("/inbox/unread-count").json() == {"unread": 2}
    unread = recipient.get("/inbox", params={"unread": True}).json()["items"]
    assert [item["subject"] for item in unread] == ["2", "0"]

    assert recipient.put("/inbox/read-all").json() == {"read": 2}
    assert recipient.put("/inbox/read-all").json() == {"read": 0}
    assert recipient.get("/inbox/unread-count").json() == {"unread": 0}


def test_what_is_archived_is_out_of_sight_and_not_lost(
    sender: Caller, recipient: Caller, deliver: Deliver
) -> None:
    for number in range(3):
        sender.notify(recipient, channels=["in_app"], subject=f"{number}")
        deliver()
    path = f"/inbox/{recipient.inbox()[1]['id']}/archive"

    first, again = recipient.put(path), recipient.put(path)

    assert first.json()["archived_at"] is not None
    assert again.json() == first.json()
    assert [item["subject"] for item in recipient.inbox()] == ["2", "0"]
    archived = recipient.get("/inbox", params={"archived": True}).json()["items"]
    assert archived == [first.json()]
    assert recipient.get("/inbox/unread-count").json() == {"unread": 2}
    assert recipient.put("/inbox/read-all").json() == {"read": 2}

    assert recipient.delete(path).json()["archived_at"] is None

    assert [item["subject"] for item in recipient.inbox()] == ["2", "1", "0"]
    assert recipient.get("/inbox/unread-count").json() == {"unread": 1}


def test_the_inbox_comes_in_pages(sender: Caller, recipient: Caller, deliver: Deliver) -> None:
    for _ in range(5):
        sender.notify(recipient, channels=["in_app"])
    deliver()
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = recipient.get("/inbox", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert len(seen) == len(set(seen)) == 5


def test_reading_all_changes_no_other_inbox(
    sender: Caller, recipient: Caller, login: Callable[..., Caller], deliver: Deliver
) -> None:
    other = login()
    for person in (recipient, other):
        sender.notify(person, channels=["in_app"])
    deliver()

    recipient.put("/inbox/read-all")

    assert other.get("/inbox/unread-count").json() == {"unread": 1}
