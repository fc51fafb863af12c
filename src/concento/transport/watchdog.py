"""No child outlives the hub, even one killed with -9.

A small process of its own holds the read end of a pipe to the hub. The hub writes which process groups live; when the
pipe closes, for whatever reason, the watchdog ends those groups. A launcher such as uvx stays the parent of the real
server, so a parent-death signal would not be enough; a process group reaches both.

A child must not run before the watchdog knows its group, or a hub that is killed in between leaves it behind. So it is
started through a gate: this file again, leading the new process group, writes that to the watchdog's pipe itself,
closes the pipe and only then becomes the server. Until then the gate holds the pipe open, so the watchdog can't see its
end before it has read the group. A gate that finds the pipe broken starts nothing. It costs about 10 ms a start.

The gate also puts right what the way to it has changed: it closes descriptors that the event loop let through, takes
back the signals that Python ignores, and drops variables that Python or the system set beside the child's own.
"""

import os
import signal
import sys
import time
from asyncio import AbstractEventLoop, get_running_loop
from subprocess import Popen
