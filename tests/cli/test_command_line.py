"""The command line as a program meets it: help, exit codes, what goes to stdout and what to stderr."""

import json
import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from lucid_tron_console import cli
from lucid_tron_console.cli.console import _say_how_to_attach
from lucid_tron_console.cli.framework import Command, Duration, Money, Session
from lucid_tron_console.exit_codes import MEANINGS, ExitCode, NotPaid, StillWaiting, of
from lucid_tron_console.home import Home
from services.kit import errors


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with the words that lead to it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        child = command.get_command(ctx, name)
        assert child is not None
        yield from leaves(child, (*path, name))


COMMANDS = list(leaves(cli.root))


def test_every_command_of_the_plan_is_there() -> None:
    names = {" ".join(path) for path, _ in COMMANDS}
    assert names >= {
        *("console", "demo", "up", "down", "serve", "status", "doctor", "completion", "freeze", "unfreeze"),
        *("wallets create", "wallets import", "wallets list", "wallets show", "wallets watch", "wallets unlock"),
        *("wallets lock", "wallets words", "payouts create", "payouts list", "payouts show", "payouts cancel"),
        *("payouts retry", "payouts watch", "payouts accept-death", "payouts stats", "tx show", "tx receipt"),
        *("tx history", "devnet faucet", "devnet mine", "devnet accounts", "devnet fault add", "config show"),
        "config validate",
    }


@pytest.mark.parametrize("path", [path for path, _ in COMMANDS], ids=" ".join)
def test_help_shows_examples_and_the_common_options(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli.root, [*path, "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    assert "-o, --output" in result.output
    assert "--home" in result.output


@pytest.mark.parametrize(
    ("path", "command"), COMMANDS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_example_begins_with_its_command(path: tuple[str, ...], command: click.Command) -> None:
    assert isinstance(command, Command)
    assert command.examples
    for example in command.examples:
        assert example.startswith(" ".join(path))


def test_no_option_takes_a_secret() -> None:
    for path, command in COMMANDS:
        options = {option for parameter in command.params for option in parameter.opts}
        assert not options & {"--passphrase", "--secret", "--private-key", "--words-text"}, path


def test_the_help_has_every_exit_code() -> None:
    result = CliRunner().invoke(cli.root, ["--help"])
    for code in ExitCode:
        assert f"{code:>3}  {MEANINGS[code]}" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 3),
        (errors.Invalid("x"), 4),
        (errors.Conflict("x"), 4),
        (errors.Forbidden("x"), 4),
        (errors.Locked("x"), 4),
        (errors.Unavailable("x"), 5),
        (errors.Timeout("x"), 5),
        (errors.TooManyRequests("x"), 5),
        (errors.UpstreamError("x"), 5),
        (errors.Internal("x"), 1),
        (StillWaiting("x"), 6),
        (NotPaid("x"), 7),
    ],
)
def test_an_error_has_its_exit_code(error: errors.LucidError, code: int) -> None:
    assert of(error) == code


def test_exit_codes_never_change() -> None:
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 5, 6, 7, 130]


def test_usage_error_is_exit_code_2_and_says_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["payouts", "create", "--amount", "1"]) == 2
    seen = capsys.readouterr()
    assert not seen.out
    assert "--from" in seen.err


def test_usage_error_as_json_is_one_problem_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status", "--nonsense", "-o", "json"]) == 2
    seen = capsys.readouterr()
    assert not seen.out
    assert "--nonsense" in json.loads(seen.err)["detail"]


def test_an_amount_with_seven_decimals_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["payouts", "create", "--from", "hot", "--to", "T", "--amount", "0.0000001"]
    assert cli.main(words) == 2
    assert "more than 6 decimals" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1e6", "-1", "1,000", "nan", "", "0x10", "١"])
def test_money_takes_plain_decimals_only(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Money().convert(text, None, None)


def test_money_is_an_integer_at_once() -> None:
    assert Money().convert("12.5", None, None) == 12_500_000


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)])
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


def test_a_node_that_does_not_run_is_exit_code_5_and_says_up(home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--home", str(home.path), "payouts", "list"]) == 5
    seen = capsys.readouterr()
    assert not seen.out
    assert "lucid-tron up" in seen.err


def test_an_error_as_json_is_one_problem_object_on_stderr(home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["wallets", "list", "-o", "json", "--home", str(home.path)]) == 5
    seen = capsys.readouterr()
    assert not seen.out
    assert json.loads(seen.err)["code"] == "unavailable"


def test_options_stand_before_or_behind_the_command(home: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["-o", "json", "--home", str(home.path), "status"],
        ["status", "-o", "json", "--home", str(home.path)],
    ):
        assert cli.main(words) == 5
        body = json.loads(capsys.readouterr().out)
        assert body["home"] == str(home.path)
        assert body["running"] is False


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lucid-tron, version 0.")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["status"], ["up", "--help"]], ids=" ".join)
def test_what_is_not_needed_is_not_imported(words: list[str], home: Any) -> None:
    script = (
        "import sys; from lucid_tron_console import cli; code = cli.main(sys.argv[1:]); "
        "heavy = {'textual', 'aiohttp', 'pydantic', 'starlette', 'tronpy', 'asyncio.unix_events'} & set(sys.modules); "
        "print(sorted(heavy - {'asyncio.unix_events'}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--home", str(home.path), *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    assert "_LUCID_TRON_COMPLETE" in capsys.readouterr().out


def test_the_shell_is_told_the_commands(lucid: Any) -> None:
    done = lucid(env={"_LUCID_TRON_COMPLETE": "bash_complete", "COMP_WORDS": "lucid-tron pay", "COMP_CWORD": "1"})
    assert done.stdout.split() == ["plain,payouts"]


def test_the_console_without_a_terminal_points_to_the_commands(lucid: Any) -> None:
    done = lucid()
    assert done.returncode == 4
    assert "needs a terminal" in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("elsewhere", ["stdin", "stdout", "stderr"])
def test_one_stream_that_is_no_terminal_is_none(home: Home, elsewhere: str) -> None:
    leader, follower = pty.openpty()
    streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), follower) | {elsewhere: subprocess.DEVNULL}
    command = [sys.executable, "-m", "lucid_tron_console", "--home", str(home.path)]
    assert subprocess.run(command, check=False, timeout=60, **streams).returncode == ExitCode.REFUSED
    os.close(leader)
    os.close(follower)


def test_a_bare_command_has_the_consoles_exit_code(home: Home) -> None:
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "lucid_tron_console"],
        env={**os.environ, "TERM": "dumb", "LUCID_HOME": str(home.path)},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        check=False,
    )
    os.close(follower)
    assert b"cannot be drawn" in os.read(leader, 1000)
    os.close(leader)
    assert done.returncode == ExitCode.USAGE


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_changes_nothing(home: Home, closed: str) -> None:
    script = f"{sys.executable} -m lucid_tron_console --home {home.path} payouts list {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "defect" not in done.stderr
    script = f"{sys.executable} -m lucid_tron_console --home {home.path} doctor {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")


def test_a_full_disk_behind_stdout_is_said(home: Home) -> None:
    script = f"{sys.executable} -m lucid_tron_console --home {home.path} doctor -o json > /dev/full"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.FAILURE
    assert json.loads(done.stderr)["code"] == "output_unwritable"


@pytest.mark.parametrize(
    "words",
    [
        ["payouts", "show", "stats"],
        ["payouts", "watch", "../stats"],
        ["payouts", "cancel", ""],
        ["wallets", "show", "../signer"],
        ["wallets", "lock", "hot/unlock"],
        ["wallets", "words", ""],
    ],
    ids=" ".join,
)
def test_what_can_be_no_name_is_not_found_without_asking(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == ExitCode.NOT_FOUND
    assert repr(words[-1]) in capsys.readouterr().err


def test_a_txid_that_is_none_is_invalid_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["payouts", "accept-death", "P-1", "--txid", "00"]) == ExitCode.REFUSED
    assert "txid" in capsys.readouterr().err


def test_an_empty_home_is_a_usage_error_and_a_dot_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--home", "", "status"]) == ExitCode.USAGE
    assert "name a directory" in capsys.readouterr().err
    assert cli.main(["--home", ".", "status", "-o", "json"]) == ExitCode.UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["home"] == str(Path.cwd())


@pytest.mark.parametrize("words", [["up", "--network", "devnet", "--detach"], ["serve", "tron"]], ids=" ".join)
def test_a_broken_settings_file_is_invalid_input(
    home: Home, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    home.env_file.write_text("just words\n")
    assert cli.main(["--home", str(home.path), *words]) == ExitCode.REFUSED
    assert "line 1" in capsys.readouterr().err


def test_how_to_attach_can_be_pasted_into_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    _say_how_to_attach(Session(output="json"), Home.at(Path("/tmp/it's mine")))
    told = json.loads(capsys.readouterr().out)
    assert shlex.split(told["attach"])[-3:] == ["--home", "/tmp/it's mine", "console"]
    assert shlex.split(told["stop"])[-3:] == ["--home", "/tmp/it's mine", "down"]


def test_a_closed_pipe_is_no_error(home: Any) -> None:
    script = f"{sys.executable} -m lucid_tron_console --home {home.path} doctor | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("group", ["tor", "tor onion", "tor lab", "wallets"])
def test_a_group_without_a_command_shows_what_it_has(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(group.split()) == ExitCode.USAGE
    told = capsys.readouterr()
    assert told.out == ""
    assert "Commands:\n" in told.err
    assert "\ufffd" not in told.err
    assert cli.main(["-o", "json", *group.split()]) == ExitCode.USAGE
    assert f"lucid-tron {group} --help" in json.loads(capsys.readouterr().err)["detail"]
