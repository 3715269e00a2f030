#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What bench/elsewhere.c measures, of other queues of jobs: rq|celery one|many N.

Microseconds for an empty job: one at a time, or N at once. On a Redis server of its own,
on a Unix socket, with two processes that do jobs; RQ's do them themselves, and do not
fork for each, as they would unless they were told.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SKIP = 77
SOCKET = os.environ.get("PEERS_SOCKET", "")
HERE = Path(__file__)

try:
    if "celery" in (sys.argv[1:2] or [""])[0] or "celery" in sys.argv[0]:
        from celery import Celery, group

        app = Celery("peers", broker=f"redis+socket://{SOCKET}",
                     backend=f"redis+socket://{SOCKET}")

        @app.task(name="answer")
        def answer(number):
            return number
    else:
        import redis
        from rq import Queue
        from rq.job import Job

        def echo(number):
            return number
except ImportError as missing:
    print(f"{missing}: python3-rq, python3-celery", file=sys.stderr)
    sys.exit(SKIP)


def run_quietly(*command):
    """Ended with this process, whatever ends it; in a group of its own."""
    env = dict(os.environ, PYTHONPATH=str(HERE.parent), PYTHONDONTWRITEBYTECODE="1",
               PEERS_SOCKET=SOCKET)
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], env=env,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)


class Rq:
    def __init__(self):
        self.redis = redis.Redis(unix_socket_path=SOCKET)
        self.queue = Queue(connection=self.redis)
        url = f"unix://{SOCKET}"
        self.workers = [run_quietly(sys.executable, "-m", "rq.cli", "worker", "-u", url,
                                    "-w", "rq.worker.SimpleWorker") for _ in range(2)]

    def one(self, number):
        job = self.queue.enqueue(f"{HERE.stem}.echo", number)
        while not job.latest_result():
            pass
        return job.latest_result().return_value

    def many(self, numbers):
        wanted = [Queue.prepare_data(f"{HERE.stem}.echo", (number,)) for number in numbers]
        ids = [job.id for job in self.queue.enqueue_many(wanted)]
        before = self.queue.finished_job_registry
        while not set(ids) <= set(before.get_job_ids()):
            time.sleep(0.002)
        return [job.return_value() for job in Job.fetch_many(ids, self.redis)]


class WithCelery:
    def __init__(self):
        self.workers = [run_quietly(
            sys.executable, "-m", "celery", "-A", HERE.stem, "worker", "-c", "2",
            "--without-gossip", "--without-mingle", "--without-heartbeat")]

    def one(self, number):
        return answer.delay(number).get()

    def many(self, numbers):
        return group(answer.s(number) for number in numbers)().get()


def measure(peer, mode, n):
    """Processes have started when the first answer has come."""
    assert peer.one(7) == 7
    if mode == "many":
        begun = time.perf_counter()
        assert peer.many(range(n)) == list(range(n))
        return 1e6 * (time.perf_counter() - begun) / n
    times = []
    for i in range(n):
        begun = time.perf_counter()
        assert peer.one(i) == i
        times.append(1e6 * (time.perf_counter() - begun))
    return statistics.median(times)


def main():
    name, mode, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        server = run_quietly("redis-server", "--port", "0", "--unixsocket", SOCKET,
                             "--save", "")
    except FileNotFoundError:
        print("there is no redis-server", file=sys.stderr)
        sys.exit(SKIP)
    while not Path(SOCKET).exists() and server.poll() is None:
        time.sleep(0.01)
    peer = {"rq": Rq, "celery": WithCelery}[name]()
    try:
        print(f"{measure(peer, mode, n):.1f}", flush=True)
    finally:
        for process in [*peer.workers, server]:
            os.killpg(process.pid, signal.SIGKILL)
    # What of the client is left would look for the server.
    os._exit(0)


if __name__ == "__main__":
    if not SOCKET:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["PEERS_SOCKET"] = f"{folder}/s"
            sys.exit(subprocess.run([sys.executable, *sys.argv], check=False).returncode)
    main()
