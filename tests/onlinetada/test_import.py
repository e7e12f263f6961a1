"""What an embedder gets: torch and numpy are all that `import onlinetada` needs."""

from __future__ import annotations

import subprocess
import sys

FORBIDDEN = ("cv2", "got10k", "shapely", "yaml", "onnx", "onnxruntime", "matplotlib", "kornia")


def test_importing_the_library_needs_torch_and_numpy_alone():
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {FORBIDDEN}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import onlinetada, onlinetada.export, onlinetada.compat, onlinetada.video\n"
        "print(onlinetada.__version__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists():
    import onlinetada

    assert all(hasattr(onlinetada, name) for name in onlinetada.__all__)
