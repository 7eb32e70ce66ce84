#!/bin/bash
# consume.sh: what consuming costs, and how long it takes until a message is there.
#
#   test/bench/consume.sh                 everything: about 10 minutes
#   test/bench/consume.sh --quick         less of everything: about 1 minute
#   test/bench/consume.sh --only PART     one part; a list with --list
#   test/bench/consume.sh --rounds N      instead of 3 (quick: 1); 2 more of what is short
#   test/bench/consume.sh --dir DIR       data there instead of in $TMPDIR or /tmp
#   test/bench/consume.sh --out DIR       results there instead of in results/
#   test/bench/consume.sh --no-build      take the extension that is installed
#
# On a private server with weir preloaded, beside a private Redis, fsync on.
# Sides run in turn, each round beginning with another one.  Writes consume.tsv
# (one line per run), consume.md (the report with the bars) and consume.log;
# with --quick consume-quick.*, with --only that and -PART.
#
# As root it installs through apt-get what is missing and runs the servers as
# an unprivileged user.  A side that is not there is left out and named, and so
# is what needs a function that the extension does not have.

set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/servers.sh"

parts="subscribed wait listen batch parallel held idle"

usage()
{
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
}

options="$*"
mode=consume only="" rounds="" no_build="" out=$here/results base=${TMPDIR:-/tmp}
while [ $# -gt 0 ]; do
	case $1 in
		--quick) mode=consume-quick ;;
		--only) only=$2; shift ;;
		--rounds) rounds=$2; shift ;;
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
	*" ${only:-batch} "*) ;;
	*) fail "no such part: $only; there are: $parts" ;;
esac

# How much of everything.
if [ $mode = consume-quick ]; then
	: "${rounds:=1}"
	seconds=1 warmup=0.3 turns=2 phase=0.3 count=200000 stock=40000 moves=4000 sessions=200 wal=300 extra=0 pieces=4
else
	: "${rounds:=3}"
	seconds=5 warmup=1 turns=6 phase=0.8 count=1000000 stock=200000 moves=60000 sessions=1000 wal=2000 extra=2 pieces=10
fi
options="${options:-none}; $rounds rounds, $seconds s a run"

name=$mode${only:+-$only}
mkdir -p "$out" || fail "cannot write to $out"
log=$out/$name.log
raw=$out/$name.tsv
: >"$log"
: >"$raw"

tmp=$(mktemp -d "$base/weir-bench.XXXXXX") || fail "no temporary directory"
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

# The settings of the other benchmarks, but for what is measured here.
eval "$(declare -f postgres_settings | sed '1s/postgres_settings/bench_settings/')"
postgres_settings()
{
	bench_settings | grep -v max_connections
	echo "max_connections = $((sessions + 100))"
	echo "shared_preload_libraries = 'weir'"
}

# --- runs ---------------------------------------------------------------------

# run ROUND PART LABEL WORKLOAD SIDE ARGUMENT ...: one run, one line.
run()
{
	local round=$1 part=$2 label=$3 line start=$SECONDS
	shift 3

	[ "$2" != redis ] || set -- "$@" redis="$redis"
	# In the background, so that a signal does not have to wait for its end.
	timeout --foreground 600 "$tmp/load" "$@" >"$tmp/line" 2>"$tmp/error" &
	client=$!
	if wait "$client"; then
		line=$(cat "$tmp/line")
	else
		line="error=$(tr "\n\t" "  " <"$tmp/error")"
		[ -s "$tmp/error" ] || line="error=ended without a message, or not within 600 s"
	fi
	client=
	cat "$tmp/error" >>"$log"
	printf '%s\t%s\t%s\t%s\n' "$part" "$label" "$round" "$line" >>"$raw"
	printf '%-14s %-14s %s  %s\n' "$part" "$label" "$round" \
		"$(printf '%s' "$line" | tr '\t' ' ' | cut -c 1-120)" >&2
	printf '%s %s %s: %s s\n' "$part" "$label" "$round" $((SECONDS - start)) >>"$log"
}

have()
{
	case $1 in
		pgq) [ -n "$have_pgq" ] ;;
		redis) [ -n "$have_redis" ] ;;
	esac
}

# compete PART "LABEL=WORKLOAD:SIDE[,ARGUMENT ...] ..." ARGUMENT ...: all rounds
# of all of them, each round beginning with another one.  A % in an argument is
# the round, an @ the side.
compete()
{
	local part=$1 list=() entry round i label work side args
	shift

	for entry in $1; do
		side=${entry#*:}
		have "${side%%,*}" && list+=("$entry")
	done
	shift
	for round in $(seq "$rounds"); do
		for i in "${!list[@]}"; do
			entry=${list[(i + round - 1) % ${#list[@]}]}
			label=${entry%%=*}
			work=${entry#*=}
			work=${work%%:*}
			side=${entry#*:}
			args=${side#"${side%%,*}"}
			side=${side%%,*}
			# None of them has a blank in it.
			run "$round" "$part" "$label" "$work" "$side" \
				$(sed "s/%/$round/g; s/@/$side/g" <<<"${args//,/ } $*")
		done
	done
}

# fill TABLE SIDE PARTITIONS: $count messages, PgQ a fifth of them; VACUUM has
# then read all of them, so that nobody reads from disk who comes first.
fill()
{
	local side=$2 work=bulk number=$count

	case $side in
		plain_btree) side=copy_btree ;;
		pgq) work=consume_fill number=$((count / 5)) ;;
	esac
	"$tmp/load" $work $side table="$1" partitions="$3" count="$number" batch=1000 \
		keep=1 >>"$log" 2>"$tmp/error" ||
		{ say "cannot fill $1: $(cat "$tmp/error")"; return 1; }
	sql "VACUUM ANALYZE" && sql CHECKPOINT
}

# --- parts --------------------------------------------------------------------

# All states are in one run, by turns.
part_subscribed()
{
	local rounds=1

	compete subscribed "weir=subscribed:weir plain_notify=subscribed:plain_notify" \
		clients=16 probes=$turns seconds=$phase warmup=0.2
}

part_wait()
{
	compete wait "weir=fetch_wait:weir redis=fetch_wait:redis" \
		clients=8 rate=1000 seconds=$seconds warmup=$warmup
}

part_listen()
{
	local rate

	for rate in 1000 4000; do
		compete listen$rate "weir=listen:weir plain_notify=listen:plain_notify pgq=listen:pgq" \
			clients=16 rate=$rate seconds=$seconds warmup=$warmup
	done
}

# Each run consumes a piece of them, and the next one goes on: what else the
# machine does meets all sides.
part_batch()
{
	local side work group each=$((count / pieces)) rounds=$pieces

	for side in weir plain_btree pgq; do
		! have $side || fill batch_$side $side 1
	done
	for work in consume consume_server; do
		group=c
		[ $work = consume ] || group=s
		compete ${work/consume/batch} "weir=$work:weir,count=$each plain_btree=$work:plain_btree,count=$each pgq=$work:pgq,count=$((each / 5))" \
			table=batch_@ group=$group fetch=1000
	done
	sql "DROP TABLE IF EXISTS batch_weir, batch_plain_btree, batch_plain_btree_position"
	! have pgq || "$tmp/load" drop pgq table=batch_pgq
}

part_parallel()
{
	local rounds=$((rounds + extra))

	fill together weir 4
	compete parallel "fetch_1=parallel:weir,clients=1,group=f1-% fetch_4=parallel:weir,clients=4,group=f4-% member_1=members:weir,clients=1,group=m1-% member_4=members:weir,clients=4,group=m4-%" \
		table=together partitions=4 count=$count fetch=1000
	sql "DROP TABLE together"
}

part_held()
{
	local rounds=1

	compete held "weir=held:weir plain_row=held:plain_btree" \
		count=$stock probes=$moves rate=1000 clients=2 seconds=$((seconds / 2 + 1)) warmup=$warmup
}

part_idle()
{
	local rounds=$((rounds > 2 ? 2 : rounds))

	compete idle "weir_10=idle_sessions:weir,sessions=10 weir_$sessions=idle_sessions:weir,sessions=$sessions notify_10=idle_sessions:plain_notify,sessions=10 notify_$sessions=idle_sessions:plain_notify,sessions=$sessions" \
		clients=8 rate=1000 seconds=$seconds warmup=$warmup
}

# --- the whole ----------------------------------------------------------------

find_programs
install_weir
[ -n "$have_weir" ] || fail "weir could not be installed, see $log"
build_client
start_postgres
sql "CREATE EXTENSION weir" || fail "CREATE EXTENSION failed"
if [ -n "$have_pgq" ]; then
	sql "CREATE EXTENSION pgq" 2>>"$log" || have_pgq=
fi
[ -z "$have_redis" ] || start_redis
for side in pgq redis; do
	have $side || {
		say "side $side is not available and is skipped"
		printf '%s\t%s\t%s\t%s\n' all $side 0 "skipped=not available, see $name.log" >>"$raw"
	}
done
facts >"$tmp/facts"
# WAL files for all runs to come: making them is not what is measured.
sql "SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1000000))) FROM generate_series(1, $wal)" >/dev/null
sql "CHECKPOINT" && sql "CHECKPOINT"

for part in ${only:-$parts}; do
	"part_$part"
done
printf 'duration\t%s s\n' "$SECONDS" >>"$tmp/facts"
grep -E 'PANIC|FATAL|WARNING|ERROR' "$tmp/postgres.log" | sort | uniq -c | sort -rn | head -n 20 >>"$log"

perl "$here/report.pl" "$mode" "$tmp/facts" "$raw" >"$out/$name.md" || fail "no report"
cat "$out/$name.md"
say "report: $out/$name.md, runs: $raw"
if grep -q -P '\terror=' "$raw"; then
	say "some runs failed"
	exit 1
fi
