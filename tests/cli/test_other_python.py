"""Other Pythons of a node are this program's, wherever somebody happens to be."""

import subprocess
import sys
from pathlib import Path

import pytest

from lucid_tron_console.python import PYTHON_M


@pytest.mark.parametrize("words", [("config", "show"), ("doctor",), ("tor", "env")])
def test_the_directory_that_one_is_in_brings_no_code(tmp_path: Path, words: tuple[str, ...]) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for package in ("services", "lucid_tron_console"):
        (here / package).mkdir(parents=True)
        (here / package / "__init__.py").write_text("from pathlib import Path\nPath('hijacked').touch()\n")
    program = Path(sys.executable).with_name("lucid-tron")
    done = subprocess.run([program, "--home", home, *words], cwd=here, capture_output=True, text=True, check=False)
    assert "defect" not in done.stderr
    assert not (here / "hijacked").exists()


def test_no_other_python_is_started_in_another_way() -> None:
    root = Path(__file__).parents[2] / "lucid_tron_console"
    found = [path.name for path in root.rglob("*.py") if 'sys.executable, "-' in path.read_text(encoding="utf-8")]
    # The one in console.py is a command that is shown to somebody.
    assert sorted(found) == ["console.py", "python.py"]
    assert (sys.executable, "-P", "-m") == PYTHON_M
