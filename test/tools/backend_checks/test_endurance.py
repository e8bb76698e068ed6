"""What a walk of many laps takes is told from the chunks of whole submaps."""

import pytest

from flashvggt_ros.tools.backend_checks.endurance import _around, _Chunk, _growth, chunks_of


def walk(first: float, last: float) -> list[_Chunk]:
    """Sixty submaps of a fast and a slow chunk each; time goes from ``first`` to ``last``."""
    chunks = []
    for submap in range(60):
        seconds = first + (last - first) * submap / 59
        for share in (0.4, 1.6):
            chunks.append(_Chunk(share * seconds, seconds, 8000, submap, 12))
    return chunks


def test_a_submap_that_grows_on_does_not_count() -> None:
    parts = chunks_of(walk(1.0, 1.0))
    assert len(parts) == 59
    assert {len(part) for part in parts} == {2}


@pytest.mark.parametrize(("last", "growth"), [(1.0, 0.0), (2.0, 0.284), (0.5, -0.281)])
def test_time_that_grows_shows_and_slow_chunks_between_fast_ones_do_not(
    last: float, growth: float
) -> None:
    chunks = walk(1.0, last)
    early, late = _around(chunks, 59), chunks_of(chunks)[-9:]
    assert _growth(early, late, "seconds") == pytest.approx(growth, abs=0.01)
    assert _growth(early, late, "cache") == 0


def test_one_slow_submap_is_no_growth() -> None:
    chunks = walk(1.0, 1.0)
    chunks[-5] = _Chunk(100.0, 100.0, 8000, chunks[-5].submap, 12)
    assert _growth(_around(chunks, 59), chunks_of(chunks)[-9:], "seconds") == pytest.approx(0)
