"""What a process measures of itself."""

from __future__ import annotations

import http.client
import subprocess
import sys

from runbooks_app.main.embedded.ports import free_port

MEASURED = """
import logging, sys
from runbooks_app import telemetry
logging.basicConfig(format="%(message)s")
telemetry.set_up("worker", "test", int(sys.argv[1]))
print("ready", flush=True)
sys.stdin.read()
"""


def measured(port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MEASURED, str(port)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_worker_on_a_machine_goes_on_without_the_port_that_the_first_is_scraped_by():
    port = free_port()
    first = measured(port)
    second = measured(port)
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked.request("GET", "/metrics")
    assert asked.getresponse().status == 200
    asked.close()
    _, complained = second.communicate("")
    assert f"its port {port} cannot be had" in complained
    assert "a RUNBOOKS_METRICS_PORT of its own" in complained
    assert (second.returncode, first.communicate("")[1]) == (0, "")
