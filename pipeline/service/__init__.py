"""One job from what was sent to what is answered, for every door: `start` once, then `perform` or `attempt` for each job."""

from pipeline.service.destination import Delivered, Staging
from pipeline.service.received import Pictures
from pipeline.service.start import Worker, start
from pipeline.service.work import attempt, explain, perform

__all__ = ["Delivered", "Pictures", "Staging", "Worker", "attempt", "explain", "perform", "start"]
