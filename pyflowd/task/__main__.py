"""Starts one of the programs of a task, by its name, under `python -I -S` or another interpreter of Python 3.8."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    # Without -I the first entry is the folder of this file: a user's `import files` must not find ours.
    sys.path[:] = [root] + [folder for folder in sys.path if folder != here]
    program = sys.argv[1]
    if program == "out":
        from pyflowd.task import out

        run = out.main
    elif program == "function":
        from pyflowd.task import function

        run = function.main
        sys.path.remove(root)  # what lies beside us is none of the user's modules
    elif program == "plugin":
        from pyflowd.task import plugin

        run = plugin.main
        sys.path.remove(root)
    elif program == "ssh":
        from pyflowd.task import ssh

        run = ssh.main
    elif program == "reboot":
        from pyflowd.task import reboot

        run = reboot.main
    else:
        from pyflowd.task import files

        run = files.main
    sys.exit(run(sys.argv[2:]))
