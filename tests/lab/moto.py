"""moto as a process of its own: starts in a second and keeps everything in memory, but accepts every signature.

`python -m tests.lab.moto` starts one by hand.
"""

import sys
from pathlib import Path

from tests.lab.daemon import HOST, Daemon, free_ports, wait_until_answering
from tests.lab.server import S3Server, serve_by_hand


class MotoServer(S3Server):
    """A stand-in for AWS that forgets everything when it stops."""

    access_key = "moto"
    secret_key = "moto-lab-secret-5b1f0c9d7e"

    def __init__(self, folder: Path) -> None:
        """Take a folder, for the log."""
        folder.mkdir(parents=True, exist_ok=True)
        (port,) = free_ports(1)
        self.endpoint = f"http://{HOST}:{port}"
        self._daemon = Daemon([sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)], folder / "moto.log")

    def restart(self) -> None:
        """Start it, empty."""
        self._daemon.start()
        wait_until_answering(f"{self.endpoint}/moto-api/", self._daemon)

    def kill(self) -> None:
        """SIGKILL; everything stored is lost."""
        self._daemon.kill()


if __name__ == "__main__":
    serve_by_hand(MotoServer, data_outlives=False)
