"""Compiles the native executor when the package is built or installed, if there is a C compiler."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = Path(__file__).parent / "h5stream" / "native" / "build.py"


class NativeBuildHook(BuildHookInterface):
    """Puts the executor's library into the wheel; without one, the wheel is of Python alone."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say what came of it."""
        if self.target_name != "wheel":
            return
        spec = importlib.util.spec_from_file_location("h5stream_native_build", _BUILD)
        assert spec is not None
        assert spec.loader is not None
        builder = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(builder)
        builder.LIBRARY.unlink(missing_ok=True)
        if reason := builder.build():
            self.app.display_warning(f"h5stream reads without its native executor: {reason}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
        build_data["artifacts"].append(f"/h5stream/native/{builder.LIBRARY.name}")
