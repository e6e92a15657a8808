"""Replays what other services declare to use of content; a failure names whom a change breaks."""

import pytest

from tools.localdev.consumer_contracts import Use, list_uses, replay

from .conftest import Caller, Login


@pytest.mark.parametrize("use", list_uses("content"), ids=str)
def test_a_consumer_gets_what_it_reads(use: Use, login: Login, stranger: Caller) -> None:
    acting = login(actor=f"{use.consumer}-service")
    document = acting.create()
    acting.process(document)
    values = {
        "document_id": document["id"],
        "user": acting.user_id,
        "user_id": stranger.user_id,
        "level": "read",
    }

    replay(use, acting, values)
