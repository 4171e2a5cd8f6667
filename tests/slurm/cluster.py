"""A real SLURM of one node on loopback: munged, slurmctld and slurmd in a folder of its own, and stopped afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "scancel", "scontrol", "squeue", "srun")
#: cred_expire also says how long a requeued job waits; SLURM's 120 seconds are too many for a test.
CONFIG = """\
ClusterName=anon
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
JobRequeue=1
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no SLURM can be started here, or None."""
    if os.geteuid() != 0:
        return "starting a SLURM needs root"
    absent = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=_path()) is None]
    packages = "apt-get install --no-install-recommends slurm-wlm slurmctld slurmd slurm-client munge"
    return f"no {absent[0]} here ({packages})" if absent else None


@dataclass(frozen=True)
class Cluster:
    """Commands of a running cluster; ``environment`` is what makes SLURM's commands speak to it."""

    folder: Path
    environment: dict[str, str]

    def call(self, *words: str, cwd: Path | None = None, **more: str) -> str:
        """Run a command against the cluster and return what it printed."""
        done = subprocess.run(words, cwd=cwd, env=self.environment | more, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def facts(self, job: str) -> dict[str, str]:
        """What scontrol knows of a job: JobState, Restarts, ExitCode, ..."""
        words = self.call("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job: str, *states: str, seconds: float = 240.0) -> dict[str, str]:
        """Wait until a job is in one of the states."""
        deadline = time.monotonic() + seconds
        while True:
            facts = self.facts(job)
            if facts["JobState"] in states:
                return facts
            assert time.monotonic() < deadline, f"job {job} is {facts['JobState']} ({facts['Reason']}), not {states}"
            time.sleep(0.3)


@contextlib.contextmanager
def cluster(folder: Path, cpus: int = 4) -> Iterator[Cluster]:
    """Start the three daemons below ``folder``; whatever happens inside, they and their jobs are gone afterwards."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    folder.chmod(0o755)  # munged refuses a folder that others may write
    config = folder / "slurm.conf"
    ports = {"ctld_port": _free_port(), "slurmd_port": _free_port()}
    config.write_text(CONFIG.format(folder=folder, cpus=cpus, **ports))
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment |= {"SLURM_CONF": str(config), "PATH": _path()}
    files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munged.pid", "log-file": "munged.log"}
    munged = ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in files.items())]
    daemons = [[*munged, f"--seed-file={folder / 'munge.seed'}"]]
    daemons += [["slurmctld", "-D", "-f", str(config)], ["slurmd", "-D", "-f", str(config), "-N", "localhost"]]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for words in daemons:
            log = (folder / f"{words[0]}.out").open("wb")
            running.append(subprocess.Popen(words, env=environment, stdout=log, stderr=log, start_new_session=True))
            log.close()
            if words[0] == "munged":
                _wait_for(lambda: (folder / "munge.sock").exists(), "munged", folder)
        found = Cluster(folder, environment)
        _wait_for(lambda: _idle(found), "slurmd", folder)
        yield found
    finally:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(["scancel", "--user=root"], env=environment, capture_output=True, timeout=10)
            time.sleep(1)
        _end(running, folder)


def _idle(found: Cluster) -> bool:
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], env=found.environment, capture_output=True, text=True)
    return done.stdout.strip() == "idle"


def _wait_for(ready: object, name: str, folder: Path, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            told = "".join((folder / f"{daemon}.out").read_text()[-500:] for daemon in DAEMONS if daemon == name)
            raise AssertionError(f"{name} did not come up in {seconds:.0f} s: {told}")
        time.sleep(0.2)


def _end(running: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Daemons in reverse order, then the step daemons of jobs that were still there, which name our configuration."""
    for process in reversed(running):
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SLURM_CONF={folder}/".encode() in (entry / "environ").read_bytes():
                os.kill(int(entry.name), 9)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
