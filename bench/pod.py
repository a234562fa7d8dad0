"""The pod server under load: submissions a second, what three kill -9 lose, and how quickly it answers while it draws.

    python -m bench.pod [--jobs 1000]

Submissions come from eight connections; a killed server is started again at once, and what it did not answer is sent again under the same
Idempotency-Key. Processor time of the web process is told beside the clock, because a busy machine stretches only the latter.
"""

import argparse
import json
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.server.serving import JOB_SECONDS, QUICK, Server, sample_photo, serving, until

KILLS = 3


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def submit(client: httpx.Client, photo: bytes, number: int) -> str:
    """The id under which a submission was accepted."""
    data, headers = {"options": json.dumps(QUICK | {"seed": number})}, {"Idempotency-Key": f"bench-{number}"}
    answer = client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, data=data, headers=headers)
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def accepting(folder: Path, photo: bytes, count: int) -> None:
    with serving(folder, LOG_LEVEL="warning") as server:
        server.ready()
        began, cpu = time.perf_counter(), cpu_seconds(server)
        with ThreadPoolExecutor(8) as pool:
            names = set(pool.map(lambda number: submit(server.client, photo, number), range(count)))
        seconds, used = time.perf_counter() - began, cpu_seconds(server) - cpu
        print(
            f"{len(names)} accepted while jobs are drawn: {count / seconds:.0f}/s; web process {1000 * used / count:.2f} ms of CPU each",
            flush=True,
        )


def all_jobs(server: Server) -> dict[str, str]:
    found, before = {}, None
    while True:
        page = server.client.get("/api/v1/jobs", params={"limit": 100, **({"before": before} if before else {})}).json()
        found |= {job["job_id"]: job["status"] for job in page["jobs"]}
        before = page["next"]
        if before is None:
            return found


def losing(folder: Path, photo: bytes, count: int) -> None:
    """Three times: submit a part, kill the server in the middle of the next part, start it again."""
    names: dict[int, str] = {}
    for life in range(KILLS + 1):
        with serving(folder, LOG_LEVEL="warning") as server, ThreadPoolExecutor(8) as pool:
            waiting = [number for number in range(count) if number not in names]
            enough = count * (life + 1) // (KILLS + 1)

            def send(number: int, client: httpx.Client = server.client) -> None:
                try:
                    names[number] = submit(client, photo, number)
                except (httpx.HTTPError, RuntimeError):
                    return  # sent again in the next life

            def kill(server: Server = server, enough: int = enough) -> None:
                until(lambda: len(names) >= enough, JOB_SECONDS, 0.005)
                server.kill()

            killer = threading.Thread(target=kill)
            if life < KILLS:
                killer.start()
            list(pool.map(send, waiting))
            if life < KILLS:
                killer.join()
                continue
            found = all_jobs(server)
            missing = [name for name in names.values() if name not in found]
            kinds = {status: list(found.values()).count(status) for status in set(found.values())}
            print(
                f"{len(names)} accepted over {KILLS} kill -9: {len(missing)} lost, {len(found) - len(names)} twice; now {kinds}", flush=True
            )


def answering(folder: Path, photo: bytes, seconds: float) -> None:
    with serving(folder, LOG_LEVEL="warning") as server:
        server.ready()
        for path in ("/health", "/metrics"):
            job_id, taken = server.submit(photo, size=4096), []
            server.working(job_id)
            end = time.monotonic() + seconds
            while time.monotonic() < end and server.job(job_id)["status"] == "processing":
                for _ in range(20):
                    began = time.perf_counter()
                    server.client.get(path).raise_for_status()
                    taken.append(1000 * (time.perf_counter() - began))
                    time.sleep(0.005)
            server.over(job_id)
            taken.sort()
            middle, high = taken[len(taken) // 2], taken[int(0.99 * len(taken))]
            print(f"{path} while a job is drawn: median {middle:.1f} ms, 99 % {high:.1f} ms, {len(taken)} requests", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20, help="how long each address is asked")
    options = parser.parse_args()
    print(f"load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        small = sample_photo(320)
        accepting(Path(folder) / "accepting", small, options.jobs)
        losing(Path(folder) / "losing", small, options.jobs)
        answering(Path(folder) / "answering", sample_photo(1200), options.seconds)


if __name__ == "__main__":
    main()
