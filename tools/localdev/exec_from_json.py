"""Becomes the process that a JSON file describes: `python exec_from_json.py FILE`.

supervisord's own configuration cannot say every value: it gives meaning to quotes, %, # and ;.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    process = json.loads(Path(sys.argv[1]).read_text())
    os.chdir(process["folder"])
    command = process["command"]
    os.execvpe(command[0], command, {**os.environ, **process["environment"]})


if __name__ == "__main__":
    main()
