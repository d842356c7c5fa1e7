"""Logs: one JSON object a line, and never a reason for work to fail."""

import json
import subprocess
import sys

WRITES = """
import logging
from services.kit import log
log.configure("little")
log.correlation_id.set("act-1")
log.get_logger().info("job.broadcast", txid="77", note="line\\nbreak \\x1b[31m")
logging.getLogger("library").warning("of a library")
try:
    raise RuntimeError("a defect")
except RuntimeError:
    log.get_logger().exception("request.failed")
print("done")
"""


def run(shell: str = "") -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'"$0" -c "$1" {shell}', sys.executable, WRITES]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_an_event_is_one_line_of_json_with_its_correlation_id() -> None:
    lines = [json.loads(line) for line in run().stderr.splitlines()]
    assert [line["event"] for line in lines] == ["job.broadcast", "library", "request.failed"]
    assert {line["service"] for line in lines} == {"little"}
    assert {line["correlation_id"] for line in lines} == {"act-1"}
    assert "\x1b" not in run().stderr


def test_a_full_disk_under_the_log_stops_nothing() -> None:
    assert run(shell="2>/dev/full").stdout == "done\n"


def test_a_log_that_nobody_reads_any_more_stops_nothing() -> None:
    assert run(shell="2>&-").stdout == "done\n"
