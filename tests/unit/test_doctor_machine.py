"""The doctor on GPUs, disk and hub."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import threading
from pathlib import Path

import pytest

from winnow.doctor import disk, gpus, hub
from winnow.doctor.finding import FAIL, HINT, OK, WARN, Finding


def program(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


SMI = "NVIDIA H100 80GB HBM3, 81559, 580.65.06\n"


def on_path(folder, monkeypatch, **scripts):
    for name, script in scripts.items():
        program(folder, name.replace("_", "-"), script)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def torch_python(folder, monkeypatch, told):
    """A Python for the jobs whose torch says so."""
    script = f"echo '{json.dumps(told)}'" if isinstance(told, dict) else f"echo '{told}' >&2; exit 1"
    monkeypatch.setenv("WINNOW_PYTHON", program(folder, "worker", script))


def test_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [finding.level for finding in gpus.check()] == [OK]


def test_gpus_are_described():
    two = gpus.parse(SMI * 2 + "NVIDIA GB10, [N/A], 580.65.06\n\n")
    assert gpus.described(two) == "2 × NVIDIA H100 80GB HBM3, 80 GiB; 1 × NVIDIA GB10; driver 580.65.06"


@pytest.mark.parametrize(
    ("told", "level", "found"),
    [
        ({"torch": "2.13.0", "cuda": "13.0", "count": 1}, OK, "sees 1 of 1 GPUs"),
        ({"torch": "2.13.0", "cuda": "13.0", "count": 0}, FAIL, "built with CUDA 13.0, sees 0 of 1"),
        ({"torch": "2.13.0+cpu", "cuda": None, "count": 0}, FAIL, "built with no CUDA"),
        ("libcudart.so.13: cannot open shared object file", FAIL, "libcudart.so.13"),
    ],
)
def test_torch_and_the_gpus(tmp_path, monkeypatch, told, level, found):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    on_path(tmp_path, monkeypatch, nvidia_smi=f"printf '{SMI.strip()}\\n'")
    torch_python(tmp_path, monkeypatch, told)
    devices, torch = gpus.check()
    assert devices.level == OK and "1 × NVIDIA H100" in devices.found
    assert torch.level == level and found in torch.found
    assert bool(torch.mend) == (level != OK)


def test_hidden_gpus_are_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on_path(tmp_path, monkeypatch, nvidia_smi=f"printf '{SMI.strip()}\\n'")
    torch_python(tmp_path, monkeypatch, {"torch": "2.13.0", "cuda": "13.0", "count": 0})
    assert [finding.level for finding in gpus.check()] == [OK, WARN]


def test_a_driver_that_is_at_fault(tmp_path, monkeypatch):
    on_path(
        tmp_path, monkeypatch, nvidia_smi="echo Failed to initialize NVML: Driver/library mismatch; exit 18"
    )
    [finding] = gpus.check()
    assert finding.level == FAIL and "Driver/library mismatch" in finding.found
    on_path(tmp_path, monkeypatch, nvidia_smi="exit 0")
    assert [finding.level for finding in gpus.check()] == [WARN]


# Disk


def test_a_folder_that_does(tmp_path):
    findings = list(disk.folder(tmp_path / "not/yet/there", "results", 0.0))
    assert [finding.level for finding in findings] == [OK, OK]
    assert "file locks hold" in findings[-1].found
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_too_little_room(tmp_path):
    mount = disk.Mount("/dev/sda1", "/", "ext4")
    assert disk.space(tmp_path, tmp_path, mount, "results", 10**9).level == WARN
    disk_full = os.statvfs_result((4096, 4096, 10**6, 10**5, 10**5, 10**6, 10**5, 10**5, 0, 255))
    files_full = os.statvfs_result((4096, 4096, 10**9, 10**9, 10**9, 10**6, 100, 100, 0, 255))
    for status in (disk_full, files_full):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "statvfs", lambda path, status=status: status)
            assert disk.space(tmp_path, tmp_path, mount, "results", 0.0).level == FAIL


def test_locks_that_do_not_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    assert "a second lock on a locked file was granted" in disk.writable(tmp_path, tmp_path, "results").found

    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    finding = disk.writable(tmp_path, tmp_path, "results")
    assert finding.level == FAIL and "Function not implemented" in finding.found and "flock" in finding.mend


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(disk.tempfile, "NamedTemporaryFile", refuse)
    assert disk.writable(tmp_path, tmp_path, "results").level == FAIL


def test_mounts(tmp_path):
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\n"
        "nfs:/home /home nfs4 rw 0 0\n"
        "fs1@tcp:/scratch /scratch/with\\040space lustre rw 0 0\n"
        "overlay / overlay rw 0 0\n"
    )
    mounts = disk.read_mounts(str(table))
    assert disk.mount_of(Path("/home/alice"), mounts).kind == "nfs4"
    assert disk.mount_of(Path("/homes"), mounts).kind == "overlay", "the later mount hides the earlier"
    assert disk.mount_of(Path("/scratch/with space/run"), mounts).device == "fs1@tcp:/scratch"
    assert disk.read_mounts(str(tmp_path / "nothing")) == []


QUOTA = """\
Disk quotas for user alice (uid 1001):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
     nfs:/home 4823412  5242880 6291456       0   48212       0       0       0
     /dev/sdb1 1048576*  500000 1000000 1763712000   10     100     200       0
"""
LUSTRE = "/scratch 880000000 0 1000000000 - 990000 0 1000000 -\n"


def test_quota():
    home = disk.parse_quota(QUOTA, "nfs:/home")
    assert home == disk.Quota(4823412 * 1024, 6291456 * 1024, 48212, None)
    assert disk.parse_quota(QUOTA, "/dev/sdc1") is None
    mount = disk.Mount("nfs:/home", "/home", "nfs4")
    assert disk.within_quota(home, mount, "results", 1.0) == Finding(
        OK, "results quota", "used 5 of 6 GB on /home"
    )
    assert disk.within_quota(home, mount, "results", 20.0).level == WARN
    assert disk.within_quota(disk.parse_quota(QUOTA, "/dev/sdb1"), mount, "results", 0.0).level == FAIL
    full = disk.within_quota(disk.parse_quota(LUSTRE, "/scratch"), mount, "results", 20.0)
    assert full.level == FAIL and full.found == "used 901 of 1,024 GB and 990,000 of 1,000,000 files on /home"
    free = disk.Quota(0, None, 0, None)
    assert disk.within_quota(free, mount, "results", 20.0).level == OK


# Hub


@pytest.fixture
def endpoint():
    """A hub that answers, and knows one token."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.headers["Authorization"] == "Bearer good"
            self.send_response(200 if known or "whoami" not in self.path else 401)
            self.end_headers()
            self.wfile.write(b"<html>" if self.path.startswith("/captive") else b"{}")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def hub_finding(**variables):
    [finding] = hub.check(variables)
    return finding.level, finding.found


def test_hub(endpoint, tmp_path):
    base = {"HF_ENDPOINT": f"{endpoint}/", "HF_HOME": str(tmp_path)}
    assert hub_finding(**base)[0] == HINT
    assert hub_finding(**base, HF_TOKEN="good") == (
        OK,
        f"{endpoint} answers, and takes the token of HF_TOKEN",
    )
    level, found = hub_finding(**base, HF_TOKEN="secret-and-wrong")
    assert level == WARN and "401" in found and "secret" not in found
    (tmp_path / "token").write_text("good\n")
    assert hub_finding(**base) == (OK, f"{endpoint} answers, and takes the token of {tmp_path}/token")
    assert hub_finding(**{**base, "HF_ENDPOINT": f"{endpoint}/captive"})[1].endswith("answers in its place")


def test_hub_out_of_reach(tmp_path):
    level, found = hub_finding(HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path))
    assert level == WARN and "Connection refused" in found
    level, found = hub_finding(HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert level == OK and str(tmp_path / "hub") in found
