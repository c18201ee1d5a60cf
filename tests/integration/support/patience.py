"""Waiting for what comes, however slow the machine is."""
import time


def wait_until(condition, what, seconds=120):
    """The condition's value once it is true; an AssertionError that names `what` when it never becomes so. `what` may be a
    function, called then."""
    give_up = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > give_up:
            raise AssertionError(f"waited {seconds:.0f} s in vain: {what() if callable(what) else what}")
        time.sleep(0.02)
    return value
