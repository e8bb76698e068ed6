"""Commands whose output is not read to its end."""

import configparser
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from flashvggt_ros import commands
from flashvggt_ros.closed_pipes import silent_when_unread

ROOT = Path(__file__).resolve().parents[1]
CHATTY = """
import sys
from pathlib import Path
from flashvggt_ros.closed_pipes import silent_when_unread

@silent_when_unread
def main() -> int:
    for number in range(5000):
        print(f"line {number}")
        print(f"progress {number}", file=sys.stderr)
    Path(sys.argv[1]).touch()
    return 3

sys.exit(main())
"""


def entries():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = parser["options.entry_points"]["console_scripts"].strip().splitlines()
    return dict(line.split(" = ") for line in lines)


def run_unread(arguments, *, both=False):
    """Run Python with stdout, or stderr too, a pipe that nobody reads; return how it ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, *arguments], stdout=writer,
            stderr=writer if both else subprocess.PIPE, text=True, check=False, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        os.close(writer)


@pytest.mark.parametrize("both", [False, True])
def test_a_command_that_is_not_read_to_its_end_does_all_its_work(tmp_path, both):
    done = run_unread(["-c", CHATTY, str(tmp_path / "results")], both=both)
    assert done.returncode == 3
    assert (tmp_path / "results").exists()
    if not both:
        assert done.stderr.splitlines() == [f"progress {number}" for number in range(5000)]


def test_a_command_without_any_output_does_all_its_work(tmp_path):
    words = [sys.executable, "-c", CHATTY, str(tmp_path / "results")]
    done = subprocess.run(["sh", "-c", '"$@" >&- 2>&-', "sh", *words], check=False, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 3
    assert (tmp_path / "results").exists()


def test_what_is_read_arrives_and_the_streams_are_as_before(capsys):
    @silent_when_unread
    def main():
        print("said")
        return 0

    before = sys.stdout
    assert main() == 0
    assert sys.stdout is before
    assert capsys.readouterr().out == "said\n"


@pytest.mark.parametrize("command", sorted(set(entries()) - {"mapping_node"}))
def test_no_command_complains_that_nobody_reads_its_help(command):
    module, _, function = entries()[command].partition(":")
    if getattr(commands, function).args[0].startswith("flashvggt_ros.ros."):
        pytest.importorskip("rclpy")
    code = f"import sys; from {module} import {function}; sys.exit({function}())"
    done = run_unread(["-c", code, "--help"])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_whose_terminal_is_gone_does_all_its_work(tmp_path):
    screen, terminal = pty.openpty()
    command = [sys.executable, "-c", CHATTY.replace("5000", "5"), str(tmp_path / "results")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal,
                          cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        os.close(terminal)
        os.close(screen)
    assert process.returncode == 3
    assert (tmp_path / "results").exists()
