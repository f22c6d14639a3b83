"""OpenStack Swift with its S3 layer: a real object store, which checks signatures and keeps data on disk.

`python -m tests.lab.swift [--folder FOLDER]` starts one by hand. It needs memcached from Debian, and Swift in an environment of its own:

    UV_PROJECT_ENVIRONMENT=.lab uv sync --frozen --only-group lab
"""

import configparser
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab.daemon import HOST, Daemon, free_ports, wait_until_answering, wait_until_listening
from tests.lab.server import S3Server, serve_by_hand

PROGRAMS = Path(__file__).parents[2] / ".lab/bin"
PATIENCE = 60  # seconds; on a busy machine Swift's own fractions of a second make an object miss from its listing

BACKENDS = ("account", "container", "object")

# Where each kind of data lies: on one device of one server. `swift-ring-builder` does the same in nine calls, each as slow as this.
MAKE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for word in sys.argv[1:]:
    kind, port = word.split("=")
    builder = RingBuilder(part_power=2, replicas=1, min_part_hours=1)
    builder.add_dev(dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="disk", weight=1))
    builder.rebalance(seed=1)
    builder.get_ring().save(kind + ".ring.gz")
"""


def missing_programs() -> str:
    """What stands in the way of starting a server, with the command that installs it; empty if nothing does."""
    if not (PROGRAMS / "swift-proxy-server").exists():
        return "Swift is missing: UV_PROJECT_ENVIRONMENT=.lab uv sync --frozen --only-group lab"
    if not shutil.which("memcached"):
        return "memcached is missing: apt-get install memcached"
    return ""


class SwiftServer(S3Server):
    """OpenStack Swift on one disk, reached through its S3 layer.

    Attributes:
        stranger: access key and secret of a user who is known but may do nothing.
    """

    access_key = "lab:ci"
    secret_key = "swift-lab-secret-0d4c7a19fe"
    stranger = ("lab:stranger", "swift-stranger-secret-71be")

    def __init__(self, folder: Path) -> None:
        """Configure a server; data that an earlier one left in the folder is there again."""
        if missing := missing_programs():
            raise FileNotFoundError(missing)
        self._folder = folder.resolve()
        self._ports = dict(zip(("memcached", *BACKENDS, "proxy"), free_ports(5), strict=True))
        self.endpoint = f"http://{HOST}:{self._ports['proxy']}"
        for name in ("disk/disk", "logs"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        self._configure()
        self._daemons = {name: self._daemon(name) for name in self._ports}

    def restart(self) -> None:
        """Start what does not run, on the same ports, the data as it was."""
        for daemon in self._daemons.values():
            daemon.start()
        for name, port in self._ports.items():
            wait_until_listening(port, self._daemons[name])
        wait_until_answering(f"{self.endpoint}/healthcheck", self._daemons["proxy"])

    def kill(self) -> None:
        """SIGKILL of all its processes. What was stored stays on disk."""
        for daemon in reversed(self._daemons.values()):
            daemon.kill()

    def kill_proxy(self) -> None:
        """SIGKILL of the process that takes requests alone, which is quick to start again."""
        self._daemons["proxy"].kill()

    def _daemon(self, name: str) -> Daemon:
        log = self._folder / "logs" / f"{name}.log"
        if name == "memcached":
            # As root it insists on being told a user.
            command = ["memcached", "-u", user_name(), "-l", HOST, "-p", str(self._ports[name]), "-m", "64"]
            return Daemon(command, log)
        return Daemon([PROGRAMS / f"swift-{name}-server", self._folder / f"{name}-server.conf", "-v"], log)

    def _configure(self) -> None:
        # The ring's own prefix and suffix decide where an object lies on disk: constants, so that data is found again.
        ring_hash = {"swift_hash_path_prefix": "lab", "swift_hash_path_suffix": "lab"}
        self._write("swift.conf", {"swift-hash": ring_hash, "storage-policy:0": {"name": "default", "default": "yes"}})
        self._write("proxy-server.conf", self._proxy())
        for kind in BACKENDS:
            self._write(f"{kind}-server.conf", self._backend(kind))
        rings = [f"{kind}={self._ports[kind]}" for kind in BACKENDS]
        subprocess.run([PROGRAMS / "python", "-c", MAKE_RINGS, *rings], cwd=self._folder, check=True)

    def _common(self, name: str) -> dict[str, object]:
        """Settings of every Swift process: one process each, without forks, so that what is killed is the server itself."""
        return {
            "bind_ip": HOST,
            "bind_port": self._ports[name],
            "workers": 0,
            "user": user_name(),
            "swift_dir": self._folder,
            "log_level": "WARNING",
            "log_requests": "no",
            "node_timeout": PATIENCE,
            "conn_timeout": PATIENCE,
        }

    def _backend(self, kind: str) -> dict[str, Mapping[str, object]]:
        """One of the three servers that keep data."""
        storage = {
            "devices": self._folder / "disk",
            "mount_check": "no",
            "disable_fallocate": "yes",
            "fallocate_reserve": 0,
            # Nothing here would repeat a failed update of a listing, so it must not be given up early.
            "container_update_timeout": PATIENCE,
            # Files are small and the disk is this machine's: handing each read to another thread costs more than it gives.
            "eventlet_tpool_num_threads": 1,
            "keep_cache_private": "yes",
        }
        return {
            "DEFAULT": self._common(kind) | storage,
            "pipeline:main": {"pipeline": f"{kind}-server"},
            f"app:{kind}-server": {"use": f"egg:swift#{kind}"},
        }

    def _proxy(self) -> dict[str, Mapping[str, object]]:
        """The server that takes requests; its filters translate S3 and check who asks."""
        filters: dict[str, dict[str, object]] = {
            "catch_errors": {},
            "gatekeeper": {},
            "healthcheck": {},
            "memcache": {"memcache_servers": f"{HOST}:{self._ports['memcached']}", "memcache_max_connections": 32},
            "listing_formats": {},
            "s3api": {"location": self.region, "max_upload_part_num": 10_000},
            "tempauth": {tempauth_name(self.access_key): f"{self.secret_key} .admin", tempauth_name(self.stranger[0]): self.stranger[1]},
            "copy": {},
            "slo": {"max_manifest_segments": 10_000, "rate_limit_after_segment": 10_000},
            "dlo": {},
        }
        # A server that was killed and is back is asked again at once.
        own = {"account_autocreate": "yes", "error_suppression_interval": 0, "error_suppression_limit": 1_000_000}
        return {
            "DEFAULT": self._common("proxy"),
            "pipeline:main": {"pipeline": " ".join([*filters, "proxy-server"])},
            "app:proxy-server": {"use": "egg:swift#proxy"} | own,
            **{f"filter:{name}": {"use": f"egg:swift#{name}"} | settings for name, settings in filters.items()},
        }

    def _write(self, name: str, sections: Mapping[str, Mapping[str, object]]) -> None:
        # Nothing is interpolated by the writer; Swift's reader does so, hence no `%` stands in any value.
        config = configparser.RawConfigParser()
        config.read_dict(sections)
        with (self._folder / name).open("w") as handle:
            config.write(handle)


def tempauth_name(access_key: str) -> str:
    """The setting that makes a user known to Swift's simplest authentication."""
    account, user = access_key.split(":")
    return f"user_{account}_{user}"


def user_name() -> str:
    """Who runs the tests: Swift and memcached switch to another user otherwise."""
    return pwd.getpwuid(os.geteuid()).pw_name


if __name__ == "__main__":
    serve_by_hand(SwiftServer, data_outlives=True)
