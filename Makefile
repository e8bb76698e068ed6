# Everything from a fresh clone, on a machine without ROS:  make setup && make demo
# VENV=<folder> uses another virtual environment (one with a CUDA torch: it is kept),
# PYTHON=<python> another Python to create it with.

PYTHON ?= python3
VENV ?= .venv
PART ?= 1
JOBS ?= 2

venv := $(abspath $(VENV))
python := $(venv)/bin/python
stamps := $(venv)/stamps
requirements := $(wildcard requirements/*.txt)
# What keeps time, or talks over DDS, is tested alone; all else on $(JOBS) cores.
quiet := $(patsubst %,test/ros/test_%.py,backends clouds correction_limiter cv_bridge_contract \
    diagnostics images interface_reference log_forwarding messages node_lifetime path_poses \
    pose_placer sensor_msgs_py_contract stream_watch tf_transformations_contract transforms worker)
live := $(filter-out $(quiet),$(wildcard test/ros/test_*.py)) \
    test/tools/soak_checks/test_lifecycle.py test/tools/soak_checks/test_live_node.py \
    test/tools/test_demo.py test/tools/test_replay_view.py
optional := %/colcon.txt %/docs.txt %/ray.txt
pip_install := $(python) -m pip install --quiet --disable-pip-version-check
build_inputs := CMakeLists.txt package.xml setup.py setup.cfg pyproject.toml
build_folders := cmake config flashvggt_ros launch msg rviz srv
package_files := $(build_inputs) \
    $(shell find $(build_folders) -type f -not -path '*/__pycache__/*' -not -name '* *')

# A sourced ROS installation, or the wheels of another environment, must not leak into this one.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PATH := $(venv)/bin:$(PATH)
export VIRTUAL_ENV := $(venv)

.PHONY: help setup demo pictures test soak lint docs colcon clean
.DELETE_ON_ERROR:

help: ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /    make \1\t/p' Makefile | expand -t 20

setup: $(stamps)/package ## Create .venv with all dependencies and the built package

demo: setup ## Map a rendered sequence with the real node; results in out/demo
	$(venv)/bin/flashvggt_demo

pictures: demo ## Renew the pictures of the demo in docs/images
	cp out/demo/scene.png docs/images/demo_scene.png
	cp out/demo/evaluation.png docs/images/demo_evaluation.png
	$(python) -m flashvggt_ros.tools.map_growth out/sample_bag --set map.voxel_size=0.01 \
	    --ground-truth out/sample_bag/groundtruth.tum --output docs/images/map_growth.webp

test: setup ## Run the tests
	$(python) -m pytest -n $(JOBS) --dist worksteal $(live:%=--ignore=%)
	$(python) -m pytest $(live)

soak: setup ## Break, kill and load the node for hours; ONLY="kills steady" PART=0.1 for less
	$(python) -m flashvggt_ros.tools.soak_report --part $(PART) $(foreach check,$(ONLY),--only $(check))

lint: $(stamps)/dependencies ## Check style (ruff) and types (mypy)
	$(python) -m ruff check .
	$(python) -m mypy

docs: $(stamps)/docs ## Build the site from docs/ into build/site; fails on a broken link
	$(venv)/bin/mkdocs build --strict --quiet

colcon: $(stamps)/colcon ## Build and test the package in a ROS workspace below build/
	test/colcon_build.sh

clean: ## Remove what the other targets made
	rm -rf build out .venv *.egg-info underlay/tf2_msgs/build underlay/tf2_msgs/*.egg-info

$(stamps)/environment:
	@requirements/check_system.sh "$(PYTHON)"
	@if [ ! -x $(python) ]; then \
	    echo "Creating $(VENV)"; \
	    if "$(PYTHON)" -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("torch"))'; \
	    then "$(PYTHON)" -m venv --system-site-packages $(venv); \
	    else "$(PYTHON)" -m venv $(venv); fi; \
	fi
	@mkdir -p $(stamps) && touch $@

$(stamps)/dependencies: $(stamps)/environment $(requirements)
	@echo "Installing dependencies into $(VENV) (torch is large: this can take minutes)"
	@if $(python) -c 'import torch; print("torch", torch.__version__, "is there: kept")' 2> /dev/null; \
	then $(pip_install) $(foreach f,$(filter-out %/torch.txt $(optional),$(requirements)),-r $(f)); \
	else $(pip_install) $(foreach f,$(filter-out $(optional),$(requirements)),-r $(f)); fi
	@touch $@

$(stamps)/colcon: $(stamps)/dependencies
	@$(pip_install) -r requirements/colcon.txt
	@touch $@

$(stamps)/docs: $(stamps)/environment requirements/docs.txt
	@$(pip_install) -r requirements/docs.txt
	@touch $@

$(stamps)/underlay: $(stamps)/dependencies cmake/interface_wheel.py cmake/ros_wheels.cmake \
    $(wildcard underlay/tf2_msgs/* underlay/tf2_msgs/msg/*)
	@echo "Building tf2_msgs"
	@$(pip_install) --no-build-isolation --no-deps --force-reinstall ./underlay/tf2_msgs
	@touch $@

$(stamps)/package: $(stamps)/underlay $(package_files)
	@echo "Building flashvggt_ros"
	@rm -rf build/lib.* build/bdist.*
	@$(pip_install) --no-build-isolation --no-deps --force-reinstall .
	@touch $@
