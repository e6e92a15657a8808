"""Files and rows: never one without the other for long, whatever dies when."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from content_service.cleanup import tidy_up
from content_service.database import session_maker
from content_service.files.storage import FileStorage
from content_service.settings import settings

from .conftest import Caller, make_old
from .test_uploads import STORAGE_FOLDER, list_stored_files

STORE = FileStorage(settings.storage_url)


def test_a_file_without_a_row_is_swept_up(author: Caller) -> None:
    """As a crash between the two leaves it."""
    with session_maker() as session, tempfile.TemporaryFile() as file:
        file.write(f"unique {uuid4()}".encode())
        left = STORE.save(session, file).sha256
    tidy_up()
    assert left in list_stored_files()  # its row may be about to be written

    make_old(STORAGE_FOLDER / left)
    tidy_up()

    assert left not in list_stored_files()


def test_what_others_keep_in_the_folder_is_let_alone(author: Caller) -> None:
    author.upload(b"words")  # so that there is a folder
    others = [
        STORAGE_FOLDER / name for name in ("accounts.xlsx", "A" * 64, f"{uuid4().hex * 2}.bak")
    ]
    for path in others:
        path.write_bytes(b"not ours")
    make_old(*others)

    tidy_up()

    assert all(path.exists() for path in others)
    for path in others:
        path.unlink()


def test_a_file_that_is_about_to_be_named_is_not_swept_up(author: Caller) -> None:
    content = f"unique {uuid4()}".encode()
    with session_maker() as session, tempfile.TemporaryFile() as file:
        file.write(content)
        sha256 = STORE.save(session, file).sha256
        make_old(STORAGE_FOLDER / sha256)
        with ThreadPoolExecutor(2) as threads:
            sweep = threads.submit(tidy_up)
            named = threads.submit(author.upload, content)
            time.sleep(0.3)
            assert not sweep.done() and not named.done()
            session.rollback()
            document = named.result()
            sweep.result()
    tidy_up()

    assert document["sha256"] == sha256
    assert author.get(f"/documents/{document['id']}/download").content == content


def test_what_an_upload_left_half_way_is_swept_up_when_it_is_old(author: Caller) -> None:
    author.upload(b"words")  # so that there is a folder
    old, new = (STORAGE_FOLDER / "incoming" / uuid4().hex for _ in range(2))
    for path in (old, new):
        path.write_bytes(b"half")
    make_old(old)

    tidy_up()

    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()
