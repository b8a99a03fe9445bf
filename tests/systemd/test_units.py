"""The units: what the service manager's own tools say of them, and that they fit the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from node import bucket, keys
from node.config import load_config
from node.service.documents import manuals_and_completions
from node.service.layout import CONFIG, SHIPPED_PREFIX, SOCKET, STATE, USER

UNITS = Path(__file__).parents[2] / "systemd"
MOST_CPU, MOST_GPU = 1.5, 1.8

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here"
)


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """The unit in a folder of its own, with an executable where it expects one."""
    program = tmp_path / "bin" / "starlingd"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "units" / "starlingd.service"
    unit.parent.mkdir()
    unit.write_text((UNITS / "starlingd.service").read_text().replace(SHIPPED_PREFIX, str(tmp_path)))
    return unit


def add_gpu(unit: Path) -> None:
    drop_in = unit.parent / "starlingd.service.d" / "gpu.conf"
    drop_in.parent.mkdir()
    shutil.copy(UNITS / "starlingd-gpu.conf", drop_in)


def exposure(unit: Path) -> float:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told.stdout)
    assert found, told.stderr
    return float(found[1])


@needs_analyze
def test_the_unit_exposes_little(placed: Path):
    assert exposure(placed) <= MOST_CPU


@needs_analyze
def test_with_a_gpu_it_exposes_little_more(placed: Path):
    alone = exposure(placed)
    add_gpu(placed)
    assert alone < exposure(placed) <= MOST_GPU


@needs_analyze
@pytest.mark.parametrize("gpu", [False, True])
def test_the_service_manager_understands_every_line(placed: Path, gpu: bool):
    if gpu:
        add_gpu(placed)
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(placed)], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")


def test_the_manual_page_that_the_unit_names_is_installed():
    named = re.search(r"man:(\w+)\((\d)\)", (UNITS / "starlingd.service").read_text())
    assert named
    assert f"{named[1]}.{named[2]}" in {place.name for place, _ in manuals_and_completions()}


@needs_analyze
def test_the_example_for_a_hydra_node_is_a_unit(tmp_path: Path):
    unit = tmp_path / "hydra-node.service"
    text = (UNITS / "hydra-node.service.example").read_text()
    unit.write_text(text.replace("/usr/local/bin/hydra-node", "/bin/true"))
    told = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert exposure(unit) <= MOST_CPU


def settings(name: str) -> list[str]:
    text = (UNITS / "starlingd.service").read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_every_secret_can_come_as_a_credential():
    names = {value.partition(":")[0] for value in settings("LoadCredentialEncrypted")}
    own = {keys.IDENTITY, keys.PAYMENT, keys.JOB, keys.JOURNAL}
    grants = {
        bucket.STORJ_WRITER,
        bucket.STORJ_CLEANER,
        bucket.S3_WRITER,
        bucket.S3_READER,
        bucket.S3_CLEANER,
    }
    assert names == own | grants


def test_a_credential_that_is_not_there_is_no_error():
    """Names are looked for in the credential stores and may be missing there; paths may not."""
    assert not [value for value in settings("LoadCredentialEncrypted") if "/" in value]


def test_places_are_those_of_the_installation_and_the_example():
    assert settings("User") == settings("Group") == [USER]
    assert [f"/var/lib/{name}" for name in settings("StateDirectory")] == [str(STATE)]
    assert SOCKET.startswith(f"/run/{settings('RuntimeDirectory')[0]}/")
    assert settings("ExecStart") == [f"{SHIPPED_PREFIX}/bin/starlingd --config {CONFIG}"]
    assert settings("ExecStartPre") == [f"{settings('ExecStart')[0]} --check"]
    example = load_config(UNITS.parent / "config" / "node.example.toml")
    assert example.node.state == STATE


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed here")
def test_user_and_directories_are_made_as_the_unit_expects(tmp_path: Path):
    for name in ("etc", "var/lib"):
        (tmp_path / name).mkdir(parents=True)
    for tool, file in (("systemd-sysusers", "starling.sysusers.conf"),):
        subprocess.run([tool, f"--root={tmp_path}", str(UNITS / file)], check=True, capture_output=True)
    assert f"{USER}:" in (tmp_path / "etc" / "passwd").read_text()
    user = next(
        line for line in (tmp_path / "etc" / "passwd").read_text().splitlines() if line.startswith(USER)
    )
    assert user.endswith(":/usr/sbin/nologin")
