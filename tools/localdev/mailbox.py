"""The mailbox of the mail catcher: stores each mail in a file and parses it once, on arrival.

ID.eml is the mail as it came, ID.json what a listing shows of it: parsing takes milliseconds.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import getaddresses
from itertools import islice
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredMail:
    """Holds what a listing needs of one mail: its JSON, and lower-case text to search in."""

    summary: bytes
    recipients: str
    text: str

    def matches(self, to: str, words: Iterable[str]) -> bool:
        return to in self.recipients and all(word in self.text for word in words)


class Mailbox:
    """Stores each mail in a file, so that mails survive a restart; lists them from memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = time.time_ns()  # changes with the contents, also over a restart
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(file.stem for file in folder.glob("*.json"))
        self._mails = {name: read_summary(folder / f"{name}.json") for name in names}

    def store(self, source: bytes) -> None:
        """Write the mail to disk, then parse and list it."""
        name = f"{time.time_ns()}"
        self._write(f"{name}.eml", source)
        message = self.read_message(name)
        summary = {**message, "html": None, "hasHtml": message["html"] is not None}
        self._mails[name] = read_summary(self._write(f"{name}.json", json.dumps(summary).encode()))
        self.version += 1

    def _write(self, name: str, content: bytes) -> Path:
        """Write a file that is either there completely or not at all."""
        partial = self.folder / f"{name}.part"
        with partial.open("wb") as opened:
            opened.write(content)
            os.fsync(opened.fileno())
        return partial.rename(self.folder / name)

    def list_messages(self, to: str = "", query: str = "", limit: int | None = None) -> bytes:
        """Return the newest `limit` matching mails, oldest first, as a JSON array without HTML."""
        words = query.lower().split()
        found = [mail.summary for mail in self._find_newest_first(to.lower(), words, limit)]
        return b"[" + b",".join(reversed(found)) + b"]"

    def _find_newest_first(
        self, to: str, words: list[str], limit: int | None
    ) -> Iterator[StoredMail]:
        """Search a copy, because mails arrive in other threads."""
        matching = (m for m in reversed(list(self._mails.values())) if m.matches(to, words))
        return islice(matching, limit)

    def read_message(self, name: str) -> dict[str, Any]:
        """Return one mail with its HTML. Raises KeyError when the id is unknown."""
        file = self.folder / f"{name}.eml"
        if not name.isdecimal() or not file.exists():
            raise KeyError(name)
        source = file.read_bytes()
        at = datetime.fromtimestamp(int(name) / 1e9, UTC).isoformat(timespec="milliseconds")
        return {"id": name, "time": at, "size": len(source), **parse_message(source)}

    def delete(self, name: str) -> None:
        """Delete one mail. Raises KeyError when the id is unknown."""
        del self._mails[name]
        for suffix in ("json", "eml"):
            (self.folder / f"{name}.{suffix}").unlink()
        self.version += 1

    def delete_all(self) -> None:
        for name in list(self._mails):
            self.delete(name)


def read_summary(file: Path) -> StoredMail:
    summary = file.read_bytes()
    message = json.loads(summary)
    recipients = "\n".join(f"{to['name']} {to['address']}" for to in message["to"]).lower()
    senders = "\n".join(sender["address"] for sender in message["from"])
    text = f"{message['subject']}\n{senders}\n{message['text'] or ''}".lower()
    return StoredMail(summary, recipients, f"{recipients}\n{text}")


def parse_message(source: bytes) -> dict[str, Any]:
    """Parse the parts of a mail that the page shows and tests read."""
    message = message_from_bytes(source, policy=policy.default)
    return {
        "subject": message.get("subject", ""),
        "messageId": message.get("message-id", "").strip("<> "),
        "from": get_addresses(message, "from"),
        "to": get_addresses(message, "to"),
        "headers": {key.lower(): str(value) for key, value in message.items()},
        "text": get_body(message, "plain"),
        "html": get_body(message, "html"),
    }


def get_addresses(message: EmailMessage, header: str) -> list[dict[str, str]]:
    found = getaddresses([str(value) for value in message.get_all(header, [])])
    return [{"address": address, "name": name} for name, address in found]


def get_body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    try:
        return part.get_content() if part else None
    except LookupError:
        return "(in an unknown character set)"
