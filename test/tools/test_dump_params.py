from pathlib import Path

import pytest

from flashvggt_ros.config import Config, build_config, flatten, parameters
from flashvggt_ros.tools.dump_params import main
from flashvggt_ros.tools.run_config import read_parameter_file

ROOT = Path(__file__).parents[2]


def make_source_tree(folder: Path) -> Path:
    (folder / "package.xml").touch()
    return folder


def test_the_committed_documents_are_current() -> None:
    assert main(["--check", "--root", str(ROOT)]) == 0


def test_default_yaml_reads_back_as_the_default_configuration_with_the_same_types() -> None:
    values = read_parameter_file(ROOT / "config" / "default.yaml")
    assert set(values) == {member.name for member in parameters()}
    assert build_config(values) == Config()
    for name, default in flatten(Config()).items():
        expected = list if isinstance(default, tuple) else type(default)
        assert type(values[name]) is expected, name


def test_check_reports_a_stale_document_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_source_tree(tmp_path)
    assert main(["--root", str(root)]) == 0
    assert main(["--root", str(root), "--check"]) == 0
    stale = root / "config" / "default.yaml"
    stale.write_text(stale.read_text().replace("size: 8", "size: 9"))
    before = stale.read_text()
    capsys.readouterr()
    assert main(["--root", str(root), "--check"]) == 1
    assert stale.read_text() == before
    assert "config/default.yaml" in capsys.readouterr().out


def test_the_table_names_every_parameter() -> None:
    table = (ROOT / "docs" / "parameters.md").read_text()
    assert all(f"| `{member.name}` |" in table for member in parameters())


def test_a_folder_that_is_no_source_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path)])
