"""What stays behind a life of the node breaks a limit; test_lifecycle_cycles.py lets it live."""

from flashvggt_ros.tools.soak_checks.lifecycle import findings

CLEAN = {"frames_mapped": [8, 8], "growth_mb": -3.0, "new_threads": 0, "new_shared_memory": 0}


def test_what_a_life_leaves_behind_breaks_its_limit() -> None:
    assert all(finding.is_ok for finding in findings(2, CLEAN))
    for name, bad in {"frames_mapped": [8, 7], "growth_mb": 51.0, "new_threads": 1,
                      "new_shared_memory": 1}.items():
        found = list(findings(2, {**CLEAN, name: bad}))
        assert [finding.is_ok for finding in found].count(False) == 1
