"""Installing into a tree, over an earlier installation, taking it away; an environment from a real wheel."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from node.cli.main import main
from node.config import load_config
from node.service import environment
from node.service.documents import manuals_and_completions
from node.service.environment import check_interpreter, make_environment
from node.service.install import Wish, install
from node.service.layout import CONFIG, GPU_PART, PARTS, RECORD, SOCKET, within
from node.service.record import read_record
from node.service.uninstall import uninstall
from protocol.errors import OperatorFault

PREFIX = Path("/srv/starling")


def wish(root: Path, **more: object) -> Wish:
    return Wish("clinic-ä", root, PREFIX, **more)  # type: ignore[arg-type]


def files(root: Path) -> set[Path]:
    return {Path("/") / path.relative_to(root) for path in root.rglob("*") if not path.is_dir()}


def test_a_staged_tree_has_all_that_makes_the_service(tmp_path: Path):
    done = install(wish(tmp_path))
    assert files(tmp_path) == {
        *(part.place for part in PARTS),
        *(place for place, _ in manuals_and_completions()),
        CONFIG,
        RECORD,
        Path("/usr/local/bin/starling"),
    }
    assert done == read_record(tmp_path)
    unit = within(tmp_path, PARTS[0].place).read_text()
    assert f"ExecStart={PREFIX}/bin/starlingd --config {CONFIG}\n" in unit
    assert "/opt/starling/" not in unit
    assert (tmp_path / "usr/local/bin/starling").readlink() == PREFIX / "bin" / "starling"


def test_the_first_configuration_is_the_documented_example_for_this_member(tmp_path: Path):
    install(wish(tmp_path))
    path = within(tmp_path, CONFIG)
    config = load_config(path)
    assert (config.node.name, str(config.socket)) == ("clinic-ä", SOCKET)
    assert path.stat().st_mode & 0o777 == 0o640
    example = tomllib.loads((Path(__file__).parents[3] / "config" / "node.example.toml").read_text())
    given = tomllib.loads(path.read_text())
    del given["control"]["socket"]
    assert given | {"node": example["node"]} == example


def test_installing_again_keeps_the_configuration_and_renews_the_rest(tmp_path: Path):
    install(wish(tmp_path, gpu=True))
    assert within(tmp_path, GPU_PART.place).exists()
    config, unit = within(tmp_path, CONFIG), within(tmp_path, PARTS[0].place)
    config.write_text("# mine\n")
    unit.write_text("old")
    install(wish(tmp_path))
    assert config.read_text() == "# mine\n"
    assert "ExecStart" in unit.read_text()
    assert not within(tmp_path, GPU_PART.place).exists()


def test_uninstalling_takes_away_what_was_put_there_and_nothing_else(tmp_path: Path):
    install(wish(tmp_path, gpu=True))
    mine = within(tmp_path, GPU_PART.place).with_name("mine.conf")
    mine.write_text("[Service]\n")
    state = tmp_path / "var/lib/starling/journal.sqlite"
    state.parent.mkdir(parents=True)
    state.write_text("precious")
    removed = uninstall(tmp_path, purge=False)
    assert files(tmp_path) == {
        CONFIG,
        Path("/var/lib/starling/journal.sqlite"),
        Path("/") / mine.relative_to(tmp_path),
    }
    assert GPU_PART.place in removed
    with pytest.raises(OperatorFault, match="nothing was installed"):
        uninstall(tmp_path, purge=False)


def test_purging_leaves_no_trace(tmp_path: Path):
    install(wish(tmp_path))
    (tmp_path / "var/lib/starling/keys").mkdir(parents=True)
    (tmp_path / "var/lib/starling/keys/job.key").write_bytes(b"secret")
    uninstall(tmp_path, purge=True)
    assert files(tmp_path) == set()


def test_a_command_of_another_maker_is_left_alone(tmp_path: Path):
    other = tmp_path / "usr/local/bin/starling"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")
    install(wish(tmp_path))
    uninstall(tmp_path, purge=True)
    assert other.read_text() == "#!/bin/sh\n"


@pytest.mark.parametrize(
    "record", ["[]", '{"prefix": 1}', '{"prefix":"/p","made":false,"files":["/../etc/passwd"]}']
)
def test_a_damaged_record_removes_nothing(tmp_path: Path, record: str):
    install(wish(tmp_path))
    before = files(tmp_path)
    within(tmp_path, RECORD).write_text(record)
    with pytest.raises(OperatorFault):
        uninstall(tmp_path, purge=True)
    assert files(tmp_path) == before


@pytest.mark.parametrize("prefix", ["/home/ada/venv", "/root/starling", "/tmp/venv", "relative"])  # noqa: S108
def test_an_environment_that_the_service_cannot_see_is_refused(tmp_path: Path, prefix: str):
    with pytest.raises(OperatorFault):
        install(Wish("a", tmp_path, Path(prefix)))
    assert files(tmp_path) == set()


def test_an_interpreter_that_the_service_cannot_see_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv/versions/3.11.7")
    with pytest.raises(OperatorFault, match="cannot see the Python"):
        check_interpreter()


def test_the_command_stages_and_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--root", str(tmp_path)]
    assert main(["install", *options, "--prefix", str(PREFIX), "--name", "a"]) == 0
    assert "systemctl enable --now starlingd" in capsys.readouterr().out
    assert main(["uninstall", *options]) == 0
    assert main(["uninstall", *options]) == 1
    assert "nothing was installed" in capsys.readouterr().err


def make_wheel(folder: Path) -> Path:
    """A package as small as can be that calls itself Starling and has its commands."""
    wheel = folder / "starling-0.0.1-py3-none-any.whl"
    about = "starling-0.0.1.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_starling.py", "def main():\n    print('tiny')\n")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: starling\nVersion: 0.0.1\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/entry_points.txt", "[console_scripts]\nstarlingd = tiny_starling:main\n")
        archive.writestr(f"{about}/RECORD", "")
    return wheel


def test_an_environment_is_made_and_a_failure_is_said(tmp_path: Path):
    make_environment(tmp_path / "venv", str(make_wheel(tmp_path)), "")
    said = subprocess.run([tmp_path / "venv/bin/starlingd"], capture_output=True, text=True, check=True)
    assert said.stdout == "tiny\n"
    (tmp_path / "broken.whl").write_bytes(b"no wheel")
    with pytest.raises(OperatorFault, match="pip could not install"):
        make_environment(tmp_path / "venv", str(tmp_path / "broken.whl"), "")


def test_there_is_nothing_to_install_without_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "SOURCES", tmp_path)
    with pytest.raises(OperatorFault, match="checkout"):
        environment.default_source()
