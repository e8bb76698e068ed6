"""docs/interfaces.md has all that the code has, and nothing else."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flashvggt_ros.ros import interface_notes
from flashvggt_ros.ros.interface_reference import PAGE, UndescribedError, main, page

ROOT = Path(__file__).parents[2]
CALLS = {"create_publisher", "create_subscription", "create_service", "create_client"}


def literal_names(source: str) -> Iterator[str]:
    """The names, as far as they stand in the code, that its calls create topics and services of."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in CALLS:
            for part in (leaf for argument in node.args[1:2] for leaf in ast.walk(argument)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value.lstrip("~/")


def test_the_committed_page_is_current() -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_the_page_is_the_same_where_bondpy_is_installed(tied: Callable[[], list[Any]]) -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0
    assert tied() == []


def test_a_topic_that_nobody_described_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(interface_notes.PUBLISHED, "~/obstacles")
    with pytest.raises(UndescribedError, match="~/obstacles"):
        page(ROOT)


def test_every_name_in_the_sources_is_on_the_page_whoever_uses_it() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    names = {
        name
        for path in (ROOT / "flashvggt_ros").rglob("*.py")
        for name in literal_names(path.read_text(encoding="utf-8"))
    }
    assert {"status", "save_map", "tf", "clock"} <= names
    assert [name for name in sorted(names) if f"{name}`" not in text] == []
