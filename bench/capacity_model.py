"""A RunPod endpoint as a discrete-event simulation: jobs, a queue, workers that start and stop by one of RunPod's two scaling rules.

What RunPod publishes of the rules is in `Endpoint`; where it is silent, the docstrings say what is assumed. All times are seconds.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import simpy

#: A duration in seconds, drawn anew at each call.
Draw = Callable[[Random], float]
Rule = Literal["queue-delay", "request-count"]


@dataclass(frozen=True, slots=True)
class Gamma:
    """Durations of a mean (s) and a coefficient of variation (deviation / mean): 0 is constant, 1 exponential."""

    mean: float
    variation: float

    def __call__(self, random: Random) -> float:
        """One duration."""
        if self.variation == 0 or self.mean == 0:
            return self.mean
        shape = self.variation**-2
        return random.gammavariate(shape, self.mean / shape)


@dataclass(frozen=True, slots=True)
class Measured:
    """Durations that were measured (s), each as likely as the other."""

    seconds: tuple[float, ...]

    def __call__(self, random: Random) -> float:
        """One of them."""
        return random.choice(self.seconds)


@dataclass(frozen=True, slots=True)
class Start:
    """How long a worker takes until it asks for its first job; `warm_share` (0..1) of the starts are FlashBoot's warm ones."""

    cold: Draw
    warm: Draw = Gamma(0, 0)
    warm_share: float = 0.0

    def __call__(self, random: Random) -> float:
        """One start."""
        warm = random.random() < self.warm_share
        return (self.warm if warm else self.cold)(random)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The settings of an endpoint that decide about its workers.

    `queue-delay`: one worker is added every `interval` while more jobs have waited longer than `value` seconds than workers are
    starting; a worker leaves when it had no job for `idle_timeout`. `request-count`: as many workers as ceil((jobs in the queue and in
    progress) / `value`), looked at every `interval`; idle ones above that leave at the next look, for RunPod's idle timeout holds under
    queue delay only. `min_workers` are there from the beginning and never leave. `interval` is not published: it is an assumption.
    """

    rule: Rule = "queue-delay"
    value: float = 4.0
    min_workers: int = 0
    max_workers: int = 3
    idle_timeout: float = 5.0
    interval: float = 1.0


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """When a job arrives, and how long a worker is busy with it."""

    arrival: float
    service: float


@dataclass(frozen=True, slots=True)
class Served:
    """A job, when a worker began it, and which one (its place in `Run.workers`)."""

    job: Job
    began: float
    worker: int

    @property
    def wait(self) -> float:
        """From the job's arrival to its beginning: RunPod's `delayTime`."""
        return self.began - self.job.arrival

    @property
    def ended(self) -> float:
        """When it was done."""
        return self.began + self.job.service


@dataclass(slots=True)
class Life:
    """A worker from its start to its end, and the parts of that time, each added up by itself."""

    started: float
    ended: float = math.nan
    starting: float = 0.0
    busy: float = 0.0
    idle: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the scaling rule saw at a moment, before it acted."""

    time: float
    queued: int
    in_progress: int
    workers: int


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the jobs; `looks` are `Endpoint.interval` apart."""

    served: tuple[Served, ...]
    workers: tuple[Life, ...]
    looks: tuple[Look, ...]


@dataclass(slots=True)
class _World:
    env: simpy.Environment
    endpoint: Endpoint
    start: Start
    random: Random
    queue: simpy.Store
    jobs: int
    until: float
    served: list[Served] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    alive: int = 0
    starting: int = 0
    in_progress: int = 0

    @property
    def over(self) -> bool:
        """Every job served, and the time watched is up: the endpoint is closed, and all workers may leave."""
        return self.env.now >= self.until and len(self.served) == self.jobs and not self.in_progress

    @property
    def fewest(self) -> int:
        """Workers that do not leave now."""
        if self.over:
            return 0
        e = self.endpoint
        return e.min_workers if e.rule == "queue-delay" else max(e.min_workers, min(self.wanted, e.max_workers))

    @property
    def wanted(self) -> int:
        """Workers by the request count."""
        return math.ceil((len(self.queue.items) + self.in_progress) / self.endpoint.value)

    @property
    def overdue(self) -> int:
        """Jobs in the queue that have waited longer than the queue delay."""
        limit = self.env.now - self.endpoint.value
        return bisect_left(self.queue.items, limit, key=lambda job: job.arrival)

    @property
    def added(self) -> int:
        """Workers that the rule starts now."""
        if self.endpoint.rule == "queue-delay":
            return min(int(self.overdue > self.starting), self.endpoint.max_workers - self.alive)
        return max(0, min(self.wanted, self.endpoint.max_workers) - self.alive)


def simulate(jobs: Sequence[Job], endpoint: Endpoint, start: Start, until: float = 0.0, seed: int = 0) -> Run:
    """Serve `jobs` until all are done and `until` has passed.

    The worker that has been idle longest gets the next job, and the oldest job goes first. The same arguments give the same run; `seed`
    decides about the starts alone. Raises ValueError for an endpoint that could never serve a job.
    """
    if not 0 <= endpoint.min_workers <= endpoint.max_workers or endpoint.max_workers < 1:
        raise ValueError("An endpoint needs 0 <= min workers <= max workers, and at least one worker at most.")
    if endpoint.interval <= 0 or endpoint.idle_timeout <= 0 or (endpoint.rule == "request-count" and endpoint.value <= 0):
        raise ValueError("The interval of looks, the idle timeout and the jobs per worker must be above 0.")
    env = simpy.Environment()
    world = _World(env, endpoint, start, Random(seed), simpy.Store(env), len(jobs), until)
    for _ in range(endpoint.min_workers):
        _add_worker(world, 0.0)
    env.process(_arrivals(world, sorted(jobs)))
    env.process(_scaling(world))
    env.run()
    return Run(tuple(world.served), tuple(world.lives), tuple(world.looks))


def _arrivals(world: _World, jobs: Sequence[Job]) -> Generator[simpy.Event]:
    for job in jobs:
        # the clock is a sum of floats and may already stand a rounding error past the arrival
        yield world.env.timeout(max(0.0, job.arrival - world.env.now))
        yield world.queue.put(job)


def _scaling(world: _World) -> Generator[simpy.Event]:
    while not world.over:
        world.looks.append(Look(world.env.now, len(world.queue.items), world.in_progress, world.alive))
        for _ in range(world.added):
            _add_worker(world, world.start(world.random))
        yield world.env.timeout(world.endpoint.interval)


def _add_worker(world: _World, starting: float) -> None:
    world.alive += 1
    world.starting += 1
    world.lives.append(Life(world.env.now, starting=starting))
    world.env.process(_worker(world, len(world.lives) - 1))


def _worker(world: _World, number: int) -> Generator[simpy.Event]:
    env, life = world.env, world.lives[number]
    yield env.timeout(life.starting)
    world.starting -= 1
    patience = world.endpoint.idle_timeout if world.endpoint.rule == "queue-delay" else world.endpoint.interval
    while True:
        since, taken = env.now, world.queue.get()
        yield taken | env.timeout(patience)
        life.idle += env.now - since
        if not taken.triggered:
            taken.cancel()
            if world.alive > world.fewest:
                break
            continue
        job: Job = taken.value
        world.served.append(Served(job, env.now, number))
        world.in_progress += 1
        yield env.timeout(job.service)
        world.in_progress -= 1
        life.busy += job.service
    world.alive -= 1
    life.ended = env.now
