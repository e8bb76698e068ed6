"""Ctrl-C while a command's modules are imported."""

import ast
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from flashvggt_ros import commands

ROOT = Path(__file__).resolve().parents[1]
MODULES = [value.args[0] for value in vars(commands).values() if isinstance(value, partial)]
INTERRUPTED = """
import os, signal
os.kill(os.getpid(), signal.SIGINT)
def main():
    return 3
"""
INTERRUPTED_LATER = """
import os, signal
def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        return 4
"""


def run(folder: Path, source: str, *, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command whose module is ``source``, after the statement ``before``."""
    (folder / "interrupted.py").write_text(source)
    code = f"import signal, sys; {before}\nfrom flashvggt_ros.commands import run\n"
    return subprocess.run(
        [sys.executable, "-c", code + "sys.exit(run('interrupted'))"], text=True,
        capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])},
    )


@pytest.mark.parametrize("module", MODULES)
def test_every_command_is_the_main_of_a_module(module):
    source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    names = {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert "main" in names


def test_an_interrupted_import_ends_the_process_in_silence(tmp_path):
    done = run(tmp_path, INTERRUPTED)
    assert done.returncode == -signal.SIGINT
    assert done.stdout + done.stderr == ""


def test_what_runs_after_the_import_can_end_in_order(tmp_path):
    assert run(tmp_path, INTERRUPTED_LATER).returncode == 4


def test_ctrl_c_that_was_ignored_from_the_start_stays_so(tmp_path):
    done = run(tmp_path, INTERRUPTED, before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert done.returncode == 3
