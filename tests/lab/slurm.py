"""A real SLURM cluster on one machine: controller, nodes that are daemons of their own, fake GPUs, accounting where it is wanted.

`python -m tests.lab.slurm [--accounting] COMMAND ...` runs a command with a cluster beside it. It needs root and, from Debian:

    apt-get install slurmctld slurmd slurm-client munge        # and slurmdbd mariadb-server for accounting
"""

import argparse
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.lab.daemon import Daemon, free_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd")
# Where SLURM's programs look in a job, since the executor's jobs drop SLURM_CONF. Each node sees its own cluster's configuration there,
# in a mount namespace: clusters stand side by side, and one that the machine belongs to is not touched.
SYSTEM = Path("/etc/slurm")
OWN_VIEW = ("unshare", "--mount", "--propagation=private", "/bin/sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')
PATIENCE = 60  # seconds

CONFIGURATION = """
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={munge},cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=30
InactiveLimit=0
KillWait=3
MinJobAge=600
MaxArraySize=10001
JobRequeue=1
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=5,sched_min_interval=0
DefMemPerCPU=200
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType={accounting}
{nodes}
PartitionName=cpu Nodes=n[1-{count}] Default=YES MaxTime=600 DefaultTime=10 State=UP
PartitionName=gpu Nodes=n[1-{count}] MaxTime=600 DefaultTime=10 State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory} Gres=gpu:fake:{gpus} State=UNKNOWN"
)
ACCOUNTING = """accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={munge}
AccountingStorageTRES=gres/gpu"""
DATABASE_DAEMON = """
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
"""


def missing_programs(*, accounting: bool = False) -> str:
    """What stands in the way of starting a cluster, with the command that mends it; empty if nothing does."""
    if os.geteuid():
        return "SLURM's daemons need root"
    needed = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    if missing := [name for name in needed if not shutil.which(name)]:
        packages = "slurmctld slurmd slurm-client munge" + (" slurmdbd mariadb-server" if accounting else "")
        return f"{', '.join(missing)} missing: apt-get install {packages}"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return "SLURM's nodes need mount namespaces: run the container with the capability SYS_ADMIN"
    return ""


class SlurmCluster:
    """A controller and nodes, started on entering the context and gone on leaving it, with all their jobs.

    Nodes have as many processors and as much memory as is said, whatever the machine has; their GPUs are devices that do nothing.

    Attributes:
        nodes: their names.
        environment: what programs need to find the cluster.
    """

    def __init__(
        self, folder: Path, *, nodes: int = 3, cpus: int = 8, memory: int = 64_000, gpus: int = 2, accounting: bool = False
    ) -> None:
        """Configure a cluster in an empty folder.

        Args:
            folder: for configuration, state and logs; its path must be short, since sockets lie in it.
            nodes: how many.
            cpus: of a node.
            memory: of a node, in MB.
            gpus: of a node.
            accounting: whether finished jobs are kept in a database, for sacct.
        """
        if missing := missing_programs(accounting=accounting):
            raise FileNotFoundError(missing)
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.environment = {"SLURM_CONF": str(folder / "etc/slurm.conf")}
        self._accounting = accounting
        self._views: dict[str, set[Path]] = {}
        controller, self._database, self._daemon_port, *ports = free_ports(3 + nodes)
        self._munge = folder / "run/munge.socket"
        for name in ("etc", "run", "log", "state", "spool", "device", "mysql"):
            (folder / name).mkdir(parents=True)
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)
        self._configure(controller, dict(zip(self.nodes, ports, strict=True)), cpus, memory, gpus)
        self._daemons = self._make_daemons()

    def _configure(self, controller: int, ports: dict[str, int], cpus: int, memory: int, gpus: int) -> None:
        etc = self.folder / "etc"
        key = etc / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        lines = [NODE.format(name=name, port=port, cpus=cpus, memory=memory, gpus=gpus) for name, port in ports.items()]
        storage = ACCOUNTING.format(port=self._daemon_port, munge=self._munge) if self._accounting else "accounting_storage/none"
        values = {"host": socket.gethostname().split(".")[0], "controller": controller, "munge": self._munge, "folder": self.folder}
        text = CONFIGURATION.format(**values, accounting=storage, nodes="\n".join(lines), count=len(self.nodes))
        (etc / "slurm.conf").write_text(text)
        for number in range(gpus):  # the file of a GPU must be a device: copies of /dev/null
            os.mknod(self.folder / f"device/gpu{number}", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        devices = f"{self.folder}/device/gpu[0-{gpus - 1}]"
        (etc / "gres.conf").write_text(f"NodeName=n[1-{len(self.nodes)}] Name=gpu Type=fake File={devices}\n")
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nConstrainCores=no\nConstrainRAMSpace=no\n")

    def _make_daemons(self) -> dict[str, Daemon]:
        run, log, configuration = self.folder / "run", self.folder / "log", self.environment["SLURM_CONF"]
        munged = ["munged", "--foreground", "--force", f"--key-file={self.folder}/etc/munge.key", f"--socket={self._munge}"]
        munged += [f"--pid-file={run}/munged.pid", f"--log-file={log}/munged.log", f"--seed-file={run}/munged.seed"]
        commands = {"munged": munged} | (self._database_commands() if self._accounting else {})
        commands |= {"slurmctld": ["slurmctld", "-D", "-f", configuration]}
        commands |= {name: [*self._view(), "slurmd", "-D", "-N", name, "-f", configuration] for name in self.nodes}
        return {name: Daemon(command, log / f"{name}.out", self.environment) for name, command in commands.items()}

    def _view(self) -> list[str]:
        return [*OWN_VIEW, str(self.folder / "etc"), str(SYSTEM)]

    def _database_commands(self) -> dict[str, list[str]]:
        place = [f"--datadir={self.folder}/mysql", f"--socket={self.folder}/run/mysql.sock", f"--pid-file={self.folder}/run/mysql.pid"]
        network = ["--bind-address=127.0.0.1", f"--port={self._database}", "--skip-name-resolve"]
        sizes = ["--innodb-buffer-pool-size=128M", "--innodb-log-file-size=64M", "--innodb-lock-wait-timeout=900"]
        password = secrets.token_hex(8)
        self._grant = f"CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1'"
        text = DATABASE_DAEMON.format(
            munge=self._munge, port=self._daemon_port, folder=self.folder, database=self._database, password=password
        )
        path = self.folder / "etc/slurmdbd.conf"
        path.write_text(text)
        path.chmod(0o600)
        return {
            "mariadbd": ["mariadbd", "--no-defaults", "--user=root", *place, *network, *sizes],
            "slurmdbd": [*self._view(), "slurmdbd", "-D"],
        }

    def __enter__(self) -> Self:
        SYSTEM.mkdir(exist_ok=True)
        try:
            self._start("munged", lambda: self._answers("munge", "-n", "-S", str(self._munge)))
            if self._accounting:
                self._start_accounting()
            self._start("slurmctld", lambda: self._answers("scontrol", "ping"))
            for name in self.nodes:
                (self.folder / "spool" / name).mkdir(exist_ok=True)
                self._daemons[name].start()
            self._wait("the nodes", self.nodes[-1], lambda: self.idle_nodes() == self.nodes)
            for name in self.nodes:
                self._remember_view(name)
            if self._accounting:
                self.command("sacctmgr", "-i", "-Q", "add", "account", "lab")
                self.command("sacctmgr", "-i", "-Q", "add", "user", "root", "account=lab")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _start_accounting(self) -> None:
        socket_file = f"{self.folder}/run/mysql.sock"
        install = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.folder}/mysql", "--skip-test-db"]
        subprocess.run([*install, "--auth-root-authentication-method=socket"], check=True, capture_output=True)
        self._start("mariadbd", lambda: self._answers("mariadb-admin", "--no-defaults", "-uroot", "-S", socket_file, "ping"))
        statements = f"CREATE DATABASE slurm_acct_db; {self._grant}"
        subprocess.run(["mariadb", "--no-defaults", "-uroot", "-S", socket_file, "-e", statements], check=True, capture_output=True)
        self._start("slurmdbd", lambda: self._answers("sacctmgr", "-n", "show", "cluster"))
        self.command("sacctmgr", "-i", "-Q", "add", "cluster", "lab")

    def _start(self, name: str, is_ready: Callable[[], bool]) -> None:
        self._daemons[name].start()
        self._wait(name, name, is_ready)

    def _wait(self, what: str, daemon: str, is_ready: Callable[[], bool], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not is_ready():
            if time.monotonic() > end or self._daemons[daemon].has_ended():
                raise RuntimeError(f"{what}: not ready; {self._daemons[daemon].output()}\n{self._logs()}")
            time.sleep(0.1)

    def _logs(self) -> str:
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in sorted((self.folder / "log").glob("*.log")))

    def _answers(self, *command: str) -> bool:
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, timeout=30)
        return done.returncode == 0

    def stop(self) -> None:
        """End all jobs and daemons, and leave nothing behind outside the folder."""
        if self.is_up("slurmctld"):
            self._answers("scancel", "--user=root")
            end = time.monotonic() + 10
            while self.jobs() and time.monotonic() < end:
                time.sleep(0.1)
        for name in self.nodes:
            self._kill_processes(name)
        for daemon in reversed(self._daemons.values()):
            daemon.kill()

    def _remember_view(self, name: str) -> None:
        """All processes of a node share the mount namespace of its daemon, also those that outlive it."""
        pid = (self.folder / f"run/slurmd-{name}.pid").read_text().strip()
        view = Path(f"/proc/{pid}/ns/mnt").readlink()
        if view == Path("/proc/self/ns/mnt").readlink():
            raise RuntimeError(f"{name} has no view of its own: its processes cannot be told from others")
        self._views.setdefault(name, set()).add(view)

    def _kill_processes(self, name: str) -> None:
        for process in psutil.process_iter():
            try:
                if Path(f"/proc/{process.pid}/ns/mnt").readlink() in self._views.get(name, ()):
                    process.kill()
            except (psutil.Error, OSError):
                continue  # it has ended

    def command(self, *words: str) -> str:
        """Run one of SLURM's programs; gives what it writes."""
        done = subprocess.run(words, env=os.environ | self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout

    def is_up(self, daemon: str) -> bool:
        """Whether a daemon was started and has not ended."""
        return self._daemons[daemon].is_running()

    def jobs(self, *options: str) -> list[str]:
        """Lines `id state partition gres node name` of the jobs that wait or run, with squeue's options."""
        return self.command("squeue", "-h", "-o", "%i %T %P %b %N %j", *options).splitlines()

    def idle_nodes(self) -> list[str]:
        """Nodes that are up and take jobs."""
        lines = self.command("sinfo", "-h", "-N", "-p", "cpu", "-o", "%N %T").splitlines()
        return sorted({line.split()[0] for line in lines if line.split()[1] in ("idle", "mixed", "allocated")})

    def kill_node(self, name: str, *, daemon_alone: bool = False) -> None:
        """SIGKILL of a node's daemon and of everything that runs there, as when its power goes; the controller is told at once.

        Args:
            name: of the node.
            daemon_alone: what runs there runs on, as when the node is cut off.
        """
        self._daemons[name].kill()
        if not daemon_alone:
            self._kill_processes(name)
        self.command("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=test")

    def start_node(self, name: str) -> None:
        """Start a node's daemon again."""
        self._daemons[name].start()
        self.command("scontrol", "update", f"NodeName={name}", "State=RESUME")
        self._wait(name, name, lambda: name in self.idle_nodes())
        self._remember_view(name)

    def restart_controller(self) -> None:
        """End the controller, and start a new one that takes up its state."""
        self.command("scontrol", "shutdown", "slurmctld")
        self._wait("the controller's end", "munged", self._daemons["slurmctld"].has_ended)
        self._daemons["slurmctld"].kill()
        self._start("slurmctld", lambda: self._answers("scontrol", "ping"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with a cluster beside it; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.slurm", description=__doc__)
    parser.add_argument("--accounting", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="darkroom-slurm-") as folder:
        Path(folder).chmod(0o755)
        with SlurmCluster(Path(folder) / "lab", accounting=options.accounting) as cluster:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            return subprocess.run(options.command or ["bash"], env=os.environ | cluster.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
