"""Whether the model's threads sleep while they wait, in the processes that run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CALLERS = {
    "replay": "from flashvggt_ros.tools.replay import load_model as start; "
              "from flashvggt_ros.config import Config as thing",
    "node": "from flashvggt_ros.ros.node_lifetime import load_model as start; "
            "from flashvggt_ros.ros.node import MappingNode as thing",
}


def output_of(program: str, without: str, **environment: str) -> list[str]:
    """Words that a program prints where the variable ``without`` is unset but for what is given."""
    kept = {name: value for name, value in os.environ.items() if name != without}
    done = subprocess.run(
        [sys.executable, "-c", program], env=kept | environment, cwd=ROOT, capture_output=True,
        text=True, check=True,
    )
    return done.stdout.split()


def policy_after(program: str, **environment: str) -> str:
    program += "; import os; print(os.environ['OMP_WAIT_POLICY'])"
    return output_of(program, "OMP_WAIT_POLICY", **environment)[-1]


def test_threads_sleep_unless_the_user_says_otherwise() -> None:
    program = "from flashvggt_ros.cpu_threads import let_idle_threads_sleep as f; assert f()"
    assert policy_after(program) == "PASSIVE"
    assert policy_after(program, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


@pytest.mark.parametrize("caller", CALLERS)
def test_it_is_asked_for_before_torch_is_loaded(caller: str) -> None:
    program = (
        f"import sys; {CALLERS[caller]}; assert 'torch' not in sys.modules\n"
        "from types import SimpleNamespace\n"
        "class Torchless:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('torch'):\n"
        "            raise ImportError('torch')\n"
        "sys.meta_path.insert(0, Torchless())\n"
        "try:\n"
        "    start(SimpleNamespace(config=None))\n"
        "except ImportError:\n"
        "    pass\n"
        "else:\n"
        "    raise SystemExit('torch was not asked for')\n"
    )
    assert policy_after(program + "pass") == "PASSIVE"


def test_opencv_leaves_half_of_the_processors_alone_unless_the_user_says_otherwise() -> None:
    program = (
        "import cv2; from flashvggt_ros.cpu_threads import let_idle_threads_sleep\n"
        "let_idle_threads_sleep(); let_idle_threads_sleep()\n"
        "print(cv2.getNumThreads(), max(1, cv2.getNumberOfCPUs() // 2))"
    )
    name = "OPENCV_FOR_THREADS_NUM"
    used, half = output_of(program, name)
    assert used == half
    assert output_of(program, name, **{name: "3"})[0] == "3"


def test_products_of_matrices_keep_to_one_thread_unless_the_user_says_otherwise() -> None:
    program = (
        "import numpy, scipy.linalg; from threadpoolctl import threadpool_info\n"
        "from flashvggt_ros.cpu_threads import let_idle_threads_sleep; let_idle_threads_sleep()\n"
        "found = {lib['num_threads'] for lib in threadpool_info() if lib['user_api'] == 'blas'}\n"
        "print(*found)"
    )
    assert output_of(program, "OPENBLAS_NUM_THREADS") == ["1"]
    assert output_of(program, "OPENBLAS_NUM_THREADS", OPENBLAS_NUM_THREADS="2") == ["2"]
