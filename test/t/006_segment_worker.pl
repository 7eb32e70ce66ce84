# Rolling into the next segment: by a worker, inline without one, by number,
# bytes and age, under concurrent publishers.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('rolls', conf => <<'CONF');
deadlock_timeout = 100ms
max_worker_processes = 8
CONF

sub make
{
	my ($stream, $options, %opt) = @_;
	$node->safe_psql($opt{db} // 'postgres',
		"SELECT stream_create('$stream', @{[ $opt{partitions} // 1 ]}, 'text', '$options')");
	return;
}

# Until somebody waits for a lock on a table of this stream.
sub wait_for_waiter
{
	my ($stream, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node,
		"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
		   AND relation IN (SELECT relid FROM pg_partition_tree('$stream')))", $name);
}

sub rolls
{
	my ($how) = @_;

	# Many clients at each boundary, and no offset is left out.
	make('many', '{"segment_messages": 160}');
	stop_pgbench(
		start_pgbench($node, 16, [ '-t', 100 ], 'one' => q{SELECT stream_publish('many', 'm');}),
		"$how: 16 clients at every boundary");
	is($node->safe_psql('postgres', q{SELECT count(*), min("offset"), max("offset") FROM many}),
		'1600|0|1599', "$how: every offset is used");
	is(segment_count($node, 'many'), '10', "$how: one next segment for each boundary");
	check_clean($node, 'many', "$how: 16 clients");

	# A publisher that stays in its transaction across boundaries.
	make('idle', '{"segment_messages": 10}');
	publish($node, 'idle', [0], 1, 8);
	my $idle = $node->background_psql('postgres');
	$idle->query_safe(q{BEGIN; SELECT stream_publish('idle', 'idle') FROM generate_series(1, 25);});
	$node->safe_psql('postgres', q{SET statement_timeout = '30s';
		SELECT stream_publish('idle', 'other') FROM generate_series(1, 30)});
	is($node->safe_psql('postgres', q{SELECT count(*), stream_high_watermark('idle') FROM idle}),
		'38|8', "$how: others do not wait for one that is idle in its transaction");
	$idle->query_safe('COMMIT;');
	is($node->safe_psql('postgres', q{SELECT count(*), max("offset"), stream_high_watermark('idle') FROM stream_read('idle')}),
		'63|62|63', "$how: all of it after its commit");
	check_clean($node, 'idle', "$how: idle publisher");

	# The same, and it rolls back.
	$idle->query_safe(q{BEGIN; SELECT stream_publish('idle', 'idle') FROM generate_series(1, 25);});
	publish($node, 'idle', [0], 1, 12);
	$idle->query_safe('ROLLBACK;');
	$node->safe_psql('postgres', "VACUUM $_") for split /\n/,
	  $node->safe_psql('postgres', q{SELECT segment FROM weir.segments WHERE stream = 'idle'::regclass});
	publish($node, 'idle', [0], 1, 12);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM stream_read('idle')}), '87', "$how: its segments stay");
	check_clean($node, 'idle', "$how: idle publisher rolled back");
	$idle->quit;

	# A publisher who remembers a segment that others have left before it was
	# full: what he expects is behind him, and must not be written there.
	make('stale', '{"segment_bytes": "64kB"}');
	my $stale = $node->background_psql('postgres', on_error_stop => 0);
	$stale->query_safe(q{SELECT stream_publish('stale', 'first');});
	publish($node, 'stale', [0], 1, 900, pad => 100);
	my $next = 1 + $node->safe_psql('postgres', 'SELECT max("offset") FROM stale_p0_s0');
	my ($out, $error) = $stale->query(
		"\\set VERBOSITY sqlstate\nSELECT stream_publish('stale', 'too late', expected_offset => $next);");
	like($stale->{stderr} . ($out // '') . ($error // ''), qr{WR001}, "$how: nothing is written into a segment that was left");
	$stale->{stderr} = '';
	is($node->safe_psql('postgres', qq{SELECT count(*) FROM stale WHERE "offset" = $next}), '0', "$how: indeed nothing");
	$stale->quit;
	check_clean($node, 'stale', "$how: a publisher with an old target");

	# A stream of this transaction.
	$node->safe_psql('postgres', <<'SQL');
BEGIN;
SELECT stream_create('own', 2, 'text', '{"segment_messages": 10, "partitioner": "explicit"}');
SELECT stream_publish('own', i::text, partition => i % 2) FROM generate_series(1, 70) i;
SELECT * FROM stream_publish_batch('own', array_fill('b'::text, ARRAY[70]), partition => 1);
COMMIT;
SQL
	is(segment_count($node, 'own'), '15', "$how: a stream of the same transaction");
	check_clean($node, 'own', "$how: of the same transaction");
	$node->safe_psql('postgres', 'DROP TABLE many, idle, own, stale');
	return;
}

rolls('not preloaded');

# Somebody holds what the maker needs: it gives up, the publisher waits where
# one sees it, and can be cancelled.
{
	make('held', '{"segment_messages": 10}');
	publish($node, 'held', [0], 1, 10);
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; LOCK TABLE held_p0 IN SHARE UPDATE EXCLUSIVE MODE;');
	fails_with($node, q{SET statement_timeout = '500ms'; SELECT stream_publish('held', 'no')},
		'57014', 'a publisher that waits for a segment can be cancelled');
	fails_with($node, q{SET lock_timeout = '500ms'; SELECT stream_publish('held', 'no')},
		'55P03', 'lock_timeout works');
	my $waiter = psql_job($node, "SELECT stream_publish('held', 'waited');");
	wait_for_waiter('held', 'it waits for a lock');
	$holder->query_safe('COMMIT;');
	finish_job($waiter, 'and goes on when that is free');
	is($node->safe_psql('postgres', q{SELECT count(*), max("offset") FROM held}), '11|10', 'nothing else was written');
	is(segment_count($node, 'held'), '2', 'one segment was made');

	# A publisher in a transaction, CREATE INDEX that waits for it, and then a
	# boundary: whoever holds the lock already does not queue behind it.
	publish($node, 'held', [0], 1, 8);
	$holder->query_safe(q{BEGIN; SELECT stream_publish('held', 'in between');});
	my $index = psql_job($node, "CREATE INDEX ON held (key);");
	wait_until($node, q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND mode = 'ShareLock'},
		'CREATE INDEX waits for a publisher');
	$holder->query_safe(q{SELECT stream_publish('held', 'over the boundary') FROM generate_series(1, 5);});
	$holder->query_safe('COMMIT;');
	finish_job($index, 'CREATE INDEX ends');
	publish($node, 'held', [0], 1, 20);
	check_clean($node, 'held', 'after CREATE INDEX beside a roll');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM weir.segment g
		WHERE g.partition = 'held_p0'::regclass AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = g.segment)}),
		'0', 'every segment has the index');
	$holder->quit;
}

# By bytes, under load.
{
	make('bytes', '{"segment_bytes": "64kB"}', partitions => 2);
	stop_pgbench(
		start_pgbench($node, 8, [ '-t', 150 ],
			'one@4' => q{SELECT stream_publish('bytes', repeat('x', 500));},
			'batch@1' => q{SELECT * FROM stream_publish_batch('bytes', array_fill(repeat('y', 100), ARRAY[30]));},
			'back@1' => "BEGIN;\nSELECT stream_publish('bytes', repeat('x', 300));\nROLLBACK;\n"),
		'rolls by bytes');
	check_clean($node, 'bytes', 'rolled by bytes');
	cmp_ok(segment_count($node, 'bytes'), '>', 8, 'it rolled by bytes');
	# A segment that is full takes nothing more: what the last hold writes, and
	# a roll that was put off, may go beyond.
	is($node->safe_psql('postgres', q{SELECT count(*) FROM weir.segments
		WHERE stream = 'bytes'::regclass AND blocks * 8192 > 65536 + 4 * 8192}), '0', 'no segment is much longer');
}

# By bytes of long values, which lie beside the heap.
{
	make('toast', '{"segment_bytes": "256kB"}');
	$node->safe_psql('postgres', q{SELECT stream_publish('toast', string_agg(md5(random()::text), ''))
		FROM generate_series(1, 100) g, generate_series(1, 600) i GROUP BY g});
	check_clean($node, 'toast', 'long values');
	cmp_ok(segment_count($node, 'toast'), '>', 3, 'bytes of long values count');
}

# By age, under load.
{
	make('age', '{"segment_age": "1 second"}', partitions => 2);
	my $load = start_pgbench($node, 6, [ '-T', 30, '-R', 600 ],
		'one@6' => q{SELECT stream_publish('age', 'a');},
		'block@1' => "BEGIN;\nSELECT stream_publish('age', 'a');\nSELECT stream_publish('age', 'b');\nROLLBACK;\n");
	wait_until($node, q{SELECT bool_and(n >= 4) FROM (SELECT count(*) AS n FROM weir.segments
		WHERE stream = 'age'::regclass GROUP BY partition) x}, 'it rolled by age');
	$load->{run}->signal('INT');
	finish_job($load);
	unlike($load->{err}, qr{ERROR}, 'no error by age');
	check_clean($node, 'age', 'rolled by age');
	is($node->safe_psql('postgres', q{
SELECT count(*) FROM (SELECT max(ts) - min(ts) AS age FROM age GROUP BY tableoid) x WHERE age > '2.5 seconds'}),
		'0', 'no segment got messages for much longer');
	is($node->safe_psql('postgres', q{
SELECT count(*) FROM (SELECT min(ts) - lag(min(ts)) OVER (PARTITION BY partition ORDER BY min("offset")) AS age
                        FROM age GROUP BY partition, tableoid) x WHERE age < '1 second'}),
		'0', 'none was left before its time');
}

# A database that goes right after its segments were made.
for my $round (1 .. 4)
{
	$node->safe_psql('postgres', 'CREATE DATABASE gone');
	$node->safe_psql('gone', 'CREATE EXTENSION weir');
	make('s', '{"segment_messages": 5}', db => 'gone');
	$node->safe_psql('gone', q{SELECT stream_publish('s', 'm') FROM generate_series(1, 23)});
	my ($status) = $node->psql('postgres', 'DROP DATABASE gone');
	is($status, 0, "DROP DATABASE after rolls, round $round");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'weir'}),
	'0', 'no worker stays');

# A publisher that is killed while the worker works for it leaves nothing that
# hinders others.
{
	make('killed', '{"segment_messages": 5}');
	my $load = start_pgbench($node, 6, [ '-T', 20 ], 'one' => q{SELECT stream_publish('killed', 'm');});
	wait_until($node, qq{SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) > 0 FROM pg_stat_activity
		WHERE lower(wait_event) = 'bgworkershutdown'}, 'a publisher is killed while it waits for a worker');
	my ($status) = $node->psql('postgres', q{SET statement_timeout = '20s';
		SELECT stream_publish('killed', 'after') FROM generate_series(1, 50)});
	is($status, 0, 'others go on');
	$load->{run}->signal('INT');
	finish_job($load);
	check_clean($node, 'killed', 'after a publisher was killed');
}

# Preloaded.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'weir'");
$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_shmem_allocations WHERE name = 'weir append table'}),
	'1', 'preloaded: the shared memory is there');
rolls('preloaded');

# No worker to be had: inline.
for my $workers (0, 1)
{
	$node->append_conf('postgresql.conf', "max_worker_processes = $workers");
	$node->restart;
	make('inline', '{"segment_messages": 50}', partitions => 2);
	stop_pgbench(
		start_pgbench($node, 8, [ '-t', 60 ],
			'one@4' => q{SELECT stream_publish('inline', 'm');},
			'back@1' => "BEGIN;\nSELECT stream_publish('inline', 'back');\nROLLBACK;\n",
			'batch@1' => q{SELECT * FROM stream_publish_batch('inline', array_fill('b'::text, ARRAY[20]));}),
		"max_worker_processes = $workers: inline");
	cmp_ok(segment_count($node, 'inline'), '>', 15, "max_worker_processes = $workers: it rolled");
	check_clean($node, 'inline', "max_worker_processes = $workers");

	# A full segment, and who makes the next has not committed: others wait
	# for that, and then go on, whichever way it ends.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		make('wait', '{"segment_messages": 10}');
		publish($node, 'wait', [0], 1, 10);
		my $maker = $node->background_psql('postgres');
		$maker->query_safe(q{BEGIN; SELECT stream_publish('wait', 'maker');});
		my $waiter = psql_job($node, "SELECT stream_publish('wait', 'waiter');");
		wait_for_waiter('wait', "inline, $end: another publisher waits");
		$maker->query_safe("$end;");
		finish_job($waiter, "inline, $end: and goes on");
		is($node->safe_psql('postgres', q{SELECT string_agg(value, ' ' ORDER BY "offset") FROM stream_read('wait', 0, 10)}),
			$end eq 'COMMIT' ? 'maker waiter' : 'waiter', "inline, $end: what is there");
		is(segment_count($node, 'wait'), '2', "inline, $end: two segments");
		check_clean($node, 'wait', "inline, $end");
		$maker->quit;
		$node->safe_psql('postgres', 'DROP TABLE wait');
	}

	# An early roll cannot be inline, so it is put off; nothing is lost.
	make('early', '{"segment_bytes": "64kB"}');
	publish($node, 'early', [0], 1, 2000, pad => 100);
	check_clean($node, 'early', "max_worker_processes = $workers: rolls put off");
	is($node->safe_psql('postgres', q{SELECT count(*), max("offset") FROM early}), '2000|1999', 'all is there');
	$node->safe_psql('postgres', 'DROP TABLE inline, early');
}

no_alarms($node);
done_testing();
