"""Controls supervisord, which keeps the processes of a stack running, over its socket."""

import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from . import exec_from_json
from .child_process import get_minimal_environment, start_child, stop_child
from .layout import Process
from .servers import run, wait_until

MAX_SOCKET_PATH_LENGTH = 90  # the kernel's limit is 104 to 108, supervisord adds its pid

MAIN_SECTIONS = """\
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
{user}

[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

# autostart: `up` starts processes in order; supervisord restarts them from then on.
PROGRAM_SECTION = """
[program:{name}]
command = {command}
environment = DIGEST="{digest}"
autostart = false
autorestart = true
startretries = 1000
stopsignal = INT
stopasgroup = true
killasgroup = true
stopwaitsecs = 20
redirect_stderr = true
stdout_logfile = {folder}/logs/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 1
"""

ACTIVE_STATES = ("STARTING", "RUNNING", "BACKOFF")
ENDED_STATES = ("STOPPED", "EXITED", "FATAL")


class Supervisor:
    """Starts, configures and calls the supervisord of the stack in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "supervisord.conf"
        self.socket = folder / "supervisor.sock"
        if len(str(self.socket)) > MAX_SOCKET_PATH_LENGTH:
            name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
            self.socket = Path(tempfile.gettempdir()) / f"localdev-{name}.sock"
        self._child: subprocess.Popen[bytes] | None = None

    def call_supervisord(self, method: str, *arguments: Any) -> Any:
        """Make one XML-RPC call (supervisord.org/api.html)."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def is_running(self) -> bool:
        try:
            return bool(self.call_supervisord("getState"))
        except OSError:
            return False

    def get_states(self) -> Mapping[str, Mapping[str, Any]]:
        """Return supervisord's information on each process: statename, pid, description ..."""
        return {info["name"]: info for info in self.call_supervisord("getAllProcessInfo")}

    def get_state(self, name: str) -> str:
        return str(self.get_states()[name]["statename"])

    def apply(self, processes: Iterable[Process], as_child: bool) -> None:
        """Configure these processes; stop those that are removed or have changed."""
        self.write_configuration(processes)
        if not self.is_running():
            self.start_supervisord(as_child)
            return
        added, changed, removed = self.call_supervisord("reloadConfig")[0]
        for name in (*changed, *removed):
            self.stop(name)
            self.call_supervisord("removeProcessGroup", name)
        for name in (*added, *changed):
            self.call_supervisord("addProcessGroup", name)

    def write_configuration(self, processes: Iterable[Process]) -> None:
        """Write the configuration, and a JSON file for each process."""
        (self.folder / "logs").mkdir(exist_ok=True)
        (self.folder / "run").mkdir(exist_ok=True, mode=0o700)  # the files hold secrets
        user = "user = root" if os.getuid() == 0 else ""
        folder = str(self.folder).replace("%", "%%")
        sections = [MAIN_SECTIONS.format(folder=folder, socket=self.socket, user=user)]
        for process in processes:
            file = self.folder / "run" / f"{process.name}.json"
            described = {"command": process.command, "folder": str(process.folder)}
            file.write_text(json.dumps({**described, "environment": dict(process.environment)}))
            command = shlex.join([sys.executable, exec_from_json.__file__, str(file)])
            values = {"name": process.name, "command": command.replace("%", "%%"), "folder": folder}
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            sections.append(PROGRAM_SECTION.format(digest=digest, **values))
        self.configuration.write_text("".join(sections))

    def start_supervisord(self, as_child: bool) -> None:
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        if as_child:
            log = self.folder / "supervisord.out"
            self._child = start_child([*command, "--nodaemon"], log, get_minimal_environment())
        else:
            run(command)
        wait_until(self.is_running, "supervisord")

    def stop(self, name: str) -> None:
        self.stop_all([name])

    def stop_all(self, names: Iterable[str]) -> None:
        """Stop these at once, and wait for the end of the last."""
        names = set(names)
        for name, state in self.get_states().items():
            if name in names and state["statename"] in ACTIVE_STATES:
                self.call_supervisord("stopProcess", name, False)
        what = f"the end of {', '.join(names)}"
        wait_until(lambda: all(self.get_state(name) in ENDED_STATES for name in names), what)

    def shut_down(self) -> None:
        if self.is_running():
            self.stop_all(self.get_states())  # supervisord alone would stop one after the other
        if self._child:
            stop_child(self._child)
        elif self.is_running():
            pid = self.call_supervisord("getPID")
            self.call_supervisord("shutdown")
            wait_until(lambda: not psutil.pid_exists(pid), "the end of supervisord", 60)
        self.stop_orphans()

    def stop_orphans(self) -> None:
        """Stop processes that a killed supervisord has left running."""
        left = [p for p in psutil.process_iter(["environ", "cwd"]) if self.is_mine(p.info)]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGINT)
        for process in psutil.wait_procs(left, timeout=20)[1]:
            process.kill()

    def is_mine(self, info: Mapping[str, Any]) -> bool:
        """Recognise a process by the variable that supervisord sets; Redis by its folder."""
        url = (info["environ"] or {}).get("SUPERVISOR_SERVER_URL")
        return url == f"unix://{self.socket}" or str(info["cwd"]).startswith(f"{self.folder}/")
