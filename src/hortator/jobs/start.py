"""Start one of the programs that run inside a job: ``python -I -S start.py enter|launch|collector ARGS...``.

They are started by path, with nothing of the user's Python in the way, but imported as modules, so that Python keeps
them compiled: compiling would cost more than all the rest of ``enter``.
"""

import sys

if __name__ == "__main__":
    sys.path.append(__file__.rpartition("/hortator/")[0])
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in ("enter", "launch", "collector"):
        sys.exit("usage: start.py enter|launch|collector ARGS...")
    module = __import__(f"hortator.jobs.{name}", fromlist=["main"])
    module.main(sys.argv[2:])
