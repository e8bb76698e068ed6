#!/usr/bin/env bash
# Build, test and use the package in a ROS workspace below build/, as a robot's owner would: once with
# copies, once with --symlink-install. Needs colcon and a ROS installation (sourced, or the wheels).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source_folder=$PWD
prefix=$(python3 -c 'import sys; print(sys.prefix)')
export AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-$prefix} CMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH:-$prefix}

for option in "" --symlink-install; do
    workspace=$source_folder/build/colcon$option
    rm -rf "$workspace"
    mkdir -p "$workspace/src"
    ln -s "$source_folder" "$workspace/src/flashvggt_ros"
    echo "== colcon build $option"
    (
        cd "$workspace"
        colcon build --packages-select flashvggt_ros $option
        set +u
        source install/setup.bash
        set -u
        cd /
        python3 - <<'PYTHON'
from pathlib import Path

import flashvggt_ros
from flashvggt_ros.config import Config
from flashvggt_ros.msg import MapStatus
from flashvggt_ros.srv import SaveMap

print("installed:", Path(flashvggt_ros.__file__).parent, Config().device, MapStatus(), SaveMap)
PYTHON
        flashvggt_dump_params --check --root "$source_folder"
        "$workspace/install/flashvggt_ros/lib/flashvggt_ros/flashvggt_replay" --help > /dev/null
        echo "== colcon test $option"
        cd "$workspace"
        colcon test --packages-select flashvggt_ros
        colcon test-result --verbose
    )
done
