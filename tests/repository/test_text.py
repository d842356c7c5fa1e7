"""What no file of the repository may say, and what its lock files and folders must be like."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

FORBIDDEN = {
    "a path of somebody's machine": r"(?<![\w.])/(?:work|root|home/\w+)/",
    "a package registry's host": r"(?:pypi|pythonhosted|npmjs|deb\.debian|docker)\.(?:org|com|io)\b",
    "a work note": r"\b(?:TODO|FIXME|XXX|HACK)\b",
    "a merge's leftover": r"^(?:<{7}|>{7}|={7})(?: |$)",
}
ALLOWED = {
    # npm writes the registry's address into its lock file, beside the hash that counts.
    ("tests/protocol/tronweb/package-lock.json", "a package registry's host"),
    ("tests/repository/test_text.py", "a package registry's host"),
    ("tests/repository/test_text.py", "a work note"),
    ("tests/repository/test_text.py", "a path of somebody's machine"),
}


def tracked() -> list[Path]:
    """Files of the repository as git has them."""
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [REPOSITORY / name for name in done.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def text(path: Path) -> str:
    """A file's text; nothing for one that has none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_says(what: str) -> None:
    found = [
        f"{name}: {line.strip()[:120]}"
        for path in tracked()
        if ((name := str(path.relative_to(REPOSITORY))), what) not in ALLOWED
        for line in text(path).splitlines()
        if re.search(FORBIDDEN[what], line)
    ]
    assert found == []


def test_lock_files_pin_everything_by_hash_and_name_no_index() -> None:
    for path in REPOSITORY.glob("requirements*.lock"):
        lines = path.read_text().splitlines()
        pins = [line for line in lines if re.match(r"[a-z]", line)]
        assert len(pins) > 40, path
        assert all(re.match(r"[a-z0-9.-]+(\[\w+\])?==\S+( ;.*)? \\$", line) for line in pins), path
        rest = [line for line in lines if line not in pins]
        assert all(re.match(r"    --hash=sha256:[0-9a-f]{64}( \\)?$", line) for line in rest), path


def test_lock_files_agree() -> None:
    """The tests run with the versions that users get."""
    pins = {
        path.name: dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", path.read_text(), re.MULTILINE))
        for path in REPOSITORY.glob("requirements*.lock")
    }
    used = pins["requirements.lock"]
    for name in ("requirements-dev.lock", "requirements-bench.lock"):
        assert used.items() <= pins[name].items(), name


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (REPOSITORY / "requirements-dev.lock").read_text(), re.MULTILINE))
    wanted = (
        project["dependencies"] + project["optional-dependencies"]["build"] + project["optional-dependencies"]["dev"]
    )
    names = {re.split(r"[<>=~;\[ ]", line)[0].lower() for line in wanted}
    assert names <= locked


def test_the_folders_on_top_are_the_map() -> None:
    top = {path.relative_to(REPOSITORY).parts[0] for path in tracked() if len(path.relative_to(REPOSITORY).parts) > 1}
    assert top == {".ci", "compose", "lucid_tron_console", "services", "tests"}


def test_every_module_opens_with_a_sentence() -> None:
    for path in tracked():
        if path.suffix == ".py" and (content := text(path)).strip():
            content = re.sub(r"\A#!.*\n", "", content)
            assert re.match(r'(?:r)?"""\S', content), path
