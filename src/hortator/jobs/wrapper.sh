#!/bin/sh
# Stands between mpirun and each rank:  mpirun ... sh wrapper.sh PROGRAM ARGS...
# Needs a POSIX sh, and taskset for pinning. What it is told comes in these variables, all optional:
#   HORT_RUN_DIR        a folder that the ranks of one worker share
#   HORT_COLLECT        set: a collector reads $HORT_RUN_DIR/collector and carries the ranks' output
#   HORT_STDIN          set: rank 0 reads $HORT_RUN_DIR/stdin (a FIFO); all others read nothing
#   HORT_EXPECT_RANKS   how many ranks there must be
#   HORT_CPUS           CPUs that this worker owns, as in 0-3,8; absent: no pinning
#   HORT_CPUS_PER_RANK  threads that a rank should start (OMP_NUM_THREADS)
#   HORT_GPUS_PER_RANK  set: CUDA_VISIBLE_DEVICES is the worker's and is divided among its ranks
#   HORT_ENV, HORT_ENV_UNSET  what shells lose or add on the way (from enter.py)
# Gives the program HORT_RANK, HORT_LOCAL_RANK, HORT_RANKS, HORT_WORKER. Exits with the program's code, 125 for its own.
set -f
unset IFS

die() { echo "hort: $1" >&2; exit 125; }

rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${PMIX_RANK:-${PALS_RANKID:-${SLURM_PROCID:-}}}}}
size=${OMPI_COMM_WORLD_SIZE:-${PMI_SIZE:-${PALS_NRANKS:-${SLURM_NTASKS:-}}}}
place=${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-${PMI_LOCAL_RANK:-${PALS_LOCAL_RANKID:-${SLURM_LOCALID:-}}}}}
places=${OMPI_COMM_WORLD_LOCAL_SIZE:-${MPI_LOCALNRANKS:-${PMI_LOCAL_SIZE:-${PALS_LOCAL_SIZE:-${SLURM_TASKS_PER_NODE:-}}}}}
places=${places%%[!0-9]*} # Slurm writes 2(x3)

[ -n "$rank" ] || die "no rank: neither OMPI_COMM_WORLD_RANK, PMI_RANK, PMIX_RANK, PALS_RANKID nor SLURM_PROCID is set"
if [ -n "${HORT_EXPECT_RANKS:-}" ] && [ -n "$size" ] && [ "$size" != "$HORT_EXPECT_RANKS" ]; then
	die "rank $rank was started as one of $size, but the job has $HORT_EXPECT_RANKS ranks"
fi
: "${size:=${HORT_EXPECT_RANKS:-1}}" "${place:=0}" "${places:=1}"

export HORT_RANK="$rank" HORT_LOCAL_RANK="$place" HORT_RANKS="$size"
export HORT_WORKER="${HORT_WORKER:-$(uname -n)}"

# block I K WORD...: the part of WORDs that number I of K takes; with fewer words than K some share one. Comma-separated.
block() {
	_i=$1 _k=$2
	shift 2
	_from=$((_i * $# / _k)) _to=$(((_i + 1) * $# / _k)) _list=
	[ "$_to" -gt "$_from" ] || _to=$((_from + 1))
	shift "$_from"
	while [ "$_from" -lt "$_to" ]; do
		_list=$_list,$1 _from=$((_from + 1))
		shift
	done
	echo "${_list#,}"
}

# numbers 0-3,8: 0 1 2 3 8
numbers() {
	IFS=,
	for _part in $1; do
		_n=${_part%-*}
		while [ "$_n" -le "${_part#*-}" ]; do
			printf '%s ' "$_n"
			_n=$((_n + 1))
		done
	done
}

cpus=
if [ -n "${HORT_CPUS:-}" ]; then
	all=$(numbers "$HORT_CPUS")
	count=$(set -- $all; echo $#)
	[ "$count" -lt "$places" ] || cpus=$(block "$place" "$places" $all)
	[ -z "$cpus" ] || taskset -pc "$cpus" $$ >/dev/null 2>&1 || cpus=
fi
if [ -z "${OMP_NUM_THREADS+set}" ] && [ -n "${HORT_CPUS_PER_RANK:-}" ]; then
	export OMP_NUM_THREADS="$HORT_CPUS_PER_RANK"
fi
gpus=
if [ -n "${HORT_GPUS_PER_RANK:-}" ] && [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
	gpus=$(IFS=,; block "$place" "$places" $CUDA_VISIBLE_DEVICES)
	export CUDA_VISIBLE_DEVICES="$gpus"
fi

stdin=/dev/null
if [ "$rank" = 0 ] && [ -n "${HORT_STDIN:-}" ]; then
	stdin=$HORT_RUN_DIR/stdin
	mkfifo -m 600 "$stdin" 2>/dev/null || [ -p "$stdin" ] || die "cannot make $stdin"
fi

# Shells drop variables without a plain name (exported functions) and add some of their own: env puts that right.
if [ -n "${HORT_ENV:-}${HORT_ENV_UNSET:-}" ]; then
	case $1 in *=*) set -- nice -n 0 "$@" ;; esac # env would take such a name for a variable
	eval "set -- env ${HORT_ENV_UNSET:-} ${HORT_ENV:-} "'"$@"'
	unset HORT_ENV HORT_ENV_UNSET
fi

if [ -z "${HORT_COLLECT:-}" ]; then
	exec "$@" <"$stdin"
fi

# The collector learns of the rank by one line, which is atomic up to PIPE_BUF, then opens its two FIFOs.
to=$HORT_RUN_DIR/collector
[ -p "$to" ] || mkfifo -m 600 "$to" 2>/dev/null || [ -p "$to" ] || die "cannot make $to"
mkfifo -m 600 "$HORT_RUN_DIR/$rank.out" "$HORT_RUN_DIR/$rank.err" || die "cannot make $HORT_RUN_DIR/$rank.out"
# A program of MPICH's under Open MPI's mpirun would think that it is alone, once for each rank, and end well. So it is
# given a process manager that never answers: what it asked is its confession.
pmi=
if [ -n "${OMPI_COMM_WORLD_RANK:-}" ] && [ -z "${PMI_FD:-}${PMI_PORT:-}${PMI_RANK:-}" ]; then
	pmi=$HORT_RUN_DIR/$rank.pmi
	export PMI_FD=9 MPIR_CVAR_PMI_VERSION=1
fi
# The inner shell becomes the program, so that the pid it tells is the program's. In the foreground, because a shell
# starts background programs with interrupts ignored; should this shell alone be killed, the collector ends the program.
{
	sh -c '
		printf "start %s %s %s %s %s %s %s\n" "$1" "$2" $$ "$PPID" "$3" "${4:--}" "${5:--}" >"$6"
		in=$7 out=$8 pmi=$9
		shift 9
		[ -z "$pmi" ] || exec 9<>"$pmi" # else 9 may be the socket of a real one
		exec "$@" <"$in" >"$out.out" 2>"$out.err"
	' sh "$rank" "$place" "$PPID" "$cpus" "$gpus" "$to" "$stdin" "$HORT_RUN_DIR/$rank" "$pmi" "$@"
} 2>/dev/null
code=$?
if [ -n "$pmi" ] && [ -s "$pmi" ]; then
	code=125
	echo hort-stranger >&2 # for the launcher
fi
printf 'exit %s %s\n' "$rank" "$code" >"$to"
[ "$code" = 0 ] || echo "hort-exit $rank $code" >&2 # for the launcher
exit "$code"
