"""Compute pi on all ranks (midpoint rule for the integral of 4/(1+x²) from 0 to 1).

Run it with ``hort run -n 4 -- python examples/pi.py [INTERVALS]``.
"""

import math
import socket
import sys

from mpi4py import MPI

comm = MPI.COMM_WORLD
intervals = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
print(f"rank {comm.rank} of {comm.size} on {socket.gethostname()}", flush=True)

width = 1.0 / intervals
part = sum(4.0 / (1.0 + ((i + 0.5) * width) ** 2) for i in range(comm.rank, intervals, comm.size))
value = comm.reduce(part * width, op=MPI.SUM, root=0)
if comm.rank == 0:
    print(f"pi is about {value:.12f} (error {abs(value - math.pi):.1e})", flush=True)
    sys.exit(abs(value - math.pi) > 1e-9)
