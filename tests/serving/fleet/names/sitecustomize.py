"""Host names of the tests, read from the JSON file that POLYTASK_TEST_NAMES names, as a cluster's DNS has them now.

Python imports this module at the start of every process whose path names this folder.
"""

import json
import os
import socket
from pathlib import Path

_resolve = socket.getaddrinfo


def _with_test_names(host, port, *arguments, **options):
    names = json.loads(Path(os.environ["POLYTASK_TEST_NAMES"]).read_text(encoding="utf-8"))
    if host not in names:
        return _resolve(host, port, *arguments, **options)
    found = [entry for address in names[host] for entry in _resolve(address, port, *arguments, **options)]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return found


if "POLYTASK_TEST_NAMES" in os.environ:
    socket.getaddrinfo = _with_test_names
