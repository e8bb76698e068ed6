"""Reports of an evaluation: tables in Markdown, and one HTML file with the pictures in it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from flashvggt_ros.tools.evaluation.scores import ERRORS, PICTURE
from flashvggt_ros.tools.evaluation.summary import NOTES, TABLES, Column
from flashvggt_ros.tools.plots import draw_errors

MARKDOWN, HTML, OVERVIEW = "report.md", "report.html", "errors.png"
MAP_PICTURE = "map_top.png"
MEAN, MISSING_TITLE = "mean", "Not scored"
STYLE = """body { font-family: system-ui, sans-serif; margin: 2em; color: #111; background: #fff }
table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
td, th { padding: .3em .7em; border-bottom: 1px solid #ccc; text-align: right }
td:first-child, th:first-child { text-align: left }
tr.mean { font-weight: bold }
.bags { display: grid; gap: 1.5em;
  grid-template-columns: repeat(auto-fit, minmax(min(30em, 100%), 1fr)) }
.bags section { border: 1px solid #ccc; padding: 1em } img { max-width: 100% }
.wide { overflow-x: auto }"""


def write_reports(
    output: Path, summary: Mapping[str, Any], folders: Mapping[str, Sequence[Path]]
) -> None:
    """Write report.md and report.html, and of several inputs errors.png, into ``output``.

    ``summary`` is that of ``summarize``; ``folders`` are, by name, where the pictures of an input
    are looked for.
    """
    (output / MARKDOWN).write_text(format_markdown(summary), encoding="utf-8")
    pictures = {name: _pictures(folders[name]) for name in summary["bags"]}
    if len(pictures) > 1:
        _draw_overview(output / OVERVIEW, summary["bags"], folders)
    overview = [output / OVERVIEW] if len(pictures) > 1 else []
    (output / HTML).write_text(format_html(summary, pictures, overview), encoding="utf-8")


def format_markdown(summary: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    lines = ["# Evaluation", ""]
    for title, columns in _tables(summary):
        lines += [f"## {title}", ""]
        heads = ["", *(column.head for column in columns)]
        lines += [_row(heads), _row(["---", *["---:"] * len(columns)])]
        lines += [_row(cells) for cells in _rows(summary, columns)]
        lines.append("")
    lines += [NOTES, ""]
    lines += [f"WARNING, {name}: {metrics['warning']}\n"
              for name, metrics in summary["bags"].items() if "warning" in metrics]
    if summary["failed"]:
        lines += [f"## {MISSING_TITLE}", "", "| | why |", "| --- | --- |"]
        lines += [_row([name, why]) for name, why in summary["failed"].items()]
        lines.append("")
    return "\n".join(lines)


def format_html(
    summary: Mapping[str, Any],
    pictures: Mapping[str, Sequence[Path]],
    overview: Sequence[Path] = (),
) -> str:
    """Return the tables and pictures as one page that needs no other file."""
    parts = [f"<h1>Evaluation</h1><p>flashvggt_ros {escape(summary['version'])}</p>"]
    for title, columns in _tables(summary):
        heads = "".join(f"<th>{escape(column.head)}</th>" for column in columns)
        rows = "".join(map(_html_row, _rows(summary, columns)))
        parts.append(f'<h2>{escape(title)}</h2><div class="wide"><table><tr><th></th>{heads}</tr>'
                     f"{rows}</table></div>")
    parts.append(f"<p>{escape(NOTES)}</p>")
    if summary["failed"]:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>"
                       for name, why in summary["failed"].items())
        parts.append(f"<h2>{MISSING_TITLE}</h2>"
                     f'<div class="wide"><table>{rows}</table></div>')
    parts += [_image(path, "Error after Sim(3) over time") for path in overview]
    parts.append('<div class="bags">')
    for name, paths in pictures.items():
        warning = summary["bags"][name].get("warning", "")
        shown = "".join(_image(path, f"{name}: {path.stem}") for path in paths)
        parts.append(f"<section><h2>{escape(name)}</h2><p>{escape(warning)}</p>{shown}</section>")
    parts.append("</div>")
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>Evaluation</title><style>{STYLE}</style></head>\n<body>\n"
            + "\n".join(parts) + "\n</body></html>\n")


def _tables(summary: Mapping[str, Any]) -> list[tuple[str, tuple[Column, ...]]]:
    """The tables, with those columns that have a figure."""
    shown = []
    for title, columns in TABLES.items():
        some = tuple(column for column in columns if any(
            column.value(metrics) is not None for metrics in summary["bags"].values()
        ))
        if some:
            shown.append((title, some))
    return shown


def _rows(summary: Mapping[str, Any], columns: Sequence[Column]) -> list[list[str]]:
    bags = summary["bags"]
    rows = [[name, *(column.text(metrics) for column in columns)]
            for name, metrics in bags.items()]
    if len(bags) > 1:
        rows.append([MEAN, *(column.text(summary["mean"]) for column in columns)])
    return rows


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


def _html_row(cells: Sequence[str]) -> str:
    kind = ' class="mean"' if cells[0] == MEAN else ""
    return f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _image(path: Path, label: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<img alt="{escape(label)}" src="data:image/png;base64,{content}">'


def _pictures(folders: Sequence[Path]) -> list[Path]:
    """The pictures of an input, each from the first folder that has it."""
    found = []
    for name in (PICTURE, MAP_PICTURE):
        found += [folder / name for folder in folders if (folder / name).is_file()][:1]
    return found


def _draw_overview(
    path: Path, bags: Mapping[str, Any], folders: Mapping[str, Sequence[Path]]
) -> None:
    curves = {}
    for name, metrics in bags.items():
        curve = json.loads((folders[name][0] / ERRORS).read_text(encoding="utf-8"))
        percent = 100 / metrics["path_length_m"] if metrics["path_length_m"] else 0.0
        curves[name] = np.array(curve["seconds"]), np.array(curve["ape_sim3_m"]) * percent
    draw_errors(path, curves, "error [% of the path]", "position error after Sim(3)")
