"""hortator runs MPI, batch and interactive work the same way on a laptop, on Kubernetes and on Slurm.

The packages, and which may import which, are described in ``docs/architecture``.
"""

__version__ = "0.1.0"
