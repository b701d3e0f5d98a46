"""A small disk of one's own, and filling it to the last byte."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


class SmallDisk:
    """At `path`; `is_real` where mounting a tmpfs is allowed, which takes root."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
        may = os.geteuid() == 0 and shutil.which("mount")
        self.is_real = bool(may) and subprocess.run(command, capture_output=True).returncode == 0

    @contextlib.contextmanager
    def full(self) -> Iterator[bool]:
        """No byte is left; False where the disk isn't ours to fill."""
        if not self.is_real:
            yield False
            return
        ballast = self.path / "ballast"
        piece = b"\0" * 65536
        try:
            with ballast.open("ab", buffering=0) as file:
                for size in (len(piece), 512):
                    with contextlib.suppress(OSError):
                        while file.write(piece[:size]):
                            pass
            about = os.statvfs(self.path)
            yield about.f_bavail == 0
        finally:
            ballast.unlink()

    def close(self) -> None:
        if self.path.is_mount():
            subprocess.run(["umount", "--lazy", str(self.path)], check=False)
        shutil.rmtree(self.path, ignore_errors=True)
