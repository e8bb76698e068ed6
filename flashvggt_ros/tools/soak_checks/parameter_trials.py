"""Parameter files with something wrong, read: one trial after another."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Any

import yaml

from flashvggt_ros.config import build_config, flatten
from flashvggt_ros.tools.dump_params import default_yaml
from flashvggt_ros.tools.run_config import read_parameter_file
from flashvggt_ros.tools.soak_checks.mangling import mangled, mangled_text
from flashvggt_ros.tools.soak_checks.trial import Trial, require

VALUES: tuple[Any, ...] = (None, True, -1, 0, 2**31, 2**70, 10**400, 0.5, -0.0, 1e308, float("nan"),
                           float("inf"), "", "x" * 100_000, "1", "nul\0", [], [[]], ["a", 1], {},
                           {"a": {"b": 1}}, ["image"] * 3)  # fmt: skip
FILES = (
    "/**:\n  ros__parameters: [1, 2]\n",
    "/**:\n  ros__parameters: x\n",
    "/**: {ros__parameters: {a: &a {b: *a}}}\n",
    "/**: &a {ros__parameters: {b: *a}}\n",
    "[" * 20_000,
    "/**:\n  ros__parameters: " + "{a: " * 5_000,
    "/**: {ros__parameters: {{a: 1}: 2, [1]: 3}}\n",
    "/**: {ros__parameters: {seed: " + "9" * 100_000 + "}}\n",
    "? !!python/object/apply:os.system [x]\n",
    "--- 1\n--- 2\n",
    "\ufeff",
)


def parameter_trial(folder: Path) -> Trial:
    """Read a broken parameter file and make a configuration of it."""
    path = Path(tempfile.mkdtemp(prefix="parameter_trial_", dir=folder), "params.yaml")
    text = default_yaml()

    def trial(random: Random) -> bool:
        path.write_bytes(_content(text, random))
        try:
            values = flatten(build_config(read_parameter_file(path)))
        except ValueError as error:
            require(10 < len(str(error)) < 10_000, f"a reason of {len(str(error))} characters")
            return False
        require(build_config(values) is not None, "its values are not accepted again")
        return True

    return trial


def _content(text: str, random: Random) -> bytes:
    way = random.randrange(6)
    if way == 0:
        return random.choice((*FILES, *_aliases())).encode("utf-8")
    if way == 1:
        return mangled(text.encode("utf-8"), random)
    if way == 2:
        return mangled_text(text, random).encode("utf-8", "replace")
    given = {name: value for name, value in yaml.safe_load(text)["/**"]["ros__parameters"].items()
             if random.random() < 0.3}
    for _ in range(random.randint(1, 2)):
        name = random.choice([*given, "unknown", "chunk", "chunk.size", "image.max_megapixels"])
        given[name] = random.choice(VALUES)
    return yaml.safe_dump({"/**": {"ros__parameters": given}}).encode("utf-8")


def _aliases() -> tuple[str, ...]:
    """Files of some bytes whose content is endless when aliases are followed."""
    mapping = [f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}}}" for n in range(1, 40)]
    sequence = [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    return (
        "/**:\n  ros__parameters:\n    a0: &a0 {x: 1}\n    " + "\n    ".join(mapping),
        "/**:\n  ros__parameters:\n    a0: &a0 [1]\n    " + "\n    ".join(sequence)
        + "\n    image_topics: *a39\n",
    )
