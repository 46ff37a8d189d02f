"""A command line with less patience; with the variable DIES it is killed after so many chunks of samples were saved."""

import os
import signal
import sys

from qjaxsim.command.main import main
from qjaxsim.common import checkpoint, hosts

hosts.SILENCE, hosts.LOOK = 4, 0.1
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
sys.exit(main(sys.argv[1:]))
