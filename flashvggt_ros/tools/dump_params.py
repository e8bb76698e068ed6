"""Write the documents that list every parameter: config/default.yaml and docs/parameters.md."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from flashvggt_ros.closed_pipes import silent_when_unread
from flashvggt_ros.config import parameters
from flashvggt_ros.parameter import Parameter, ParameterValue

LINE_LENGTH = 100

YAML_HEADER = """\
# Every parameter of the mapping node with its default, and its range or choices behind it. Copy
# what you change into a file of your own.
# Generated from flashvggt_ros/config.py by flashvggt_dump_params: edit there.
/**:
  ros__parameters:
"""

TABLE_HEADER = """\
# Parameters

Of the node `mapping`, and of `flashvggt_replay`. Set them in a ROS parameter file
(`config/default.yaml` lists all), with `--ros-args -p chunk.size:=6`, or with arguments of the
launch file. A value out of range is refused at start, with the limit.

Generated from `flashvggt_ros/config.py` by `flashvggt_dump_params`: edit there.
"""


def default_yaml() -> str:
    """Return a ROS parameter file with all defaults, documented by comments."""
    return YAML_HEADER + "\n".join(
        "\n".join(_yaml_section(section, list(members)))
        for section, members in groupby(parameters(), _section)
    )


def parameter_table() -> str:
    """Return a Markdown page with one table for each section."""
    page = [TABLE_HEADER]
    for section, members in groupby(parameters(), _section):
        page.append(f"## {section or 'General'}\n")
        page.append("| Parameter | Default | Range or choices | Meaning |")
        page.append("| --- | --- | --- | --- |")
        page.extend(
            f"| `{member.name}` | `{_yaml_value(member.default)}` | {_limits(member) or 'any'} "
            f"| {member.doc} |"
            for member in members
        )
        page.append("")
    return "\n".join(page)


DOCUMENTS = {"config/default.yaml": default_yaml, "docs/parameters.md": parameter_table}


@silent_when_unread
def main(arguments: Sequence[str] | None = None) -> int:
    """Write the documents below a folder; with --check only say which are out of date."""
    parser = argparse.ArgumentParser(prog="flashvggt_dump_params", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    parser.add_argument("--root", type=Path, default=Path(), help="source tree (default: here)")
    options = parser.parse_args(arguments)
    if not (options.root / "package.xml").is_file():
        parser.error(f"{options.root.resolve()} has no package.xml: give the source tree, --root")
    stale = [name for name, text in DOCUMENTS.items() if _read(options.root / name) != text()]
    for name in stale:
        print(f"{name}: {'out of date, run flashvggt_dump_params' if options.check else 'written'}")
        if not options.check:
            (options.root / name).parent.mkdir(exist_ok=True)
            (options.root / name).write_text(DOCUMENTS[name](), encoding="utf-8")
    return 1 if stale and options.check else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _section(parameter: Parameter) -> str:
    return parameter.name.rpartition(".")[0]


def _yaml_section(section: str, members: list[Parameter]) -> list[str]:
    indent = "    "
    lines = []
    if section:
        lines.append(f"{indent}{section}:")
        indent += "  "
    for member in members:
        comment = f"{indent}# "
        lines += textwrap.wrap(
            member.doc, LINE_LENGTH, initial_indent=comment, subsequent_indent=comment
        )
        limits = f"  # {_limits(member)}" if _limits(member) else ""
        name = member.name.rpartition(".")[2]
        lines.append(f"{indent}{name}: {_yaml_value(member.default)}{limits}")
    return [*lines, ""]


def _limits(parameter: Parameter) -> str:
    if parameter.choices:
        return ", ".join(parameter.choices)
    if parameter.low is None and parameter.high is None:
        return ""
    return f"{_number(parameter.low)} to {_number(parameter.high)}"


def _number(limit: float | None) -> str:
    if limit is None:
        return "any"
    return str(int(limit)) if limit == int(limit) else str(limit)


def _yaml_value(value: ParameterValue) -> str:
    """Return ``value`` as YAML that ROS reads back in the same type: JSON is, for these types."""
    return json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
