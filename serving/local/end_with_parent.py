"""Becomes a server that ends when the program that started it ends, even by SIGKILL.

`server_process.start_server` runs this file by its path, with the id of that program and the server's command. When the
starting thread ends, the kernel sends SIGTERM to the server (on Linux; elsewhere it lives on).
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Request the signal, then become the server. Exits with 127 and one line where the command cannot be run."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended before the request to the kernel
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - the command is the caller's
    except OSError as error:
        sys.stderr.write(f"error: {command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
