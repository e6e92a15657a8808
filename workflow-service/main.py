"""Starts the workflow service: `python main.py`, `uvicorn main:app`, or import `app`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the folder of the chassis

from workflow_service.main import app

if __name__ == "__main__":
    from chassis.app import serve

    serve(app)
