#!/bin/bash
# run.sh: measures weir beside what people use instead.
#
#   test/bench/run.sh                 everything: about 20 minutes
#   test/bench/run.sh --quick         less of everything: 2 to 3 minutes
#   test/bench/run.sh pause ...       what pausing costs: pause.sh
#   test/bench/run.sh consume ...     what consuming costs: consume.sh
#   test/bench/run.sh --only NAME     one workload; a list with --list
#   test/bench/run.sh --rounds N      instead of 5 (quick: 2)
#   test/bench/run.sh --sides "A B"   only these sides
#   test/bench/run.sh --dir DIR       data there instead of in $TMPDIR or /tmp
#   test/bench/run.sh --out DIR       results there instead of in results/
#   test/bench/run.sh --no-build      take the extension that is installed
#
# Every workload runs side after side, and that several times over, beginning
# with another side each time, so that whatever else the machine does meets all
# of them.  Writes NAME.tsv (one line per run), NAME.md (the report) and
# NAME.log, where NAME is "full", "quick", or that with the workload.
#
# As root it installs through apt-get what is missing and runs the servers as
# an unprivileged user.  A side that is not there is left out and named.

set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/servers.sh"

workloads="single1 single16 single16p4 batch100 batch1000 bulk
read_server read_chunks read_libpq seek memory dead_tail hold"
workloads=${workloads//$'\n'/ }

usage()
{
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

if [ "${1:-}" = pause ]; then
	exec "$here/pause.sh" "${@:2}"
fi
if [ "${1:-}" = consume ]; then
	exec "$here/consume.sh" "${@:2}"
fi
options="$*"
mode=full only="" rounds="" sides="" no_build="" out=$here/results base=${TMPDIR:-/tmp}
while [ $# -gt 0 ]; do
	case $1 in
		--quick) mode=quick ;;
		--only) only=$2; shift ;;
		--rounds) rounds=$2; shift ;;
		--sides) sides=$2; shift ;;
		--dir) base=$2; shift ;;
		--out) out=$2; shift ;;
		--no-build) no_build=yes ;;
		--list) tr " " "\n" <<<"$workloads"; exit ;;
		-h | --help) usage; exit ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
case " $workloads " in
	*" ${only:-bulk} "*) ;;
	*) fail "no such workload: $only; there are: $workloads" ;;
esac

# How much of everything.
if [ $mode = quick ]; then
	: "${rounds:=2}"
	seconds=1 warmup=0.3 bulk=300000 read=300000 big=2000000 dead=200000 wal=300
else
	: "${rounds:=5}"
	seconds=3 warmup=0.5 bulk=1000000 read=1000000 big=10000000 dead=1000000 wal=2000
fi
options="${options:-none}; $rounds rounds, $seconds s a run"

name=$mode${only:+-$only}
mkdir -p "$out" || fail "cannot write to $out"
log=$out/$name.log
raw=$out/$name.tsv
: >"$log"
: >"$raw"

tmp=$(mktemp -d "$base/weir-bench.XXXXXX") || fail "no temporary directory"
if [ ${#tmp} -gt 80 ]; then
	rmdir "$tmp"
	fail "the path of the temporary directory is too long for a socket: $tmp"
fi
client=
pg_bin=

stop()
{
	[ -z "$client" ] || kill "$client" 2>/dev/null
	stop_servers
}
trap stop EXIT
trap 'exit 130' INT TERM HUP
mkdir "$tmp/socket" "$tmp/redis"
choose_user
[ -z "$server_user" ] || chown -R "$server_user" "$tmp"
# The client reads /proc and the sockets as whoever calls this.
chmod 711 "$tmp"

# --- runs ---------------------------------------------------------------------

wanted()
{
	local side

	case $1 in
		pgq) [ -n "$have_pgq" ] || return 1 ;;
		redis) [ -n "$have_redis" ] || return 1 ;;
		weir) [ -n "$have_weir" ] || return 1 ;;
	esac
	[ -n "$sides" ] || return 0
	for side in $sides; do
		[ "$side" != "$1" ] || return 0
	done
	return 1
}

# run ROUND WORKLOAD SIDE ARGUMENT ...: one run, one line.
run()
{
	local round=$1 workload=$2 side=$3 line start=$SECONDS
	shift 3

	set -- "${@//\%/$side}"
	[ "$side" != redis ] || set -- "$@" redis="$redis"
	# The size of a piece is what suits each side best; PgQ, which is slow, gets
	# fewer messages.
	case $workload.$side in
		bulk.copy_*) set -- "$@" batch=400 ;;
		bulk.pgq) set -- "$@" batch=1000 count=$((bulk / 5)) ;;
		bulk.redis) set -- "$@" batch=1000 ;;
		bulk.weir) set -- "$@" batch="${WEIR_BULK_BATCH:-1000}" ;;
	esac
	# In the background, so that a signal does not have to wait for its end.
	timeout --foreground 300 "$tmp/load" "$1" "$side" "${@:2}" >"$tmp/line" 2>"$tmp/error" &
	client=$!
	if wait "$client"; then
		line=$(cat "$tmp/line")
	else
		line="error=$(tr "\n\t" "  " <"$tmp/error")"
		[ -s "$tmp/error" ] || line="error=ended without a message, or not within 300 s"
	fi
	client=
	cat "$tmp/error" >>"$log"
	printf '%s\t%s\t%s\t%s\n' "$workload" "$side" "$round" "$line" >>"$raw"
	printf '%-12s %-14s %s  %s\n' "$workload" "$side" "$round" \
		"$(printf '%s' "$line" | tr '\t' ' ' | cut -c 1-100)" >&2
	printf '%s %s %s: %s s\n' "$workload" "$side" "$round" $((SECONDS - start)) >>"$log"
}

# compete WORKLOAD "SIDE ..." ARGUMENT ...: all rounds of all sides, each round
# beginning with another one.  A % in an argument is the name of the side.
compete()
{
	local workload=$1 list=() side round i

	for side in $2; do
		if wanted "$side"; then
			list+=("$side")
		fi
	done
	shift 2
	for round in $(seq "$rounds"); do
		for i in "${!list[@]}"; do
			side=${list[(i + round - 1) % ${#list[@]}]}
			run "$round" "$workload" "$side" "$@"
		done
	done
}

all_single="plain_btree plain_heap pgq redis weir"
all_batch="plain_btree plain_heap copy_btree copy_heap pgq redis weir"

# Rows to read, made once: fill TABLE SIDE COUNT.
fill()
{
	local side=$2

	if [ "$side" != weir ]; then
		side=copy_${side#plain_}
	fi
	"$tmp/load" bulk "$side" table="$1" count="$3" batch=1000 keep=1 >>"$log" 2>"$tmp/error" || {
		say "cannot fill $1: $(cat "$tmp/error")"
		return 1
	}
	sql "VACUUM ANALYZE $1" && sql CHECKPOINT
}

# over TABLE COUNT WORKLOAD "SIDE ..." ARGUMENT ...: like compete, on tables
# TABLE_SIDE of COUNT messages, which are made at the first need.
over()
{
	local prefix=$1 count=$2 workload=$3 sides_here=$4 side
	shift 4

	for side in $sides_here; do
		wanted "$side" || continue
		case " ${filled:-} " in
			*" ${prefix}_$side "*) ;;
			*) fill "${prefix}_$side" "$side" "$count" && filled="${filled:-} ${prefix}_$side" ;;
		esac
	done
	compete "$workload" "$sides_here" "$1" table="${prefix}_%" count="$count" "${@:2}"
}

drop_filled()
{
	local table

	for table in ${filled:-}; do
		sql "DROP TABLE $table"
	done
	filled=
}

# Once is enough where nothing but the state of one backend is looked at.
once()
{
	local rounds=1

	"$@"
}

workload()
{
	local timed=(seconds="$seconds" warmup="$warmup")

	case $1 in
		single1) compete "$1" "$all_single" publish clients=1 "${timed[@]}" ;;
		single16) compete "$1" "$all_single" publish clients=16 "${timed[@]}" ;;
		single16p4) compete "$1" "$all_single" publish clients=16 partitions=4 "${timed[@]}" ;;
		batch100) compete "$1" "$all_batch" publish clients=1 batch=100 "${timed[@]}" ;;
		batch1000) compete "$1" "$all_batch" publish clients=1 batch=1000 "${timed[@]}" ;;
		bulk) compete "$1" "copy_heap copy_heap_seq copy_btree pgq redis weir" bulk count="$bulk" ;;
		read_server) over r "$read" "$1" "plain_heap weir" read_server seconds="$seconds" ;;
		read_chunks) over r "$read" "$1" "plain_btree weir" read_chunks fetch=10000 seconds="$seconds" ;;
		read_libpq) over r "$read" "$1" "plain_btree weir" read_libpq fetch=1000 seconds="$seconds" ;;
		seek) over big "$big" "$1" "plain_btree weir" seek probes=1000 ;;
		memory) once over big "$big" "$1" "plain_btree weir" memory fetch=1000 ;;
		dead_tail) compete "$1" "plain_btree weir" dead_tail probes=1000 count="$dead" batch=1000 fetch=1000 ;;
		hold) compete "$1" weir hold clients=16 fetch=100000 "${timed[@]}" ;;
	esac
}

# --- the whole ----------------------------------------------------------------

find_programs
install_weir
build_client
start_postgres
if [ -n "$have_weir" ]; then
	sql "CREATE EXTENSION weir" 2>>"$log" || { have_weir=; tail -n 3 "$log" >&2; }
fi
if [ -n "$have_pgq" ]; then
	sql "CREATE EXTENSION pgq" 2>>"$log" || have_pgq=
fi
[ -z "$have_redis" ] || start_redis
for side in weir pgq redis; do
	have=have_$side
	if [ -z "${!have}" ]; then
		say "side $side is not available and is skipped"
		printf '%s\t%s\t%s\t%s\n' all "$side" 0 "skipped=not available, see $name.log" >>"$raw"
	fi
done
facts >"$tmp/facts"
# WAL files for all runs to come: making them is not what is measured.
sql "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1000000))) FROM generate_series(1, $wal)" >/dev/null
sql "CHECKPOINT" && sql "CHECKPOINT"

for work in ${only:-$workloads}; do
	case $work in
		seek | memory) ;;
		*) case " ${filled:-} " in *" big_"*) drop_filled ;; esac ;;
	esac
	case $work in
		seek) drop_filled ;;
	esac
	workload "$work"
done
drop_filled
printf 'duration\t%s s\n' "$SECONDS" >>"$tmp/facts"
grep -E 'PANIC|FATAL' "$tmp/postgres.log" >>"$log" && say "the server complained, see $log"

perl "$here/report.pl" "$mode" "$tmp/facts" "$raw" >"$out/$name.md" || fail "no report"
cat "$out/$name.md"
say "report: $out/$name.md, runs: $raw"
if grep -q -P '\terror=' "$raw"; then
	say "some runs failed"
	exit 1
fi
