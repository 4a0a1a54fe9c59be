"""Starts one of the three partners as anybody would: its flags, and the line that it prints."""

import contextlib
import os
import socket
import subprocess
import tempfile

PATIENCE_S = 30


def free_port():
    """One with a free port 1000 above it, where the control port goes."""
    while True:
        with socket.socket() as low, socket.socket() as high:
            low.bind(("127.0.0.1", 0))
            port = low.getsockname()[1]
            try:
                high.bind(("127.0.0.1", port + 1000))
            except (OSError, OverflowError):
                continue
            return port


def start(program, port, data, *arguments, **environment):
    """A partner that takes requests."""
    arguments = [program, "--listen", f"127.0.0.1:{port}", "--data", data, *arguments]
    process = subprocess.Popen(arguments, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert line.startswith("ready "), f"{line!r} from {program}"
    return process


def end(process, how):
    """Sends the signal and waits for the exit code."""
    process.send_signal(how)
    code = process.wait(PATIENCE_S)
    process.stdout.close()
    return code


@contextlib.contextmanager
def running(program, *arguments):
    """The port of a partner with an empty ledger, for as long as it is needed."""
    with tempfile.TemporaryDirectory() as data:
        port = free_port()
        process = start(program, port, data, *arguments)
        try:
            yield port
        finally:
            end(process, 9)
