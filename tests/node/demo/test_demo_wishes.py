"""Wishes that cannot be are refused in one line, before anything is started."""

import pytest

from node.demo import command, language

QLORA = ["--task", "qlora"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([*QLORA, "--division", "iid"], "--division means nothing with --task qlora"),
        ([*QLORA, "--model", "mlp"], "--model means nothing with --task qlora"),
        ([*QLORA, "--experiment", "paper"], "--experiment means nothing with --task qlora"),
        ([*QLORA, "--parameter", "steps"], "give NAME=JSON"),
        ([*QLORA, "--members", "11"], "2 to 10 members"),
        (["--base", "model"], "--base means nothing with --task mnist"),
        (["--parameter", "steps=2"], "--parameter means nothing with --task mnist"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, capsys, options, complaint):
    assert command.main([*options, "--folder", str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_without_the_extra_the_command_that_installs_it_is_named(tmp_path, capsys, monkeypatch):
    found = language.find_spec
    monkeypatch.setattr(language, "find_spec", lambda name: None if name == "peft" else found(name))
    assert command.main([*QLORA, "--folder", str(tmp_path / "new")]) == 1
    said = capsys.readouterr().err
    assert "needs peft" in said
    assert 'pip install -e ".[demo,qlora]"' in said
    assert not (tmp_path / "new").exists()
