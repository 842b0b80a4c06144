/* Compute pi on all ranks: midpoint rule for the integral of 4/(1+x^2) from 0 to 1.
 * mpicc -O2 -o pi examples/pi.c -lm && hort run -n 4 -- ./pi */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  int rank, size, length;
  char host[MPI_MAX_PROCESSOR_NAME];
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Get_processor_name(host, &length);
  printf("rank %d of %d on %s\n", rank, size, host);

  long intervals = argc > 1 ? atol(argv[1]) : 10000000;
  double width = 1.0 / (double)intervals, part = 0.0, value = 0.0;
  for (long i = rank; i < intervals; i += size) {
    double x = ((double)i + 0.5) * width;
    part += 4.0 / (1.0 + x * x);
  }
  part *= width;
  MPI_Reduce(&part, &value, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  int bad = rank == 0 && fabs(value - acos(-1.0)) > 1e-9;
  if (rank == 0) printf("pi is about %.12f\n", value);
  MPI_Finalize();
  return bad;
}
