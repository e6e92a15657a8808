"""Replaces itself with the process that a JSON file describes: `python exec_from_json.py FILE`.

supervisord's configuration cannot hold every value: quotes, %, # and ; have a meaning there.
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    process = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(process["folder"])
    command = process["command"]
    os.execvpe(command[0], command, {**os.environ, **process["environment"]})
