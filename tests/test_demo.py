"""Runs `make demo` as a user does."""

import os
import re
import subprocess
import sys

from tools.demo import quote_mail
from tools.localdev.services import ROOT, SERVICES

from .users import Stack

SERVICES_IN_TIMELINE = ("identity", "content", "communication", "workflow")
UNUSED_URL = "http://127.0.0.1:1"


def run_demo(urls: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.demo"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **urls},
        capture_output=True,
        text=True,
    )


def urls_of(stack: Stack) -> dict[str, str]:
    urls = {
        f"{service.short.upper()}_SERVICE_URL": stack.get_url(service.name) for service in SERVICES
    }
    return {**urls, "MAIL_URL": stack.get_url("mail")}


def test_the_demo_tells_the_whole_story_again_and_again(stack: Stack) -> None:
    for _ in range(2):
        done = run_demo(urls_of(stack))

        timeline = done.stdout.partition("The whole story")[2]
        assert (done.returncode, done.stderr) == (0, "")
        assert all(f" s  {service} " in timeline for service in SERVICES_IN_TIMELINE)
        assert "Done in" in timeline
        decided = done.stdout.partition("The reviewer approves")[2]
        assert "Closing the mill race: approved\n  | The reviewer has decided" in decided
        assert not re.search(r"token[=/]\w|eyJ", done.stdout)
        assert "\x1b" not in done.stdout


def test_a_mail_is_quoted_without_the_token_of_its_link() -> None:
    quoted = quote_mail("Confirm:\nhttp://localhost:8001/auth/verify-email?token=a.b-c_d&x=1\n")

    assert quoted == "  | Confirm:\n  | http://localhost:8001/auth/verify-email?token=...&x=1"


def test_the_demo_says_in_one_line_that_nothing_is_running() -> None:
    done = run_demo({"IDENTITY_SERVICE_URL": UNUSED_URL})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "make up" in done.stderr


def test_the_demo_says_in_one_line_which_step_failed(stack: Stack) -> None:
    done = run_demo({**urls_of(stack), "DEMO_PASSWORD": "not this one"})

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "/auth/login answered 401" in done.stderr
