"""`make cluster`: all of the scaled form on one machine, behind the documented nginx."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.server import ROOT, Client, free_port
from tests.waiting import until

pytestmark = pytest.mark.one_form


@pytest.fixture
def cluster(tmp_path, shared_server):
    port = free_port()
    env = {**os.environ, "PORT": str(port), "POTOK_DATA_DIR": str(tmp_path), "POTOK_DRAIN_S": "2"}
    (tmp_path / "static").symlink_to(shared_server.data_dir / "static")
    log = tmp_path / "cluster.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [sys.executable, "-m", "tools.cluster"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    # What a client wants to know of a server.
    yield SimpleNamespace(
        url=f"http://127.0.0.1:{port}", running=running, read=log.read_text, log="", port=port
    )
    if running.poll() is None:
        running.send_signal(signal.SIGINT)
        running.wait(60)


def processes(cluster) -> list[int]:
    lines = [line for line in cluster.read().splitlines() if "runs as process" in line]
    return [int(line.rpartition(" ")[2]) for line in lines]


def test_a_cluster_is_chatted_with_through_its_proxy_and_ends_whole(cluster):
    until(lambda: "is ready: " + cluster.url + "\nCtrl" in cluster.read(), cluster.read(), 120)
    ann = Client(cluster)
    ann.set_up()
    assert len(processes(cluster)) == 5
    conversation = ann.send("Hello", gateway="demo")
    with ann.socket() as socket:
        socket.receive()
        socket.say({"watch": {"conversation": conversation, "version": 0}})
        socket.receive_until(r'data-status=\\"complete\\"', 20)
    assert ann.wait_for_reply(conversation)["status"] == "complete"
    ann.http.close()
    cluster.running.send_signal(signal.SIGINT)
    assert cluster.running.wait(30) == 0
    for pid in processes(cluster):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
