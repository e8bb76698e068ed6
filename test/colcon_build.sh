#!/usr/bin/env bash
# Build, use and test the package in a ROS workspace below build/, as a robot's owner would: once with
# copies, once with --symlink-install. Needs colcon and a ROS installation (sourced, or the wheels).
# usage: colcon_build.sh [--no-test]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source_folder=$PWD
wheels=$(python3 -c 'import sys; print(sys.prefix)')
export AMENT_PREFIX_PATH=${AMENT_PREFIX_PATH:-$wheels} CMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH:-$wheels}

for option in "" --symlink-install; do
    workspace=$source_folder/build/colcon$option
    prefix=$workspace/install/flashvggt_ros
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
        [ "$(command -v flashvggt_dump_params)" = "$prefix/bin/flashvggt_dump_params" ]
        flashvggt_dump_params --check --root "$source_folder"
        "$prefix/lib/flashvggt_ros/flashvggt_dump_params" --check --root "$source_folder"
    )
done

if [ "${1:-}" != --no-test ]; then
    cd "$source_folder/build/colcon"
    colcon test --packages-select flashvggt_ros --event-handlers console_direct+
    colcon test-result --verbose
fi
