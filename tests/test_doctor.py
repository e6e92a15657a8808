"""Tests `make doctor`: it names everything that is missing at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tools.doctor import Finding, check_ports
from tools.localdev.servers import HOST, reserve_free_port
from tools.localdev.services import ROOT


def run_doctor(path: Path, stack: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.doctor"]
    variables = {"PATH": str(path), "STACK": stack}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    done = run_doctor(tmp_path, "docker")

    lines = done.stdout.splitlines()
    problems = {
        line.split("PROBLEM")[1].split(":")[0].strip() for line in lines if "PROBLEM" in line
    }
    assert done.returncode == 1
    assert {"git", "Docker engine", "Compose plugin"} <= problems
    assert all(": " in line for line in lines if "PROBLEM" in line)
    assert "make doctor" in done.stderr


def test_docker_is_optional_for_the_stack_without_docker(tmp_path: Path) -> None:
    done = run_doctor(tmp_path, "local")

    assert "optional  Docker engine" in done.stdout
    assert "PROBLEM   Docker engine" not in done.stdout


def test_every_taken_port_is_named_with_its_process() -> None:
    with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
        ports = {"a": first.getsockname()[1], "b": second.getsockname()[1]}
        findings = list(check_ports({**ports, "c": reserve_free_port()}, is_running=False))

    assert [finding.ok for finding in findings] == [False, False]
    assert all(f"process {os.getpid()}" in finding.remedy for finding in findings)


def test_the_ports_of_the_running_platform_are_no_problem() -> None:
    with socket.create_server((HOST, 0)) as taken:
        findings = list(check_ports({"a": taken.getsockname()[1]}, is_running=True))

    assert all(finding.ok for finding in findings)


def test_a_finding_that_is_needed_stands_out() -> None:
    assert str(Finding("git", False, "install git")) == "  PROBLEM   git: install git"
    assert str(Finding("git", True)) == "  ok        git"
