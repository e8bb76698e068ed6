"""What a process does around the node's life."""

import gc

from flashvggt_ros.config import build_config
from flashvggt_ros.ros.gpu import free_unused_memory
from flashvggt_ros.ros.node_lifetime import load_model


def test_the_garbage_collector_passes_over_a_model_until_it_is_freed() -> None:
    gc.unfreeze()
    try:
        model = load_model(build_config({"device": "cpu"}))
        assert gc.isenabled()
        assert gc.get_freeze_count() > 50_000  # torch alone is more
        assert not any(one is model.predictor for one in gc.get_objects())
        free_unused_memory()
        assert gc.get_freeze_count() == 0
        assert any(one is model.predictor for one in gc.get_objects())
    finally:
        gc.unfreeze()
