"""What a measurement was made on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from flashvggt_ros import __version__


def machine(device: torch.device) -> dict[str, str | int | bool]:
    """Names and versions that a measurement depends on."""
    facts: dict[str, str | int | bool] = {
        "flashvggt_ros": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": device.type,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "gpu": properties.name,
            "gpu_memory_gib": round(properties.total_memory / 2**30),
            "cuda": torch.version.cuda or "",
            "cudnn": torch.backends.cudnn.version() or 0,
            "tf32_products": torch.backends.cuda.matmul.allow_tf32,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        }
    else:
        facts["vector_instructions"] = torch.backends.cpu.get_cpu_capability()
    return facts


def _processor() -> str:
    """Return the processor's name where Linux tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
