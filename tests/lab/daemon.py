"""Child processes that never outlive the process that started them, however that one ends."""

import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)  # below what Linux takes for outgoing connections, which could else take a port while its server is down

# Runs a program and kills it as soon as its own input ends: when it is closed, or when its parent is gone, be it by SIGKILL.
GUARD = 'exec 3<&0; "$@" 3<&- </dev/null & child=$!; read -r _ <&3; kill -KILL $child; wait $child'


class Daemon:
    """A program in the background, its output in a file. It can be killed and started again."""

    def __init__(self, command: Sequence[str | os.PathLike[str]], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = [str(word) for word in command]
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program, unless it runs."""
        if self._guard:
            return
        with self._log.open("ab") as log:
            # In a session of its own: Ctrl-C at the terminal must reach the tests alone, which then end the program.
            self._guard = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, "guard", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            self._guard.wait()
        self._guard = None

    def is_running(self) -> bool:
        """Whether the program was started and has not ended."""
        return self._guard is not None and not self.has_ended()

    def has_ended(self) -> bool:
        """Whether the program ended by itself; its guard goes on waiting."""
        if not self._guard:
            return False
        children = psutil.Process(self._guard.pid).children()
        return bool(children) and all(child.status() == psutil.STATUS_ZOMBIE for child in children)

    def output(self) -> str:
        """The last of what the program wrote."""
        return f"{' '.join(self._command)}\n{self._log.read_text(errors='replace')[-3000:]}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback device on which nothing listens."""
    sockets: list[socket.socket] = []
    try:
        for port in random.SystemRandom().sample(PORTS, len(PORTS)):
            candidate = socket.socket()
            sockets.append(candidate)
            # As servers do: a port whose last connections are still winding down is free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((HOST, port))
            except OSError:
                sockets.remove(candidate)
                candidate.close()
            if len(sockets) == count:
                return [bound.getsockname()[1] for bound in sockets]
    finally:
        for bound in sockets:
            bound.close()
    raise OSError(f"no {count} free ports on {HOST}")


def wait_until_listening(port: int, daemon: Daemon, seconds: float = 60) -> None:
    """Wait until a daemon takes connections on a port; an error with its output if it ends or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not daemon.has_ended():
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"not listening on port {port}: {daemon.output()}")


def wait_until_answering(url: str, daemon: Daemon, seconds: float = 60) -> None:
    """Wait until a daemon answers a GET with success; an error with its output if it ends or takes too long."""
    end = time.monotonic() + seconds
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and not daemon.has_ended():
        try:
            direct.open(url, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"{url} does not answer: {daemon.output()}")
