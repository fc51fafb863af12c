"""Which machine this is, as far as it matters for the figures. No names of hosts, users or folders."""

import os
import platform
import re
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """CPU, cores, memory, kernel, Python, and how busy it is now."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": models[0].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(total[1]) / 1024**2) if total else 0,
        "kernel": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }
