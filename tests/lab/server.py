"""What all S3 servers of the tests have in common: how they are reached, started by hand, and left."""

import argparse
import os
import shlex
import signal
import tempfile
import threading
from abc import ABC, abstractmethod
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What developers have configured for themselves must not decide what a test does: files, the machine's role, a proxy on the way.
ISOLATED = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}

_CLIENTS = threading.Lock()  # a session makes one client at a time


@cache
def _session() -> boto3.session.Session:
    """One for all servers: it reads the description of S3 once, which takes longer than many a test."""
    return boto3.session.Session()


class S3Server(ABC):
    """A server on the loopback device, started on entering its context and gone on leaving it.

    Attributes:
        endpoint: its URL, the same from the moment the object is made, through kills and restarts.
        access_key: of the user who may do everything.
        secret_key: of the same user.
        region: in which the server believes itself to be.
    """

    access_key: ClassVar[str]
    secret_key: ClassVar[str]
    region: ClassVar[str] = "us-east-1"
    endpoint: str

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Take a folder for configuration, logs and data."""

    @abstractmethod
    def restart(self) -> None:
        """Start what does not run, on the same ports, and wait until it answers."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL: nothing listens on the port afterwards."""

    def __enter__(self) -> Self:
        try:
            self.restart()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()

    def client(self, endpoint: str | None = None, **settings: Any) -> "S3Client":
        """A boto3 client of its own: every request is sent once, so that a test sees what the server says.

        Args:
            endpoint: another address of this server, such as a proxy's.
            settings: other arguments of `boto3.client`, in place of the ones that fit this server.
        """
        chosen: dict[str, Any] = {
            "endpoint_url": endpoint or self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
            "config": Config(retries={"total_max_attempts": 1}, max_pool_connections=32, connect_timeout=10, read_timeout=60, proxies={}),
        }
        with _CLIENTS:
            return _session().client("s3", **(chosen | settings))

    def environment(self) -> dict[str, str]:
        """Variables that give a subprocess this server's credentials and region, and nothing of the developer's own.

        The endpoint is not among them: a workflow takes it from its configuration.
        """
        keys = {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_DEFAULT_REGION": self.region}
        return keys | ISOLATED


def serve_by_hand(server: type[S3Server], data_outlives: bool) -> None:
    """Run a server from the command line until Ctrl-C."""
    parser = argparse.ArgumentParser(description=f"{server.__doc__} Runs until Ctrl-C.")
    if data_outlives:
        parser.add_argument("--folder", type=Path, help="where data is kept and found again (default: a temporary folder)")
    folder = getattr(parser.parse_args(), "folder", None)
    for end in (signal.SIGTERM, signal.SIGINT):  # a shell that starts it in the background has it ignore the second
        signal.signal(end, signal.default_int_handler)
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with server(folder or Path(temporary)) as running:
                for name, value in (running.environment() | {"AWS_ENDPOINT_URL": running.endpoint}).items():
                    print(f"export {name}={shlex.quote(value)}")
                print(f"# {server.__name__} at {running.endpoint}, until Ctrl-C", flush=True)
                signal.pause()
        except KeyboardInterrupt:
            print(flush=True)
