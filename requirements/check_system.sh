#!/bin/sh
# Name what the system lacks for `make setup`, with the command that installs it.
# usage: check_system.sh PYTHON
python=$1

if ! command -v "$python" > /dev/null; then
    echo "$python is missing. Install it with:" >&2
    echo "    sudo apt install python3 python3-venv python3-dev" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; then
    echo "$python is $("$python" --version 2>&1): Python 3.10 to 3.13 is needed." >&2
    echo "Name another one: make setup PYTHON=python3.11" >&2
    exit 1
fi

missing=""
"$python" -c 'import ensurepip, venv' 2> /dev/null || missing="$missing python3-venv"
"$python" -c '
import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
' || missing="$missing python3-dev"
command -v c++ > /dev/null && command -v cc > /dev/null || missing="$missing g++"
if [ -n "$missing" ]; then
    echo "To build the messages, these system packages are missing:$missing. Install with:" >&2
    echo "    sudo apt install$missing" >&2
    exit 1
fi
