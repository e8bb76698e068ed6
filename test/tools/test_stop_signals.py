"""Commands that are asked to end, or whose terminal is gone."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flashvggt_ros.tools.stop_signals import StopSignals, ending_as_interrupt

ROOT = Path(__file__).resolve().parents[2]
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts_as_usual(number):
    before = signal.getsignal(number)
    with StopSignals() as signals:
        assert not signals.received
        signal.raise_signal(number)
        assert signals.received
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", ENDINGS)
def test_a_request_to_end_interrupts_once_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        end_while_clearing_up(number)
    assert signal.getsignal(number) == before


def end_while_clearing_up(number):
    with ending_as_interrupt():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("context", [StopSignals, ending_as_interrupt])
def test_what_nohup_started_goes_on_without_its_terminal(context):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with context():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ENDINGS)
def test_a_sample_bag_that_is_not_finished_leaves_nothing_behind(tmp_path, number):
    command = [sys.executable, "-m", "flashvggt_ros.tools.sample_bag", "--output",
               str(tmp_path / "bag"), "--seconds", "600", "--size", "64x64"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 60
        while not any(tmp_path.iterdir()) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        assert any(tmp_path.iterdir())
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said == "flashvggt_sample_bag: stopped, nothing was written\n"
    assert not any(tmp_path.iterdir())
