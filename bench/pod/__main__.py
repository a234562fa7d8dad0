"""The pod server under load: submissions a second, what kill -9 loses, two web processes, answers while it draws, memory.

    python -m bench.pod [--jobs 1000] [--drain 200] [--only accepting,killing,…] [--docs]

Submissions come from eight connections, each waiting for its answer. "Killed" is SIGKILL for the web process and its engines at once, at a
random moment; the server is started again, and what it did not answer is sent again under the same Idempotency-Key.
"""

import argparse
import datetime
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from bench.machine import machine
from bench.pod.audit import audit_files, audit_jobs
from pipeline.settings import environment
from tests.support.serving import JOB_SECONDS, QUICK, Server, engines_of, sample_photo, serving, until

KILLS, CONNECTIONS, ROUNDS = 3, 8, 6
DOCS = Path(__file__).parents[2] / "docs" / "benchmarks" / "pod.md"
TWO_WEB_PROCESSES = [sys.executable, "-m", "uvicorn", "server:app", "--port", "{port}", "--workers", "2", "--log-level", "warning"]
Say = Callable[[str], None]


async def body_reader(scope: dict[str, object], receive: Callable[[], object], send: Callable[[object], object]) -> None:
    """The plain ASGI application beside which the server is told: it reads the body and answers 202 (and `/health`)."""
    while scope["type"] == "http":
        message = await receive()  # type: ignore[misc]
        if not message.get("more_body", False):
            await send({"type": "http.response.start", "status": 200 if scope["method"] == "GET" else 202, "headers": []})  # type: ignore[misc]
            await send({"type": "http.response.body", "body": b'{"job_id": "0"}'})  # type: ignore[misc]
            return


def submit(client: httpx.Client, photo: bytes, number: int) -> str:
    """The id under which a submission was accepted."""
    data = {"options": json.dumps(QUICK | {"seed": number, "outputs": ["svg", "png"]})}
    headers = {"Idempotency-Key": f"bench-{number}"}
    answer = client.post("/api/v1/process", files={"file": ("car.jpg", photo)}, data=data, headers=headers)
    answer.raise_for_status()
    return str(answer.json()["job_id"])


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def accepting(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """Submissions a second while the engine draws, and the same requests to an application that only reads them."""
    photo, count, rates = sample_photo(320), options.jobs, {}
    plain = [sys.executable, "-m", "uvicorn", "bench.pod:body_reader", "--port", "{port}", "--log-level", "warning", "--no-access-log"]
    for name, command in (("plain", plain), ("server", None)):
        with serving(folder / name, command=command, LOG_LEVEL="warning") as server:
            if command is None:
                server.ready()
            began, cpu = time.perf_counter(), cpu_seconds(server)
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                list(pool.map(lambda number: submit(server.client, photo, number), range(count)))
            rates[name] = count / (time.perf_counter() - began)
            used = 1000 * (cpu_seconds(server) - cpu) / count
            say(f"{name}: {count} accepted, {rates[name]:.0f}/s; its web process used {used:.2f} ms of CPU each")
    say(f"server / plain = {rates['server'] / rates['plain']:.2f} (asked: at least 100/s)")


def kill_all(server: Server, folder: Path) -> None:
    """SIGKILL for the web process and the engines, before any of them can notice another's end."""
    for pid in [*engines_of(folder), server.process.pid]:
        os.kill(pid, 9)
    server.process.wait(10)
    until(lambda: not engines_of(folder), 10)


def submitted_over_kills(folder: Path, photo: bytes, count: int, dice: random.Random, say: Say) -> list[dict[int, str]]:
    """Submit so many jobs while the server is killed three times; per connection: number → id, in the order of the answers."""
    moments = sorted(dice.sample(range(count // 20, count * 19 // 20), KILLS))
    acked: list[dict[int, str]] = [{} for _ in range(CONNECTIONS)]
    for life in range(KILLS + 1):
        with serving(folder, LOG_LEVEL="warning") as server, ThreadPoolExecutor(CONNECTIONS) as pool:
            server.ready()

            def send(connection: int, client: httpx.Client = server.client) -> None:
                for number in range(connection, count, CONNECTIONS):
                    if number not in acked[connection]:
                        try:
                            acked[connection][number] = submit(client, photo, number)
                        except httpx.TransportError:
                            return  # goes on in the next life, with the same key

            sending = [pool.submit(send, connection) for connection in range(CONNECTIONS)]
            if life < KILLS:
                until(lambda life=life: sum(map(len, acked)) >= moments[life], JOB_SECONDS, 0.001)
                time.sleep(dice.random() * 0.02)
                kill_all(server, folder)
                say(f"killed after {sum(map(len, acked))} answers (wanted {moments[life]})")
            for task in sending:
                task.result()
    return acked


def killing(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """All submissions over three kills: how many are lost, twice, out of order; what became of those that were interrupted."""
    acked = submitted_over_kills(folder, sample_photo(320), options.jobs, random.Random(options.seed), say)
    with serving(folder, LOG_LEVEL="warning", WORKERS="0") as server:
        for line in audit_jobs(server, acked, options.jobs):
            say(line)


def draining(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """Fewer jobs over three kills, drawn to the end, each file looked at."""
    dice = random.Random(options.seed + 1)
    acked = submitted_over_kills(folder, sample_photo(320), options.drain, dice, say)
    with serving(folder, LOG_LEVEL="warning") as server:
        began = time.perf_counter()
        until(lambda: server.metric("job_queue_size") + server.metric("jobs_processing") == 0, 3600, 1)
        say(f"drawn to the end in {time.perf_counter() - began:.0f} s more")
        for line in [*audit_jobs(server, acked, options.drain), *audit_files(server)]:
            say(line)


def sharing(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """Two web processes, two engines, one queue."""
    photo, count = sample_photo(320), options.shared
    with serving(folder, command=TWO_WEB_PROCESSES, WORKERS="2", LOG_LEVEL="info") as server:
        until(lambda: len(engines_of(folder)) == 2, JOB_SECONDS)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            names = list(pool.map(lambda number: submit(server.client, photo, number), range(count)))
        until(lambda: server.metric("job_queue_size") + server.metric("jobs_processing") == 0, 3600, 1)
        jobs = [server.job(name) for name in names]
        summaries = [line for line in server.log.read_text().splitlines() if '"job_summary"' in line]
        once = sum(job["attempts"] == 1 and job["status"] == "completed" for job in jobs)
        say(f"2 web processes, 2 engines: {count} jobs, {once} completed at the first attempt, {len(summaries)} drawings in the log")
        for line in audit_files(server):
            say(line)


def answering(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """Times of `/health` and `/metrics` when nothing is done and while jobs of the default size are drawn; one connection."""
    photo = sample_photo(1200)
    with serving(folder, LOG_LEVEL="warning", NETWORKS_PATH=str(environment().networks_path)) as server:
        server.ready()
        for busy in (False, True):
            for path in ("/health", "/metrics"):
                taken: list[float] = []
                while len(taken) < options.requests:
                    job_id = server.submit(photo, size=4096) if busy else ""
                    if busy:
                        server.working(job_id)
                    while len(taken) < options.requests and (not busy or server.job(job_id)["status"] == "processing"):
                        for _ in range(50):
                            began = time.perf_counter()
                            server.client.get(path).raise_for_status()
                            taken.append(1000 * (time.perf_counter() - began))
                            time.sleep(0.002)
                    if busy:
                        server.client.post(f"/api/v1/jobs/{job_id}/cancel")
                        server.over(job_id)
                taken.sort()
                figures = f"p50 {taken[len(taken) // 2]:.1f}, p99 {taken[int(0.99 * len(taken))]:.1f}, most {taken[-1]:.1f} ms"
                say(f"{path} {'while a job is drawn' if busy else 'when idle'}: {figures}; {len(taken)} requests")


def held(server: Server) -> tuple[float, int]:
    """Resident MB and open files of the web process."""
    process = Path(f"/proc/{server.process.pid}")
    resident = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) / 1024, len(list((process / "fd").iterdir()))


def lasting(folder: Path, options: argparse.Namespace, say: Say) -> None:
    """Memory and open files after 50 jobs, and after thousands more, each asked for, with 200 listeners a thousand."""
    photo = sample_photo(320)

    def use(server: Server, first: int, last: int, listeners: int) -> tuple[float, int]:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            names = list(pool.map(lambda number: submit(server.client, photo, number), range(first, last)))
            list(pool.map(server.job, names))

        def listen(number: int) -> None:
            with server.client.stream("GET", f"/api/v1/jobs/{names[number % len(names)]}/events") as answer:
                answer.raise_for_status()

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(listen, range(listeners)))
        time.sleep(3)  # longer than a listener's going can stay unnoticed
        return held(server)

    with serving(folder, WORKERS="0", LOG_LEVEL="warning") as server:
        before = use(server, 0, 50, 40)
        say(f"after 50 jobs {before[0]:.1f} MB, {before[1]} open files")
        for first in range(50, 50 + ROUNDS * options.jobs, options.jobs):
            now = use(server, first, first + options.jobs, 200)
            say(f"after {options.jobs} more {now[0]:.1f} MB ({100 * (now[0] / before[0] - 1):+.1f} %), {now[1]} open files")


PARTS = {part.__name__: part for part in (accepting, killing, draining, sharing, answering, lasting)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000, help="submissions")
    parser.add_argument("--drain", type=int, default=200, help="jobs that are drawn to the end over three kills")
    parser.add_argument("--shared", type=int, default=100, help="jobs for two web processes and two engines")
    parser.add_argument("--requests", type=int, default=2000, help="requests of each address in each state")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    parser.add_argument("--docs", action="store_true", help=f"write {DOCS.name}")
    options = parser.parse_args()
    sections = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only.split(","):
            where = f"{datetime.date.today()}, {machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}."
            lines = [str(PARTS[name].__doc__), "", where, ""]
            print("\n".join(lines), flush=True)

            def say(line: str, lines: list[str] = lines) -> None:
                print(f"- {line}", flush=True)
                lines.append(f"- {line}")

            (Path(folder) / name).mkdir()
            PARTS[name](Path(folder) / name, options, say)
            sections[name] = "\n".join(lines)
    if options.docs:
        write(sections)


def write(sections: dict[str, str]) -> None:
    """Put what was measured into the document; its other sections stay."""
    parts = DOCS.read_text().split("\n## ")[1:] if DOCS.exists() else []
    known = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts} | sections
    body = "".join(f"\n## {name}\n\n{known[name]}\n" for name in PARTS if name in known)
    DOCS.write_text(
        f"# The pod under load\n\nWritten by `python -m bench.pod --docs`, which may measure one part at a time (`--only`).\n{body}"
    )


if __name__ == "__main__":
    main()
