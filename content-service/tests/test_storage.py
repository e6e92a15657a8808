"""Files and rows stay together, even if a process dies in between."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from content_service.database import session_maker
from content_service.files.storage import FileStorage
from content_service.settings import settings

from .conftest import Caller, clean_up, make_old
from .test_uploads import STORAGE_FOLDER, list_stored_files

STORE = FileStorage(settings.storage_url)


def test_a_file_without_a_row_is_removed(author: Caller) -> None:
    """A crash between storing the file and writing its row leaves such a file."""
    with session_maker() as session, tempfile.TemporaryFile() as file:
        file.write(f"unique {uuid4()}".encode())
        left = STORE.save(session, file).sha256
    clean_up()
    assert left in list_stored_files()  # an upload may be about to write its row

    make_old(STORAGE_FOLDER / left)
    clean_up()

    assert left not in list_stored_files()


def test_other_files_in_the_storage_folder_are_left_alone(author: Caller) -> None:
    author.upload(b"words")  # so that there is a folder
    others = [
        STORAGE_FOLDER / name for name in ("accounts.xlsx", "A" * 64, f"{uuid4().hex * 2}.bak")
    ]
    for path in others:
        path.write_bytes(b"not ours")
    make_old(*others)

    clean_up()

    assert all(path.exists() for path in others)
    for path in others:
        path.unlink()


def test_a_file_that_is_about_to_be_used_is_not_removed(author: Caller) -> None:
    content = f"unique {uuid4()}".encode()
    with session_maker() as session, tempfile.TemporaryFile() as file:
        file.write(content)
        sha256 = STORE.save(session, file).sha256
        make_old(STORAGE_FOLDER / sha256)
        with ThreadPoolExecutor(2) as threads:
            sweep = threads.submit(clean_up)
            named = threads.submit(author.upload, content)
            time.sleep(0.3)
            assert not sweep.done() and not named.done()
            session.rollback()
            document = named.result()
            sweep.result()
    clean_up()

    assert document["sha256"] == sha256
    assert author.get(f"/documents/{document['id']}/download").content == content


def test_an_unfinished_upload_is_removed_when_it_is_old(author: Caller) -> None:
    author.upload(b"words")  # so that there is a folder
    old, new = (STORAGE_FOLDER / "incoming" / uuid4().hex for _ in range(2))
    for path in (old, new):
        path.write_bytes(b"half")
    make_old(old)

    clean_up()

    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()
