# Retention by age, bytes and messages; segments made ahead; beside readers,
# a dump, open transactions and crashes.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('retention', conf => <<'CONF');
shared_preload_libraries = 'weir'
max_worker_processes = 16
max_prepared_transactions = 2
log_lock_waits = on
deadlock_timeout = 300ms
CONF
my $has_points = ($node->psql('postgres', q{SELECT stream_create('probe'); SET weir.debug_points = 'none=error'}))[0] == 0
  && $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'weir.debug_points'});
$node->safe_psql('postgres', q{SELECT stream_drop('probe')});

sub ask { return $node->safe_psql('postgres', $_[0]); }

sub make
{
	my ($stream, $options, $partitions) = @_;
	$options =~ s(\{)({"partitioner": "explicit", );
	ask("SELECT stream_create('$stream', @{[ $partitions // 1 ]}, 'text', '$options')");
	return;
}

# The lower bounds of the segments that have a block.
sub bounds
{
	my ($stream) = @_;
	return "(SELECT coalesce(string_agg(lower_offset::text, ' ' ORDER BY lower_offset), '') FROM weir.segments"
	  . " WHERE stream = '$stream'::regclass AND blocks > 0)";
}

sub wait_for_bounds
{
	my ($stream, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, "SELECT @{[ bounds($stream) ]} = '$expected'", $name)
	  || diag 'there are: ' . ask("SELECT @{[ bounds($stream) ]}");
}

sub start_of
{
	my ($stream) = @_;
	return ask("SELECT start_offset FROM weir.partition WHERE stream = '$stream'::regclass AND number = 0");
}

# The keeper looks at the stream, and has looked when a younger one is done.
my $canaries = 0;

sub let_look
{
	my ($stream) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $canary = 'canary' . ++$canaries;
	ask("SELECT stream_alter('$stream', '{}')") if defined $stream;
	make($canary, '{"segment_messages": 1, "retention_messages": 1}');
	publish($node, $canary, [0], 1, 3);
	wait_for_bounds($canary, '2', 'the keeper is at work');
	ask("SELECT stream_drop('$canary')");
	return;
}

sub rolled_back
{
	my ($stream, $count) = @_;
	ask("BEGIN; SELECT * FROM stream_publish_batch('$stream', array_fill('no'::text, ARRAY[$count])); ROLLBACK");
	return;
}

# By age.  The open segment stays, however old.
{
	make('age', '{"segment_messages": 10, "retention_age": "2 seconds"}', 2);
	$node->safe_psql('postgres', q{SELECT * FROM stream_publish_batch('age', array_fill('m'::text, ARRAY[35]), partition => 0)});
	$node->safe_psql('postgres', q{SELECT * FROM stream_publish_batch('age', array_fill('m'::text, ARRAY[5]), partition => 1)});
	is(ask(q{SELECT count(*) FROM age}), '40', 'age: all is there at first');
	wait_until($node, q{SELECT count(*) = 10 AND min("offset") FILTER (WHERE partition = 0) = 30 FROM age}, 'age: old segments go, the open ones stay');
	is(start_of('age'), '30', 'age: the start moves');
	let_look('age');
	is(ask(q{SELECT count(*) FROM age}), '10', 'age: the open segments stay');
	is(ask(q{SELECT count(*) FROM stream_read('age', 0, 35)}), '0', 'age: who had read all has lost nothing');
	is(ask(q{SELECT count(*) FROM stream_read('age', 0, 30)}), '5', 'age: from the start');
	fails_with($node, q{SELECT * FROM stream_read('age', 0, 29)}, 'WR003', 'age: an old offset is not retained');
	# Nothing but time passes between two looks.
	publish($node, 'age', [0], 1, 10);
	wait_until($node, q{SELECT min("offset") = 40 FROM age WHERE partition = 0}, 'age: and goes on');
	check_clean($node, 'age', 'by age');
}

# A segment that was left early: the start is where its messages end.
{
	make('early', '{"segment_bytes": "64kB", "segment_messages": 1000, "retention_age": "1 second"}');
	publish($node, 'early', [0], 1, 60, pad => 1000);
	my $position = 1 + ask(q{SELECT max("offset") FROM stream_read('early', 0, 0) WHERE "offset" < 1000});
	wait_for_bounds('early', '1000', 'early: the first segment went');
	is(start_of('early'), $position, 'early: the start is the end of what went');
	is(ask(qq{SELECT min("offset") FROM stream_read('early', 0, $position)}), '1000', 'early: who had read that reads on');
	fails_with($node, "SELECT * FROM stream_read('early', 0, $position - 1)", 'WR003', 'early: the one before is not retained');
	check_clean($node, 'early', 'left early');
}

# By bytes, with what lies beside the heap.
{
	make('bytes', '{"segment_bytes": "64kB", "retention_bytes": "400kB"}');
	publish($node, 'bytes', [0], 1, 2000, pad => 300);
	ask(q{SELECT stream_publish('bytes', string_agg(md5(random()::text), '')) FROM generate_series(1, 30) g, generate_series(1, 300) i GROUP BY g});
	let_look('bytes');
	wait_until($node, q{SELECT total >= 400 * 1024 AND total - first < 400 * 1024
		FROM (SELECT sum(bytes) AS total, (array_agg(bytes ORDER BY lower_offset))[1] AS first
		        FROM weir.segments WHERE stream = 'bytes'::regclass) x}, 'bytes: never below, and one less would be')
	  || diag ask(q{SELECT array_agg(bytes ORDER BY lower_offset) FROM weir.segments WHERE stream = 'bytes'::regclass});
	cmp_ok(start_of('bytes'), '>', 0, 'bytes: some went');
	check_clean($node, 'bytes', 'by bytes');
}

# By messages: what was rolled back does not count.
{
	make('messages', '{"segment_messages": 10}');
	for (1 .. 8)
	{
		publish($node, 'messages', [0], 1, 5);
		rolled_back('messages', 5);
	}
	is(ask('SELECT ' . bounds('messages')), '0 10 20 30 40 50 60 70', 'messages: eight segments');
	ask(q{SELECT stream_alter('messages', '{"retention_messages": 20}')});
	wait_for_bounds('messages', '40 50 60 70', 'messages: twenty real ones stay');
	is(ask('SELECT count(*) FROM messages'), '20', 'messages: counted');
	is(start_of('messages'), '35', 'messages: the start is the stable end of what went');
	is(ask(q{SELECT string_agg(coalesce(messages::text, '-'), ' ' ORDER BY lower_offset) FROM weir.segment
		WHERE partition = 'messages_p0'::regclass AND lower_offset BETWEEN 40 AND 60}), '5 5 5', 'messages: counts are kept');
	check_clean($node, 'messages', 'by messages');
}

# Any one of them suffices.
{
	make("any$_", '{"segment_messages": 10}') for 1 .. 3;
	publish($node, "any$_", [0], 1, 35) for 1 .. 3;
	ask(q{SELECT stream_alter('any1', '{"retention_messages": 15, "retention_age": "1 day", "retention_bytes": "1GB"}')});
	ask(q{SELECT stream_alter('any2', '{"retention_messages": 1000, "retention_age": "1 second", "retention_bytes": "1GB"}')});
	ask(q{SELECT stream_alter('any3', '{"retention_messages": 1000, "retention_age": "1 day", "retention_bytes": 1}')});
	wait_for_bounds('any1', '20 30', 'any: messages');
	wait_for_bounds('any2', '30', 'any: age');
	wait_for_bounds('any3', '30', 'any: bytes');
	check_clean($node, "any$_", "any $_") for 1 .. 3;
}

# The last visible message stays, and with it its segment.
{
	make('last', '{"segment_messages": 10, "retention_messages": 1, "retention_age": "1 second", "retention_bytes": 1}');
	publish($node, 'last', [0], 1, 10);
	rolled_back('last', 25);
	let_look('last');
	is(ask('SELECT ' . bounds('last')), '0 10 20 30', 'last: behind it are rolled-back ones only');
	is(ask(q{SELECT count(*) FROM stream_read('last', 0, 0)}), '10', 'last: it can be read');
	# Who began the segment has rolled back, so this one tells the keeper.
	publish($node, 'last', [0], 1, 1);
	wait_for_bounds('last', '30', 'last: another last one');
	is(start_of('last'), '10', 'last: the start is behind the last that was visible');
	is(ask(q{SELECT min("offset") FROM stream_read('last', 0, 10)}), '35', 'last: no gap for who had read it');
	check_clean($node, 'last', 'last visible message');
}

# An open transaction, a prepared one.
for my $how ('open', 'prepared')
{
	make($how, '{"segment_messages": 10, "retention_messages": 1}');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe("BEGIN; SELECT stream_publish('$how', 'held');");
	$holder->query_safe(q{PREPARE TRANSACTION 'held';}) if $how eq 'prepared';
	publish($node, $how, [0], 1, 34);
	let_look();
	is(ask('SELECT ' . bounds($how)), '0 10 20 30', "$how: a transaction keeps what it published into");
	check_clean($node, $how, "held by one that is $how", undecided => 1);
	$holder->query_safe($how eq 'open' ? 'COMMIT;' : q{COMMIT PREPARED 'held';});
	wait_for_bounds($how, '30', "$how: it ends, they go");
	is(start_of($how), '30', "$how: the start");
	$holder->quit;
	check_clean($node, $how, "after one that was $how");
}

# A partition whose table is not attached to the stream, as when it is paused;
# an index; and a view that somebody hung on a segment: it is dropped later.
{
	make('apart', '{"segment_messages": 10}', 2);
	publish($node, 'apart', [0], 1, 34);
	ask('CREATE INDEX ON apart (key); CREATE UNIQUE INDEX ON apart (partition, "offset")');
	ask('CREATE VIEW hung AS SELECT * FROM apart_p0_s1');
	ask(q{SET session_replication_role = replica; ALTER TABLE apart DETACH PARTITION apart_p0});
	ask(q{SELECT stream_alter('apart', '{"retention_messages": 1}')});
	wait_until($node, q{SELECT NOT relispartition FROM pg_class WHERE relname = 'apart_p0_s1'}, 'apart: begun with the second segment');
	is(ask(q{SELECT count(*) FROM stream_read('apart', 0, 10)}), '24', 'apart: nothing is missing for readers');
	is(start_of('apart'), '10', 'apart: the start is that of the first drop');
	ask('DROP VIEW hung');
	wait_for_bounds('apart', '30', 'apart: the rest goes');
	ask(q{SET session_replication_role = replica; ALTER TABLE apart ATTACH PARTITION apart_p0 FOR VALUES IN (0)});
	check_clean($node, 'apart', 'a detached partition');
}

# A reader that stays, and one that has looked at all tables as a dump does.
# Publishers feel nothing of it.
for my $who ('reader', 'dump')
{
	make($who, '{"segment_messages": 100}');
	publish($node, $who, [0], 1, 550);
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ;');
	if ($who eq 'reader')
	{
		is($reader->query_safe(q{SELECT count(*) FROM stream_read('reader', 0, 0, 250);}), '250', "$who: reads the first ones");
		is($reader->query_safe(q{SELECT count(*) FROM reader;}), '550', "$who: and all by SQL");
	}
	else
	{
		$reader->query_safe('SELECT count(*) FROM pg_class;');
		$reader->query_safe("LOCK TABLE $_ IN ACCESS SHARE MODE;")
		  for split /\n/, ask(qq{SELECT relid FROM pg_partition_tree('$who')});
	}
	my $log = -s $node->logfile;
	ask(qq{SELECT stream_alter('$who', '{"retention_messages": 100}')});
	stop_pgbench(start_pgbench($node, 4, [ '-T', 3, '-R', 400 ],
			'one' => qq{SELECT stream_publish('$who', 'm');}), "$who: publishers beside it");
	unlike(slurp_file($node->logfile, $log), qr{still waiting}, "$who: nobody waits long for a lock");
	is(ask("SELECT min(lower_offset) FROM weir.segments WHERE stream = '$who'::regclass"), '0', "$who: what it has locked stays");
	is(start_of($who), '0', "$who: the start stays as well");
	is(ask("SELECT * FROM stream_check('$who')"), '', "$who: stream_check meanwhile");
	is($reader->query_safe("SELECT count(*) FROM $who;"), '550', "$who: sees what it saw");
	is($reader->query_safe("SELECT count(*) FROM stream_read('$who', 0, 0, NULL);"), '550', "$who: also by reading");
	is(ask("SELECT count(*) = max(\"offset\") + 1 FROM stream_read('$who', 0, 0, NULL)"), 't', "$who: nothing is missing for others");
	$reader->query_safe('COMMIT;');
	wait_until($node, qq{SELECT bool_and(n >= 100 AND n < 200 + 100) FROM (SELECT count(*) AS n FROM $who) x
		WHERE NOT EXISTS (SELECT FROM weir.segments WHERE stream = '$who'::regclass AND lower_offset = 0)}, "$who: it ends, they go");
	$reader->quit;
	check_clean($node, $who, "after a $who");
}

# Under load: drops, rolls, reads, rollbacks.
{
	make('load', '{"segment_messages": 200, "retention_messages": 1000}', 2);
	my $log = -s $node->logfile;
	stop_pgbench(start_pgbench($node, 8, [ '-T', 6 ],
			'one@8' => q{SELECT stream_publish('load', 'm');},
			'batch@1' => q{SELECT * FROM stream_publish_batch('load', array_fill('b'::text, ARRAY[30]));},
			'back@1' => "BEGIN;\nSELECT stream_publish('load', 'no');\nROLLBACK;\n",
			'read@1' => q{SELECT count(*) FROM stream_read('load', 0, start => 'latest', max_messages => 10);},
			'sql@1' => q{SELECT count(*) FROM load WHERE "offset" < 0;}), 'load');
	unlike(slurp_file($node->logfile, $log), qr{still waiting}, 'load: nobody waits long for a lock');
	let_look('load');
	wait_until($node, q{SELECT bool_and(n BETWEEN 1000 AND 1200) FROM (SELECT count(*) AS n FROM load GROUP BY partition) x}, 'load: what stays')
	  || diag ask('SELECT partition, count(*) FROM load GROUP BY 1');
	cmp_ok(start_of('load'), '>', 0, 'load: some went');
	check_clean($node, 'load', 'under load');
}

# More than one turn of the keeper takes.
{
	make('lot', '{"segment_messages": 1}');
	publish($node, 'lot', [0], 1, 300);
	ask(q{SELECT stream_alter('lot', '{"retention_messages": 3}')});
	wait_for_bounds('lot', '297 298 299', 'lot: many segments');
	check_clean($node, 'lot', 'many segments');
}

# Segments ahead.
{
	my $ahead = q{SELECT count(*) FROM weir.segments WHERE stream = '%s'::regclass AND blocks = 0};
	make('ahead', '{"segment_messages": 1000}');
	publish($node, 'ahead', [0], 1, 499);
	let_look();
	is(ask(sprintf $ahead, 'ahead'), '0', 'ahead: none for what is not half full');
	publish($node, 'ahead', [0], 1, 1);
	wait_until($node, sprintf($ahead, 'ahead') =~ s{count\(\*\)}{count(*) = 2}r, 'ahead: two for a fast one');
	check_clean($node, 'ahead', 'segments ahead');

	make('slow', '{"segment_messages": 1000}');
	publish($node, 'slow', [0], 1, 100);

	# Who found it half full has rolled back, and comes again.
	make('again', '{"segment_messages": 100}');
	ask(q{BEGIN; SELECT * FROM stream_publish_batch('again', array_fill('no'::text, ARRAY[60])); ROLLBACK; SELECT stream_publish('again', 'yes')});
	wait_until($node, sprintf($ahead, 'again') =~ s{count\(\*\)}{count(*) = 2}r, 'ahead: after a rollback');
	check_clean($node, 'again', 'ahead after a rollback');

	make('thick', '{"segment_bytes": "128kB"}');
	publish($node, 'thick', [0], 1, 90, pad => 900);
	wait_until($node, sprintf($ahead, 'thick') =~ s{count\(\*\)}{count(*) > 0}r, 'ahead: by bytes');
	check_clean($node, 'thick', 'ahead by bytes');

	make('many', '{"segment_messages": 160}');
	stop_pgbench(start_pgbench($node, 8, [ '-t', 200 ], 'one' => q{SELECT stream_publish('many', 'm');}), 'ahead: 8 clients');
	is(ask(q{SELECT count(*), min("offset"), max("offset") FROM many}), '1600|0|1599', 'ahead: every offset is used');
	check_clean($node, 'many', 'ahead and 8 clients');

	wait_until($node, q{SELECT first_ts < now() - interval '10.1 seconds' FROM weir.segments WHERE stream = 'slow'::regclass AND lower_offset = 0},
		'ahead: time passes');
	publish($node, 'slow', [0], 1, 500);
	wait_until($node, sprintf($ahead, 'slow') =~ s{count\(\*\)}{count(*) = 1}r, 'ahead: one for a slow one');
	let_look('slow');
	is(ask(sprintf $ahead, 'slow'), '1', 'ahead: not more');
	check_clean($node, 'slow', 'one segment ahead');
}

# Stopped while a segment is pending: neither attached nor detached.
sub crash_while_pending
{
	make('pending', '{"segment_messages": 10}');
	publish($node, 'pending', [0], 1, 35);
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN; LOCK TABLE pending_p0 IN ACCESS SHARE MODE;');
	ask(q{SELECT stream_alter('pending', '{"retention_messages": 1}')});
	wait_until($node, q{SELECT count(*) = 1 FROM pg_inherits WHERE inhdetachpending AND inhparent = 'pending_p0'::regclass}, 'pending: it is');
	is(ask(q{SELECT * FROM stream_check('pending')}), '', 'pending: stream_check');
	is(ask(q{SELECT count(*) FROM stream_read('pending', 0, 0)}), '35', 'pending: nothing is missing for readers');
	publish($node, 'pending', [0], 1, 10);
	$node->stop('immediate');
	$node->start;
	eval { $reader->quit };
	wait_for_bounds('pending', '40', 'pending: finished after the restart');
	is(start_of('pending'), '40', 'pending: the start');
	check_clean($node, 'pending', 'after a crash while pending');
	return;
}
crash_while_pending();

SKIP:
{
	skip 'no debug points', 1 if !$has_points;

	# Held between the steps.
	make('midway', '{"segment_messages": 10}');
	publish($node, 'midway', [0], 1, 35);
	ask(q{ALTER SYSTEM SET weir.debug_points = 'retention_detached=lock:42'});
	$node->restart;
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(42);');
	ask(q{SELECT stream_alter('midway', '{"retention_messages": 1}')});
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'midway_p0_s0'::regclass)}, 'midway: detached');
	is(ask(q{SELECT * FROM stream_check('midway')}), '', 'midway: stream_check');
	is(ask(q{SELECT count(*), min("offset") FROM stream_read('midway', 0, 0)}), '35|0', 'midway: nothing is missing for readers');
	is(ask(q{SELECT min("offset") FROM midway}), '10', 'midway: it is for SELECT');
	ask(q{SELECT stream_alter('midway', '{"retention_messages": null}')});
	$gate->query_safe('SELECT pg_advisory_unlock(42);');
	wait_for_bounds('midway', '10 20 30', 'midway: what was begun is finished, whatever the options say');
	is(start_of('midway'), '10', 'midway: the start');
	check_clean($node, 'midway', 'held between the steps');
	$gate->quit;

	# Death at every step, which the log tells as well.
	no_alarms($node);
	for my $point (qw(retention_detach retention_detaching retention_detached retention_drop retention_dropped ahead_making ahead_made))
	{
		make($point, '{"segment_messages": 10}');
		publish($node, $point, [0], 1, 24);
		ask("ALTER SYSTEM SET weir.debug_points = '$point=crash'");
		$node->restart;
		# Half of the last segment: the keeper may have made one ahead while
		# the messages came, and if that was a while ago it makes no second.
		$node->psql('postgres', $point =~ m{^ret} ? qq{SELECT stream_alter('$point', '{"retention_messages": 1}')} :
			qq{SELECT count(stream_publish('$point', 'half')) FROM generate_series(1, (SELECT max(lower_offset) - 19
				FROM weir.segments WHERE stream = '$point'::regclass))});
		my $down = 0;
		for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
		{
			last if $down = !-e $node->data_dir . '/postmaster.pid';
			# The server may go while psql is being told: IPC::Run dies of that.
			eval { $node->psql('postgres', q{SELECT pg_stat_clear_snapshot()}) };
		}
		ok($down, "$point: the server died");
		$node->_update_pid(0);
		# Only the file can be changed now.
		my $auto = $node->data_dir . '/postgresql.auto.conf';
		append_to_file($auto, "weir.debug_points = ''\n");
		$node->start;
		if ($point =~ m{^ret})
		{
			wait_for_bounds($point, '20', "$point: done after the restart");
			is(start_of($point), '20', "$point: the start");
			is(ask("SELECT count(*) FROM stream_read('$point', 0, 20)"), '4', "$point: what is left");
		}
		else
		{
			publish($node, $point, [0], 1, 20);
			is(ask("SELECT count(*) = max(\"offset\") + 1 FROM $point"), 't', "$point: goes on");
		}
		is(ask(q{SELECT count(*) FROM pg_class WHERE relname LIKE '} . $point . q{\_p0\_s%' AND NOT EXISTS (SELECT FROM weir.segment g WHERE g.segment = pg_class.oid) AND relkind = 'r'}),
			'0', "$point: no table is left over");
		check_clean($node, $point, "after death at $point");
	}
}

is(ask(q{SELECT count(*) FROM weir.stream s, LATERAL stream_check(s.stream) c}), '0', 'all streams are clean');
no_alarms($node) if !$has_points;
unlike(slurp_file($node->logfile), qr{PANIC|TRAP:|\bleak|still referenced|XX000}, 'nothing else in the log');
done_testing();
