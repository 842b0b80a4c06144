/* Heat in a rod: explicit steps with halo exchange between neighbours, checked against the exact solution.
 * mpicc -O2 -o stencil examples/stencil.c -lm && hort run -n 4 -- ./stencil [CELLS_PER_RANK] [STEPS] */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  int rank, size;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  int cells = argc > 1 ? atoi(argv[1]) : 64, steps = argc > 2 ? atoi(argv[2]) : 2000;
  const double pi = acos(-1.0);
  double dx = 1.0 / (double)(cells * size + 1), dt = 0.4 * dx * dx;
  double *now = calloc((size_t)cells + 2, sizeof *now), *next = calloc((size_t)cells + 2, sizeof *next);
  if (!now || !next) MPI_Abort(MPI_COMM_WORLD, 2);
  for (int i = 1; i <= cells; i++) now[i] = sin(pi * (rank * cells + i) * dx);

  int left = rank > 0 ? rank - 1 : MPI_PROC_NULL, right = rank < size - 1 ? rank + 1 : MPI_PROC_NULL;
  for (int step = 0; step < steps; step++) {
    MPI_Sendrecv(&now[1], 1, MPI_DOUBLE, left, 0, &now[cells + 1], 1, MPI_DOUBLE, right, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    MPI_Sendrecv(&now[cells], 1, MPI_DOUBLE, right, 1, &now[0], 1, MPI_DOUBLE, left, 1, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    for (int i = 1; i <= cells; i++) next[i] = now[i] + 0.4 * (now[i - 1] - 2.0 * now[i] + now[i + 1]);
    double *swap = now;
    now = next;
    next = swap;
  }

  /* A sine is an eigenvector of the discrete operator, so the exact discrete answer is known. */
  double factor = pow(1.0 - 1.6 * pow(sin(pi * dx / 2.0), 2), steps), error = 0.0, largest = 0.0;
  for (int i = 1; i <= cells; i++) error = fmax(error, fabs(now[i] - factor * sin(pi * (rank * cells + i) * dx)));
  MPI_Allreduce(&error, &largest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  if (rank == 0) printf("stencil: %d ranks, %d steps, t=%.6f, largest error %.2e\n", size, steps, steps * dt, largest);
  free(now);
  free(next);
  MPI_Finalize();
  return largest > 1e-10;
}
