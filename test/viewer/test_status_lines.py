from flashvggt_ros.viewer.status_lines import FrameRate, status_lines


def test_the_rate_is_known_after_the_second_count_and_begins_anew_after_a_reset(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    rate = FrameRate()
    assert rate.update(0) == 0.0
    for _ in range(20):
        now[0] += 1.0
        last = rate.update(round((now[0] - 100) * 7))
    assert last == 7.0
    now[0] += 1.0
    assert rate.update(0) == 0.0


def test_a_scale_that_nothing_measured_is_said():
    lines = status_lines(
        state="mapping | a", frames={"used": 1200}, rate=6.5, chunk_latency_s=1.234, submaps=3,
        loops=1, scale=0.5, scale_source="fixed", is_metric=False, memory={"memory": 900_000_000},
    )
    assert lines["scale"] == "0.5 (fixed, not metric)"
    assert lines["frames used"] == "1,200"
    assert lines["memory"] == "900 MB"
    assert "|" not in lines["state"]
