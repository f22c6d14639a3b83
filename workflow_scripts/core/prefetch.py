"""Work ahead of the consumer: in threads, in order, within bounds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")
MAX_WEIGHT = 1 << 29  # bytes; a flow of two stages holds twice that
_END: Any = object()


def ahead(
    function: Callable[[S], T], items: Iterable[S], *, threads: int, depth: int, weight: Callable[[S], int] = lambda _: 0
) -> Iterator[T]:
    """`map` in threads, in order, ahead of the consumer by at most `depth` results and `MAX_WEIGHT` in weight.

    Args:
        function: what to do with each item.
        items: taken one by one, in the consumer's thread.
        threads: how many items are worked on at once.
        depth: how many results may wait.
        weight: bytes that an item takes up until its result is consumed. One item may always be under way, whatever it weighs.
    """
    source = iter(items)
    waiting: deque[tuple[Future[T], int]] = deque()
    load = 0
    with ThreadPoolExecutor(threads) as pool:

        def refill() -> None:
            nonlocal load
            while len(waiting) < depth and (load < MAX_WEIGHT or not waiting):
                item = next(source, _END)
                if item is _END:
                    return
                waiting.append((pool.submit(function, item), weight(item)))
                load += waiting[-1][1]

        try:
            refill()
            while waiting:
                future, size = waiting.popleft()
                result = future.result()
                refill()
                yield result
                load -= size
        finally:
            # A consumer that stops early does not wait for what nobody will take.
            pool.shutdown(wait=False, cancel_futures=True)
