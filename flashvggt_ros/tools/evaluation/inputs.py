"""What is to be scored: runs and bags, each with its truth, and where the results go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flashvggt_ros.home_paths import expanded
from flashvggt_ros.sensors.bag_reader import ROS_1_SUFFIX, STORAGE_SUFFIXES

SURFACES_FILE = "surfaces.ply"  # that a bag folder may hold beside its true poses


@dataclass(frozen=True, slots=True)
class Job:
    """A run folder or a bag to score against ``truth``, under a name of its own.

    ``output`` is the folder of its scores, a bag's run too; ``surfaces`` a PLY file, or empty: the
    bag's own where the truth is the bag's too. ``replay`` are options of flashvggt_replay. What is
    finished is not done again unless ``is_again``.
    """

    name: str
    path: Path
    truth: str
    output: Path
    surfaces: str
    replay: tuple[str, ...]
    is_again: bool

    @property
    def is_run(self) -> bool:
        """Whether it was mapped already."""
        return is_run_folder(self.path)


def is_run_folder(path: Path) -> bool:
    """Whether a path is a folder that holds no bag, so that it must be a run's."""
    return path.is_dir() and not any(
        entry.name == "metadata.yaml" or entry.suffix in STORAGE_SUFFIXES
        for entry in path.iterdir()
    )


def is_other_file(path: Path) -> bool:
    """Whether a path is a file that is no recording."""
    return path.is_file() and path.suffix not in (*STORAGE_SUFFIXES, ROS_1_SUFFIX)


def pair_inputs(inputs: Sequence[str], truths: Sequence[str]) -> list[tuple[Path, str]]:
    """Give each input its truth: its own (``INPUT=TRUTH``), the only one, or the one in its place.

    Raises ValueError where they do not match.
    """
    pairs = [_split(entry) for entry in inputs]
    bare = [path for path, truth in pairs if not truth]
    if not inputs:
        raise ValueError("nothing to score: name run folders or bags")
    if bare and len(truths) not in (1, len(bare)):
        raise ValueError(
            f"{len(bare)} inputs have no truth of their own (INPUT=TRUTH), --ground-truth names "
            f"{len(truths)}: name one for all, or one for each"
        )
    if truths and not bare:
        raise ValueError("--ground-truth is of no use: each input has a truth of its own")
    rest = iter([*truths] * (len(bare) if len(truths) == 1 else 1))
    return [(path, truth or next(rest)) for path, truth in pairs]


def _split(entry: str) -> tuple[Path, str]:
    path = expanded(entry)
    if path.exists() or "=" not in entry:
        return path, ""
    head, _, truth = entry.partition("=")
    return expanded(head), truth


def name_inputs(paths: Sequence[Path]) -> list[str]:
    """Name each after its file or folder, and after the folder above it where two are alike.

    Raises ValueError where that does not tell them apart.
    """
    whole = [path.resolve() for path in paths]
    stems = [path.stem if path.suffix in STORAGE_SUFFIXES else path.name for path in whole]
    alike = Counter(stems)
    names = [f"{path.parent.name}_{stem}" if alike[stem] > 1 else stem
             for path, stem in zip(whole, stems, strict=True)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"several inputs are called {twice[0]}: rename one, or score it apart")
    return names


def find_truth(truth: str, bag: Path | None) -> str:
    """Return the truth as ``read_ground_truth`` takes it; a topic alone is one of ``bag``."""
    is_topic = truth.startswith("/") and not truth.endswith(".tum") and not named_file(truth)
    return f"{bag}:{truth}" if bag and is_topic else truth


def named_file(truth: str) -> str:
    """The file or bag that a truth (FILE, BAG:TOPIC or BAG:TOPIC:FRAMES) names; empty: none."""
    parts = truth.split(":")
    heads = (":".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((head for head in heads if head and expanded(head).exists()), "")


def absolute_truth(truth: str) -> str:
    """Return the truth as it can be named from every folder."""
    file = named_file(truth)
    return f"{expanded(file).absolute()}{truth[len(file):]}" if file else truth


def find_surfaces(surfaces: str, truth: str, bag: Path | None) -> str:
    """Return the PLY file to compare the map with; empty where there is none.

    The bag's own lies in the frame of the bag's own truth, and is used with no other.
    """
    if surfaces or bag is None:
        return surfaces
    beside = bag.absolute() / SURFACES_FILE
    is_own = absolute_truth(truth).startswith((f"{beside.parent}:", f"{beside.parent}/"))
    return str(beside) if is_own and beside.is_file() else ""
