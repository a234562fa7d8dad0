"""What is looked at after `bench.pod` has killed a server: every submission's job, and every file of every job."""

from collections import Counter
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from server.files import MATTE, PICTURE
from tests.support.serving import Server


def all_jobs(server: Server) -> list[dict[str, Any]]:
    """Every job in the list, the oldest first."""
    found, before = [], None
    while True:
        page = server.client.get("/api/v1/jobs", params={"limit": 100, **({"before": before} if before else {})}).json()
        found += page["jobs"]
        before = page["next"]
        if before is None:
            return found[::-1]


def audit_jobs(server: Server, acked: Iterable[dict[int, str]], count: int) -> Iterable[str]:
    """Sentences about the submissions that were answered: per connection number (its seed) → id, in the order of the answers."""
    connections = list(acked)
    jobs = all_jobs(server)
    place = {job["job_id"]: n for n, job in enumerate(jobs)}
    names = {number: name for connection in connections for number, name in connection.items()}
    lost = [name for name in names.values() if name not in place]
    in_full = [server.job(job["job_id"]) for job in jobs]
    seeds = Counter(job["settings"]["seed"] for job in in_full)
    wrong = [number for number, name in names.items() if name in place and in_full[place[name]]["settings"]["seed"] != number]
    orders = [[place[name] for name in connection.values() if name in place] for connection in connections]
    turned = sum(order != sorted(order) for order in orders)
    twice = sum(n > 1 for n in seeds.values())
    yield (
        f"{len(names)} of {count} answered 202: {len(lost)} lost, {len(jobs)} jobs, {twice} submissions with two jobs, "
        f"{len(wrong)} ids of another submission, {turned} of {len(orders)} connections out of order"
    )
    again = [job for job in in_full if job["attempts"] > 1]
    begun = [job["started_at"] for job in in_full if job["started_at"] and job["attempts"] == 1]
    yield (
        f"{dict(Counter(job['status'] for job in jobs))}; {len(again)} begun again after a kill "
        f"({dict(Counter(job['error'] or job['status'] for job in again))}); begun in the order of coming: {begun == sorted(begun)}"
    )


def audit_files(server: Server) -> Iterable[str]:
    """Sentences about what is on the disk: every file that a result names is whole, and nothing is there that belongs to no job."""
    jobs = {job["job_id"]: job for job in all_jobs(server)}
    known, broken = {*jobs, ".server"}, []
    foreign = [path.name for path in server.folder.iterdir() if path.is_dir() and path.name not in known]
    for name, job in jobs.items():
        folder = server.folder / name
        there = {path.name for path in folder.iterdir()}
        if job["status"] == "completed":
            ElementTree.parse(folder / "illustration.svg")
            with Image.open(folder / "preview.png") as preview:
                preview.load()
            wanted = {PICTURE, "illustration.svg", "preview.png", "result.json"}
        else:
            wanted = {PICTURE, MATTE} & there
        if there != wanted or not (folder / PICTURE).stat().st_size:
            broken.append((name, sorted(there ^ wanted)))
    foreign += [path.name for path in (server.folder / ".server" / "incoming").iterdir()]
    done = sum(job["status"] == "completed" for job in jobs.values())
    yield (
        f"{done} completed jobs, their files read in full: {len(broken)} not as they have to be {broken[:3]}, "
        f"{len(foreign)} files of nobody {foreign[:3]}"
    )
