"""A command line with less patience; with the variable DIES it is killed after so many chunks of samples were saved.

It ends with code 99 where the thread that looks after the others is still there: Python's end would crash it.
"""

import os
import signal
import sys
import threading

from qjaxsim.command.main import main
from qjaxsim.common import checkpoint, hosts

hosts.SILENCE, hosts.LOOK = 4, 0.2
checkpoint.SAVES_APART = 0
left = int(os.environ.get("DIES", -1))
save = checkpoint.Checkpoint.save


def save_and_die(self, *arguments, **more):
    global left
    save(self, *arguments, **more)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


checkpoint.Checkpoint.save = save_and_die
code = main(sys.argv[1:])
sys.exit(99 if any(thread.name == "hosts" for thread in threading.enumerate()) else code)
