"""Collect photographic textures for training from Debian packages.

    python -m training.textures --out .textures

The pictures are read from the packages' archives (``apt-get download``), shrunk to 256 pixels and
written as WebP files ``NUMBER_KIND.webp``, where the kind of texture (``scene.textures.KINDS``) is
read off the picture's name in its package. They serve to train and are never redistributed: the
folder stays out of version control. Every tenth picture goes to ``OUT/unseen``, which only
evaluation uses.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 256
WEBP_QUALITY = 22
SOURCES = {
    "ufoai-textures": (620, ("textures/",)),
    "0ad-data": (330, ("art/textures/terrain/types/", "art/textures/skins/structural/")),
    "redeclipse-data": (450, ("trak/", "torley/", "dziq/", "philipk/", "unnamed/", "wicked/",
                              "jojo/", "luckystrike/", "mayhem/", "elyvisions/", "jwin/")),
}
NOT_COLOR = ("_nm", "_norm", "normal", "_spec", "_sm", "_gm", "_rm", "_glow", "_ao", "_local",
             "_mask", "_height", "_bump", "_n.", "_s.", "_h.", "_z.", "_d_", "alpha", "sky",
             "blend", "icon", "font", "hud", "glass", "caulk", "clip")


KIND_OF_WORD = {  # the first word that a picture's path contains decides
    "wallpaper": "wall", "plaster": "wall", "stucco": "wall", "brick": "brick", "bric": "brick",
    "carpet": "carpet", "rug": "carpet", "curtain": "fabric", "textil": "fabric",
    "fabric": "fabric", "cloth": "fabric", "leather": "fabric", "canvas": "fabric",
    "door": "door", "window": "odd", "hedge": "leaf", "leaf": "leaf", "leaves": "leaf",
    "bush": "leaf", "ivy": "leaf", "tree": "leaf", "forest": "leaf", "roof": "ribs",
    "shingle": "ribs", "floor_wood": "plank", "woodfloor": "plank", "plank": "plank",
    "parquet": "plank", "wood": "wood", "bark": "wood", "timber": "wood", "tile": "tile",
    "grass": "grass", "savanna": "grass", "steppe": "grass", "street": "odd",
    "road": "odd", "asphalt": "asphalt", "pavement": "asphalt", "art_": "poster",
    "art0": "poster",
    "advert": "poster", "sign": "poster", "poster": "poster", "banner": "poster",
    "tex_pics": "poster", "painting": "poster", "crete": "concrete", "conc": "concrete",
    "cement": "concrete", "rust": "metal", "metal": "metal", "met_": "metal", "steel": "metal",
    "iron": "metal", "plate": "metal", "grate": "metal", "vent": "metal", "pipe": "metal",
    "mtl": "metal", "panel": "metal", "crate": "book", "box0": "book", "dirt": "ground",
    "sand": "ground", "soil": "ground", "mud": "ground", "gravel": "ground", "ground": "ground",
    "snow": "ground", "ice": "ground", "desert": "ground", "terrain": "ground",
    "rock": "stone", "stone": "stone", "cliff": "stone", "marble": "stone", "cobble": "stone",
    "granite": "stone", "floor": "tile", "wall": "wall",
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(".textures"))
    parser.add_argument("--packages", type=Path, default=Path("/tmp/texture_packages"))
    options = parser.parse_args()
    (options.out / "unseen").mkdir(parents=True, exist_ok=True)
    written = 0
    for package, (limit, prefixes) in SOURCES.items():
        deb = download(package, options.packages)
        pictures = list(_pictures(deb, prefixes))
        rng = np.random.default_rng(len(package))
        kept = 0
        for index in rng.permutation(len(pictures)):
            picture = _usable(pictures[index][1])
            if picture is None:
                continue
            folder = options.out / "unseen" if written % 10 == 9 else options.out
            name = f"{written:05d}_{kind_of(pictures[index][0])}.webp"
            picture.save(folder / name, quality=WEBP_QUALITY, method=6)
            written += 1
            kept += 1
            if kept == limit:
                break
        print(f"{package}: {kept} of {len(pictures)} pictures kept")


def download(package: str, folder: Path) -> Path:
    """Return the package's .deb below ``folder``, fetched with apt-get where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob(f"{package}_*.deb")):
        subprocess.run(["apt-get", "download", package], cwd=folder, check=True)
    return next(folder.glob(f"{package}_*.deb"))


def _pictures(deb: Path, prefixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the color pictures in a package, archives inside included."""
    process = subprocess.Popen(["dpkg", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE)
    with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
        for member in tar:
            if not member.isfile():
                continue
            name = member.name.lower()
            if name.endswith((".zip", ".pk3")) and "/mods/mod/" not in name:
                data = tar.extractfile(member)
                assert data is not None
                with zipfile.ZipFile(io.BytesIO(data.read())) as archive:
                    for inner in archive.namelist():
                        if inner.startswith(prefixes) and _is_color(inner):
                            yield inner, archive.read(inner)
            elif _is_color(name) and any(f"/{prefix}" in name for prefix in prefixes):
                data = tar.extractfile(member)
                assert data is not None
                yield name, data.read()
    process.wait()


def kind_of(path: str) -> str:
    """Return the kind of texture that a picture's path in its package tells, or "odd"."""
    lower = path.lower()
    return next((kind for word, kind in KIND_OF_WORD.items() if word in lower), "odd")


def _is_color(name: str) -> bool:
    lower = "/".join(name.lower().split("/")[-2:])
    is_picture = lower.endswith((".png", ".jpg", ".jpeg", ".dds", ".tga"))
    return is_picture and not any(word in lower for word in NOT_COLOR)


def _usable(data: bytes) -> Image.Image | None:
    """Return the center square at SIZE, or None where it is small, empty or transparent."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(data))
        picture.load()
    except (OSError, ValueError, NotImplementedError, SyntaxError):
        return None
    if min(picture.size) < 200 or max(picture.size) > 2 * min(picture.size):
        return None
    if "A" in picture.getbands():
        alpha = np.asarray(picture.getchannel("A"))
        if (alpha < 128).mean() > 0.02 and alpha.std() > 20 and (alpha > 240).mean() > 0.3:
            return None
    picture = picture.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    picture = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture, np.float32)
    mean = pixels.mean()
    is_normal_map = pixels[..., 2].mean() > 1.25 * max(pixels[..., 0].mean(), 1) and mean > 100
    if pixels.std() < 12 or mean < 25 or mean > 240 or is_normal_map:
        return None
    return picture


if __name__ == "__main__":
    main()
