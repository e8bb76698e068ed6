"""What configure waits for, in a thread of its own: a model, and a map to begin in."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from flashvggt_ros.chunk_predictor import ChunkPredictor
from flashvggt_ros.config import Config
from flashvggt_ros.mapping.map_io import safe_map_folder
from flashvggt_ros.mapping.map_manifest import MapModel
from flashvggt_ros.ros.node_state import ModelIdentity
from flashvggt_ros.sensors.intake import Reduction
from flashvggt_ros.slam import Slam


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model that is ready: ``reduction`` says what images it can take.

    ``check`` raises ValueError for a configuration whose chunks it cannot take.
    """

    predictor: ChunkPredictor
    identity: ModelIdentity
    reduction: Reduction
    check: Callable[[Config], None]

    @property
    def map_model(self) -> MapModel:
        """What maps that it makes, and can go on in, say of it."""
        return MapModel(self.identity.checkpoint, self.identity.sha256, self.identity.revision)


Loaded = tuple[LoadedModel, Slam]
"""A model, and what maps with it: in the map that ``load_map`` names, knowing of no robot yet."""


class Loading:
    """Loads a model, by ``load``, and the map that ``load_map`` names; one at a time."""

    def __init__(self, load: Callable[[Config], LoadedModel]) -> None:
        self._load = load
        self._loaded: Future[Loaded] | None = None

    @property
    def is_begun(self) -> bool:
        """Whether something is loaded, or being loaded, that was not taken yet."""
        return self._loaded is not None

    @property
    def is_busy(self) -> bool:
        """Whether the thread is at it."""
        return self._loaded is not None and not self._loaded.done()

    def begin(self, config: Config) -> Future[Loaded]:
        """Load what a configuration asks for, unless that has begun; no exception is raised here.

        The future has those that ``load`` raises, and ValueError and OSError for a map that is
        none.
        """
        if self._loaded is None:
            self._loaded = ThreadPoolExecutor(1).submit(self._load_all, config)
        return self._loaded

    def take(self, config: Config) -> Loaded:
        """Wait for what begin() loads, and hand it over; raises what the future has."""
        loaded, self._loaded = self.begin(config), None
        return loaded.result()

    def _load_all(self, config: Config) -> Loaded:
        model = self._load(config)
        slam = Slam(config, model.predictor)
        if config.load_map:
            folder = safe_map_folder(config.map_directory, config.load_map)
            slam.load_map(folder, model.map_model)
        return model, slam
