"""`faults/gallery_plugin.py` as vLLM finds it: a package with an entry point, in a folder that is on the path."""

from __future__ import annotations

import shutil
from pathlib import Path

PLUGIN = Path(__file__).with_name("faults") / "gallery_plugin.py"


def plugin_variables(folder: Path, fault: str) -> dict[str, str]:
    """Install the plugin; returns the variables of a process of vLLM that is to have it.

    Args:
        folder: where it goes; the user's cache of vLLM lies beside it.
        fault: which of its faults it plants.
    """
    described = folder / "gallery_plugin-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: gallery-plugin\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[vllm.general_plugins]\ngallery = gallery_plugin:register\n")
    shutil.copy(PLUGIN, folder)
    return {
        "GALLERY_FAULT": fault,
        "PYTHONPATH": str(folder),
        "CUTAWAY_DEMO_PLATFORM": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CACHE_ROOT": str(folder.parent / "users" / "vllm"),
    }
