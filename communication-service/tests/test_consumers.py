"""Replays what other services declare to use of communication, and names whom a change breaks."""

from typing import Any

import pytest

from tools.localdev.consumer_contracts import Use, list_uses, replay

from .conftest import Caller


@pytest.mark.parametrize("use", list_uses("communication"), ids=str)
def test_a_consumer_sends_a_text_and_gets_what_it_reads(
    use: Use, sender: Caller, recipient: Caller
) -> None:
    replay(use, sender, {**describe(recipient), "subject": "Hello", "body": "News."})


@pytest.mark.parametrize("use", list_uses("communication"), ids=str)
def test_a_consumer_sends_a_template_and_gets_what_it_reads(
    use: Use, sender: Caller, editor: Caller, recipient: Caller
) -> None:
    template = {"template": editor.template()["name"], "variables": {"name": "Ada"}}

    replay(use, sender, {**describe(recipient), **template})


def describe(recipient: Caller) -> dict[str, Any]:
    who = {"recipient_id": recipient.user_id, "category": "workflow"}
    return {**who, "channels": ["email", "in_app"]}
