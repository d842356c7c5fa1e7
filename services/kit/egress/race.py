"""One read on several circuits: the first good answer wins."""

import asyncio

from services.kit.egress.errors import EgressError, Fault
from services.kit.egress.lane import Lane
from services.kit.egress.models import Answer

Asked = asyncio.Task[Answer]


class Race:
    """The lanes that one read was asked on, in the order of asking."""

    def __init__(self, began: float, *, opening: bool = False) -> None:
        """Begin, at a monotonic time; `opening`: two lanes are asked at once, and the quicker one is stayed with."""
        self.began = began
        self.opening = opening
        self.tasks: dict[Lane, Asked] = {}
        self.asked_at: dict[Lane, float] = {}
        """Monotonic times."""
        self.is_late = False
        """Whether a patience was over and there was no budget for another lane."""
        self._given_up: set[Asked] = set()

    def enter(self, lane: Lane, task: Asked, now: float) -> None:
        """Let one more lane take part."""
        self.tasks[lane] = task
        self.asked_at[lane] = now

    @property
    def lanes(self) -> list[Lane]:
        """Everybody that took part."""
        return list(self.tasks)

    @property
    def running(self) -> list[Asked]:
        """Requests that are not over."""
        # One whose time is over is being cancelled, too, by its own timeout: it is about to say so.
        return [task for task in self.tasks.values() if not task.done() and task not in self._given_up]

    def good(self) -> Lane | None:
        """A lane with a good answer."""
        return next((lane for lane, task in self.tasks.items() if is_good(task)), None)

    def best(self) -> Lane:
        """When all are over and none is good: the first with any answer, else the first that failed by itself."""
        over = [lane for lane, task in self.tasks.items() if task.done() and not task.cancelled()]
        return next((lane for lane in over if self.tasks[lane].exception() is None), over[0])

    def was_broken(self) -> bool:
        """Whether the newest request failed in a way that another circuit might do better."""
        task = self.tasks[self.lanes[-1]]
        error = task.exception() if task.done() and not task.cancelled() else None
        return isinstance(error, EgressError) and not error.is_ours and error.reason is not Fault.TOO_LARGE

    def was_refused(self) -> bool:
        """Whether the newest request was answered, and its exit is not welcome."""
        task = self.tasks[self.lanes[-1]]
        return task.done() and not task.cancelled() and task.exception() is None and task.result().refused

    def give_up_oldest(self) -> Lane:
        """Give up the request that is under way for longest; returns its lane."""
        lane = next(lane for lane, task in self.tasks.items() if task in self.running)
        self._given_up.add(self.tasks[lane])
        self.tasks[lane].cancel()
        return lane

    async def end(self) -> None:
        """Give up whatever is still under way."""
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def is_good(task: Asked) -> bool:
    """Whether a request is over and its answer is one that this exit may have."""
    return task.done() and not task.cancelled() and task.exception() is None and not task.result().refused
