"""Runs the Python program against a mesh: check.py BASE_URL TOKEN. Fails unless its watch begins with the changed session."""

import sys

from keyplane.types import Unset
from program import follow

event = next(follow(*sys.argv[1:3]))
snapshot = [] if isinstance(event.sessions, Unset) else event.sessions
if [session.last_path for session in snapshot] != ["/tasks/42"]:
    sys.exit(f"not the changed session: {event}")
