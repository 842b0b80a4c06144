! Heat in a rod with halo exchange, checked against the exact discrete solution; reads cells and steps from stdin.
! mpifort -O2 -o stencil_f examples/stencil.f90 && echo 64 2000 | hort run -n 4 -- ./stencil_f
program stencil
  use mpi
  implicit none
  integer :: rank, ranks, cells, steps, step, i, left, right, error, input(2)
  double precision :: dx, factor, worst, largest
  double precision, parameter :: pi = acos(-1.0d0)
  double precision, allocatable :: now(:), next(:)

  call MPI_Init(error)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, error)
  call MPI_Comm_size(MPI_COMM_WORLD, ranks, error)
  if (rank == 0) read (*, *) input
  call MPI_Bcast(input, 2, MPI_INTEGER, 0, MPI_COMM_WORLD, error)
  cells = input(1)
  steps = input(2)
  dx = 1.0d0 / (cells * ranks + 1)
  allocate (now(0:cells + 1), next(0:cells + 1))
  now = 0
  next = 0
  do i = 1, cells
    now(i) = sin(pi * (rank * cells + i) * dx)
  end do

  left = merge(rank - 1, MPI_PROC_NULL, rank > 0)
  right = merge(rank + 1, MPI_PROC_NULL, rank < ranks - 1)
  do step = 1, steps
    call MPI_Sendrecv(now(1), 1, MPI_DOUBLE_PRECISION, left, 0, now(cells + 1), 1, MPI_DOUBLE_PRECISION, right, 0, &
                      MPI_COMM_WORLD, MPI_STATUS_IGNORE, error)
    call MPI_Sendrecv(now(cells), 1, MPI_DOUBLE_PRECISION, right, 1, now(0), 1, MPI_DOUBLE_PRECISION, left, 1, &
                      MPI_COMM_WORLD, MPI_STATUS_IGNORE, error)
    next(1:cells) = now(1:cells) + 0.4d0 * (now(0:cells - 1) - 2 * now(1:cells) + now(2:cells + 1))
    now = next
  end do

  factor = (1 - 1.6d0 * sin(pi * dx / 2)**2)**steps
  worst = 0
  do i = 1, cells
    worst = max(worst, abs(now(i) - factor * sin(pi * (rank * cells + i) * dx)))
  end do
  call MPI_Allreduce(worst, largest, 1, MPI_DOUBLE_PRECISION, MPI_MAX, MPI_COMM_WORLD, error)
  if (rank == 0) print '(a,i0,a,i0,a,es9.2)', 'stencil: ', ranks, ' ranks, ', steps, ' steps, largest error ', largest
  call MPI_Finalize(error)
  if (largest > 1d-10) stop 1
end program stencil
