"""A module is about one subject, and short enough to be read in one sitting."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 300


def test_no_python_file_is_longer_than_300_lines():
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n")
    files = [path for name in names if name and (path := ROOT / name).is_file()]
    assert len(files) > 500
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {str(path): length for path, length in lengths.items() if length > MOST_LINES} == {}
