#!/bin/bash
# pause.sh: what pausing costs others, and what it spares.
#
#   test/bench/pause.sh                 everything: about 15 minutes
#   test/bench/pause.sh --quick         less of everything: about 5 minutes
#   test/bench/pause.sh --only NAME     one part; a list with --list
#   test/bench/pause.sh --streams N     sparse: N streams instead of 2000
#   test/bench/pause.sh --dir DIR       data there instead of in $TMPDIR or /tmp
#   test/bench/pause.sh --out DIR       results there instead of in results/
#   test/bench/pause.sh --no-build      take the extension that is installed
#
# On private servers with weir preloaded, all with the same settings, fsync on.
# Writes pause.tsv (one line per run), pause.md (the report with the bars) and
# pause.log; with --only pause-NAME.*.
#
# As root it installs through apt-get what is missing and runs the servers as
# an unprivileged user.

set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/servers.sh"

parts="beside drain held wake cycles plan letgo sparse log"

usage()
{
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

options="${*:-none}"
only="" streams=2000 quick="" no_build="" out=$here/results base=${TMPDIR:-/tmp}
while [ $# -gt 0 ]; do
	case $1 in
		--quick) quick=yes ;;
		--only) only=$2; shift ;;
		--streams) streams=$2; shift ;;
		--dir) base=$2; shift ;;
		--out) out=$2; shift ;;
		--no-build) no_build=yes ;;
		--list) tr " " "\n" <<<"$parts"; exit ;;
		-h | --help) usage; exit ;;
		*) usage >&2; exit 2 ;;
	esac
	shift
done
case " $parts " in
	*" ${only:-log} "*) ;;
	*) fail "no such part: $only; there are: $parts" ;;
esac

# How much of everything.
active=100
rounds=6 seconds=6 pauses=15 attempts=4 wakes=200 cycles=1000 plans=300 partitions=1000
starts=7 rate_rounds=5 idle=60 events=10000
if [ -n "$quick" ]; then
	rounds=2 seconds=3 pauses=6 attempts=2 wakes=40 cycles=200 plans=100 partitions=200
	starts=3 rate_rounds=3 idle=20 events=2000
fi
[ "$streams" -gt $active ] || fail "more than $active streams are needed"

name=pause${only:+-$only}
mkdir -p "$out" || fail "cannot write to $out"
log=$out/$name.log
raw=$out/$name.tsv
: >"$log"
: >"$raw"

tmp=$(mktemp -d "$base/weir-bench.XXXXXX") || fail "no temporary directory"
client=
pg_bin=
root_tmp=$tmp
failures=0

stop_all()
{
	[ -z "$client" ] || kill "$client" 2>/dev/null
	for server in a b c d; do
		server_stop $server immediate
	done
	allow_daemons
	rm -rf "$root_tmp"
}

# --- servers: $tmp/NAME is the data, $tmp/socket-NAME the socket -----------------

use()
{
	export PGHOST=$tmp/socket-$1
}

# The settings of the other benchmarks, but for what is measured here.
eval "$(declare -f postgres_settings | sed '1s/postgres_settings/bench_settings/')"
postgres_settings()
{
	bench_settings | grep -v max_connections
	echo "max_connections = 100"
	echo "shared_preload_libraries = 'weir'"
}

server_make()
{
	mkdir "$tmp/socket-$1"
	[ -z "$server_user" ] || chown "$server_user" "$tmp/socket-$1"
	as_user "$pg_bin/initdb" -D "$tmp/$1" -U postgres -A trust -N --locale=C -E UTF8 >>"$log" 2>&1 ||
		fail "initdb failed, see $log"
	{
		postgres_settings
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$tmp/socket-$1'"
		echo "port = 5432"
		echo "logging_collector = off"
	} >>"$tmp/$1/postgresql.conf"
	server_start "$1"
	use "$1"
	sql "CREATE EXTENSION weir" || fail "CREATE EXTENSION failed"
}

server_start()
{
	as_user "$pg_bin/pg_ctl" -D "$tmp/$1" -l "$tmp/$1.log" -w -t 120 start >>"$log" 2>&1 ||
		{ tail -n 5 "$tmp/$1.log" >&2; fail "PostgreSQL does not start"; }
}

server_stop()
{
	if [ -s "$tmp/$1/postmaster.pid" ]; then
		as_user "$pg_bin/pg_ctl" -D "$tmp/$1" -m "${2:-fast}" -w -t 120 stop >>"$log" 2>&1
		cat "$tmp/$1.log" >>"$log"
	fi
}

# --- runs ----------------------------------------------------------------------

# put PART LINE: one line of the raw results
put()
{
	printf '%s\t%s\n' "$1" "$2" >>"$raw"
	printf '%s: %s\n' "$1" "$(tr '\t' ' ' <<<"$2")" >&2
}

# run PART WORKLOAD ARGUMENT ...
run()
{
	local part=$1 line
	shift

	timeout --foreground 600 "$tmp/load" "$1" weir "${@:2}" >"$tmp/line" 2>"$tmp/error" &
	client=$!
	if wait "$client"; then
		line=$(cat "$tmp/line")
	else
		line="error=$(tr '\n\t' '  ' <"$tmp/error")"
		failures=$((failures + 1))
	fi
	client=
	cat "$tmp/error" >>"$log"
	put "$part" "$line"
}

# What is measured here is a length of time, or asked for again after one.
wait_seconds()
{
	read -r -t "$1" <> <(:) || true
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# first PART SERVER STREAM: starts a server that is down; until the first publish
first()
{
	local since

	use "$2"
	since=$(date +%s%N)
	as_user "$pg_bin/pg_ctl" -D "$tmp/$2" -l "$tmp/$2.log" -W start >>"$log" 2>&1
	run "$1" pause_first table="$3" since="$since"
	# Until it can be stopped.
	as_user "$pg_bin/pg_ctl" -D "$tmp/$2" -w status >/dev/null || fail "the server is gone"
}

wait_settled()
{
	local deadline=$((SECONDS + $1))

	until [ "$(sql "SELECT NOT EXISTS (SELECT FROM weir.partition WHERE NOT settled) AND NOT EXISTS (SELECT FROM weir.resume_request)")" = t ]; do
		if [ $SECONDS -ge $deadline ]; then
			put "$2" "error=not settled within $1 s: $(sql "SELECT count(*) FROM weir.partition WHERE NOT settled") partitions left"
			failures=$((failures + 1))
			return 1
		fi
		wait_seconds 0.2
	done
	return 0
}

keeper_pid()
{
	sql "SELECT pid FROM weir.workers WHERE kind = 'keeper'"
}

# Nanoseconds of CPU time.
cpu_of()
{
	cut -d ' ' -f 1 "/proc/$1/schedstat"
}

# --- parts -----------------------------------------------------------------------

part_beside() { run beside pause_beside table=beside clients=$rounds seconds=$seconds; }
part_drain() { run drain pause_drain table=drain probes=$pauses; }
part_held() { run held pause_held table=held probes=$attempts; }
part_wake() { run wake pause_wake table=wake probes=$wakes batch=4; }
part_cycles() { run cycles pause_cycles table=cycles count=$cycles; }

part_plan()
{
	local begin created paused

	begin=$(now_ms)
	sql "SELECT stream_create('big', $partitions)" >/dev/null
	created=$(($(now_ms) - begin))
	sql "SELECT stream_create('small', 10)" >/dev/null
	begin=$(now_ms)
	sql "SELECT stream_pause('big', ARRAY(SELECT generate_series(10, $partitions - 1)))" >/dev/null
	paused=$(($(now_ms) - begin))
	wait_settled 600 plan_make &&
		put plan_make "partitions=$partitions	create_ms=$created	pause_ms=$paused	detached_ms=$(($(now_ms) - begin))"
	run plan pause_plan table=big table_small=small probes=$plans
}

# The files of a partition that a process holds open.
open_files()
{
	local link count=0

	for link in "/proc/$1/fd"/*; do
		case " $2 " in
			*" $(readlink "$link" 2>/dev/null | sed 's/.*\///; s/[._].*//') "*) count=$((count + 1)) ;;
		esac
	done
	echo $count
}

part_letgo()
{
	local nodes keeper dirty names="" before="" after plan pid kind

	sql "CREATE EXTENSION IF NOT EXISTS pg_buffercache" || return
	sql "SELECT stream_create('letgo', 2)" >/dev/null
	sql "CREATE INDEX ON letgo (key)"
	# A session that publishes and stays.
	coproc SESSION { "$pg_bin/psql" -X -q -A -t; }
	echo "SELECT count(*) FROM stream_publish_batch('letgo', array_fill('{\"a\": \"some text\"}'::text, ARRAY[20000]), array_fill('k'::text, ARRAY[20000]), partition => stream_partition_for('letgo', 'k'));
SELECT pg_backend_pid();" >&"${SESSION[1]}"
	read -r _ <&"${SESSION[0]}"
	read -r pid <&"${SESSION[0]}"
	names=$(sql "SELECT coalesce(string_agg(DISTINCT pg_relation_filenode(x)::text, ' '), '') FROM weir.partition p JOIN weir.segment g USING (partition) JOIN pg_class c ON c.oid = g.segment, LATERAL (SELECT g.segment::oid UNION SELECT c.reltoastrelid UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (g.segment::oid, c.reltoastrelid)) t(x) WHERE p.stream = 'letgo'::regclass AND p.number = stream_partition_for('letgo', 'k')")
	nodes=${names// /,}
	keeper=$(keeper_pid)
	dirty="SELECT count(*) FILTER (WHERE isdirty) FROM pg_buffercache WHERE relfilenode IN ($nodes)"
	plan="SELECT count(*) FROM (SELECT stream_partition_for('letgo', 'k') AS k) x, weir.partition p WHERE p.stream = 'letgo'::regclass AND p.number = x.k AND p.partition IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'letgo'::regclass)"
	describe()
	{
		printf '%s_dirty=%s\t%s_keeper_files=%s\t%s_publisher_files=%s\t%s_plan=%s\t%s_shmem=%s' \
			"$1" "$(sql "$dirty")" "$1" "$(open_files "$keeper" "$names")" \
			"$1" "$(open_files "$pid" "$names")" \
			"$1" "$(sql "EXPLAIN SELECT * FROM letgo" | grep -c 'Scan on')" \
			"$1" "$(sql "SELECT sum(size) FROM pg_shmem_allocations WHERE name LIKE 'weir%'")"
	}
	before=$(describe before)
	sql "SELECT stream_pause('letgo', ARRAY[stream_partition_for('letgo', 'k')])" >/dev/null
	wait_settled 60 letgo
	# The session that published does something else.
	echo "SELECT 1;" >&"${SESSION[1]}"
	read -r _ <&"${SESSION[0]}"
	after=$(describe after)
	put letgo "$before	$after	children=$(sql "$plan")"
	echo '\q' >&"${SESSION[1]}"
	wait "$SESSION_PID" 2>/dev/null
}

# make_streams FROM TO: 500 in each transaction
make_streams()
{
	local i

	for ((i = $1; i <= $2; i += 500)); do
		sql "SELECT count(stream_create('s' || i, 1, 'bytea')) FROM generate_series($i, least($i + 499, $2)) i" >/dev/null || return 1
	done
}

part_sparse()
{
	local begin made paused i server before cpu keeper

	server_stop a
	server_make b
	make_streams 1 $active
	server_make c
	begin=$(now_ms)
	make_streams 1 "$streams"
	made=$(($(now_ms) - begin))
	begin=$(now_ms)
	"$pg_bin/psql" -X -A -t -c "CALL stream_pause_all()" >"$tmp/line" 2>>"$log" || failures=$((failures + 1))
	paused=$(($(now_ms) - begin))
	put sparse_make "streams=$streams	create_ms=$made	pause_all_ms=$paused	said=$(cat "$tmp/line")"
	wait_settled 1800 sparse_make || return
	put sparse_settle "streams=$streams	detached_ms=$(($(now_ms) - begin))	detached=$(sql "SELECT count(*) FROM weir.partition p WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = p.partition)")"
	sql "SELECT count(*) FROM generate_series(1, $active) i, LATERAL stream_resume('s' || i)" >/dev/null ||
		failures=$((failures + 1))
	wait_settled 120 sparse_make || return
	for server in b c; do
		use $server
		# Both as after a while of autovacuum.
		sql "VACUUM ANALYZE" && sql CHECKPOINT
		put shmem_$server "bytes=$(sql "SELECT sum(size) FROM pg_shmem_allocations WHERE name LIKE 'weir%'")"
	done
	for ((i = 0; i < rate_rounds; i++)); do
		for server in $([ $((i % 2)) = 0 ] && echo b c || echo c b); do
			use $server
			run rate_$server pause_rate table=s partitions=$active clients=8 seconds=4 warmup=1
		done
	done
	use c
	keeper=$(keeper_pid)
	before=$(cpu_of "$keeper")
	wait_seconds $idle
	cpu=$(($(cpu_of "$keeper") - before))
	put idle "seconds=$idle	cpu_ns=$cpu"
	server_stop b
	server_stop c
	for ((i = 0; i < starts; i++)); do
		for server in $([ $((i % 2)) = 0 ] && echo b c || echo c b); do
			first start_$server $server s1
			server_stop $server
		done
	done
	rm -rf "$tmp/b" "$tmp/c" "$tmp/socket-b" "$tmp/socket-c"
	server_start a
	use a
}

part_log()
{
	local i server

	sql "SELECT stream_create('logged', 1, 'bytea')" >/dev/null
	server_stop a
	# The same once more, and there the cycles.
	cp -a "$tmp/a" "$tmp/d"
	mkdir "$tmp/socket-d"
	[ -z "$server_user" ] || chown "$server_user" "$tmp/socket-d"
	sed -i 's/socket-a/socket-d/' "$tmp/d/postgresql.conf"
	server_start d
	use d
	i=$(now_ms)
	PGOPTIONS="-c synchronous_commit=off" sql "DO \$\$ BEGIN FOR i IN 1..$events LOOP PERFORM stream_pause('logged', detach => i % 100 = 0); COMMIT; PERFORM stream_resume('logged'); COMMIT; END LOOP; END \$\$" || failures=$((failures + 1))
	wait_settled 300 log_make
	put log_make "cycles=$events	ms=$(($(now_ms) - i))	events=$(sql "SELECT count(*) FROM weir.activity")"
	# As autovacuum, which is off here, would have done.
	sql VACUUM
	server_stop d
	for ((i = 0; i < starts; i++)); do
		for server in $([ $((i % 2)) = 0 ] && echo a d || echo d a); do
			first log_$server $server logged
			server_stop $server
		done
	done
	server_start a
	rm -rf "$tmp/d" "$tmp/socket-d"
}

# --- the whole ---------------------------------------------------------------------

trap stop_all EXIT
trap 'exit 130' INT TERM HUP
export PGUSER=postgres PGDATABASE=postgres PGPORT=5432
unset PGOPTIONS PGSERVICE PGPASSWORD
mkdir "$tmp/redis"
choose_user
[ -z "$server_user" ] || chown -R "$server_user" "$tmp"
chmod 711 "$tmp"
find_programs
have_pgq="" have_redis=""
install_weir
[ -n "$have_weir" ] || fail "weir could not be installed, see $log"
build_client
server_make a
facts >"$tmp/facts"
printf 'streams\t%s, %s of them active\n' "$streams" $active >>"$tmp/facts"
for part in ${only:-$parts}; do
	use a
	"part_$part"
done
printf 'duration\t%s s\n' "$SECONDS" >>"$tmp/facts"
grep -E 'PANIC|FATAL|WARNING|ERROR' "$tmp/a.log" | sort | uniq -c | sort -rn | head -n 20 >>"$log"
perl "$here/pause.pl" "$tmp/facts" "$raw" >"$out/$name.md" || fail "no report"
cat "$out/$name.md"
say "report: $out/$name.md, runs: $raw"
[ $failures -eq 0 ] || { say "some runs failed"; exit 1; }
