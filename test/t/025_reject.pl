# Dead letters: through a dump, crashes and prepared transactions, under many
# consumers; who holds up a stream after a restart and on a standby.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('reject', init => [ allows_streaming => 1 ], conf => <<'CONF');
shared_preload_libraries = 'weir'
synchronous_commit = on
max_prepared_transactions = 5
CONF

sub ask { return $node->safe_psql('postgres', $_[0]); }

# Every message is either processed or a dead letter, once, after every crash.
# The first rejection of all makes the stream, beside seven others.
ask(q{SELECT stream_create('q', 4, 'int', '{"partitioner": "explicit", "segment_messages": 2000}')});
ask(q{CREATE TABLE done (partition int, "offset" bigint)});
ask(<<'SQL');
CREATE FUNCTION consume() RETURNS void LANGUAGE plpgsql AS $$
DECLARE m q;
BEGIN
	FOR m IN SELECT * FROM stream_fetch(NULL::q, 'g', 20) LOOP
		BEGIN
			INSERT INTO done VALUES (m.partition, m."offset");
			PERFORM 1 / (m.value % 7);
		EXCEPTION WHEN division_by_zero THEN
			PERFORM stream_reject('q', 'g', m.partition, m."offset", 'seven');
		END;
	END LOOP;
END $$;
SQL
my $rounds = setting('CRASHES', 3);
for my $round (1 .. $rounds)
{
	ask(q{SELECT b.* FROM generate_series(0, 3) p, stream_publish_batch('q', (SELECT array_agg(i::text) FROM generate_series(1, 2000) i), partition => p) b});
	# Slow enough to be in the middle of it.
	my $job = start_pgbench($node, 8, [ '-T' => 60, '-R' => 100 ], 'consume@4' => "SELECT consume();\n", 'undo@1' => "BEGIN;\nSELECT consume();\nROLLBACK;\n");
	my $before = ask('SELECT count(*) FROM done');
	wait_until($node, "SELECT count(*) > $before + 1000 FROM done", "round $round: at work");
	$node->stop('immediate');
	finish_job($job);
	$node->start;
}
my $left = q{SELECT sum(messages) FROM weir.lag WHERE stream = 'q'::regclass};
cmp_ok(ask($left), '>', 0, 'crashed in the middle');
ask('SELECT consume()') while ask($left) > 0;
my $letters = q{SELECT (headers->'weir'->>'partition')::int, (headers->'weir'->>'offset')::bigint FROM stream_read('q_dead_letters', max_messages => NULL)};
is(ask(qq{SELECT count(*) FROM (SELECT partition, "offset" FROM q WHERE value % 7 <> 0 EXCEPT ALL SELECT * FROM done) x}), '0', 'what can be processed was');
is(ask(qq{SELECT count(*) FROM (SELECT * FROM done EXCEPT ALL SELECT partition, "offset" FROM q WHERE value % 7 <> 0) x}), '0', 'once');
is(ask(qq{SELECT count(*) FROM (SELECT partition, "offset" FROM q WHERE value % 7 = 0 EXCEPT ALL $letters) x}), '0', 'what cannot is a dead letter');
is(ask(qq{SELECT count(*) FROM (($letters) EXCEPT ALL SELECT partition, "offset" FROM q WHERE value % 7 = 0) x}), '0', 'one');
check_clean($node, $_, 'after crashes') for 'q', 'q_dead_letters';

# A rejection in a prepared transaction, the one that makes the stream.
ask(q{SELECT stream_create('p', 1, 'text'); SELECT * FROM stream_publish_batch('p', ARRAY['a', 'b', 'c']); SELECT * FROM stream_seek('p', 'g', start => 'earliest')});
ask(q{BEGIN; SELECT * FROM stream_reject('p', 'g', 0, 0, 'prepared'); PREPARE TRANSACTION 'no'});
is(ask(q{SELECT to_regclass('p_dead_letters') IS NULL}), 't', 'prepared: nothing is there yet');
ask(q{ROLLBACK PREPARED 'no'});
is(ask(q{SELECT to_regclass('p_dead_letters') IS NULL, stream_position('p', 'g')}), 't|0', 'prepared and rolled back: nothing ever was');
ask(q{BEGIN; SELECT * FROM stream_reject('p', 'g', 0, 0, 'prepared'); PREPARE TRANSACTION 'yes'});
$node->restart;
ask(q{COMMIT PREPARED 'yes'});
is(ask(q{SELECT value, stream_position('p', 'g') FROM stream_read('p_dead_letters')}), 'a|1', 'prepared, restarted and committed');

# With a dump: a stream like any other, still that of its stream.
{
	ask(q{CREATE ROLE reader; GRANT SELECT ON q TO reader});
	my $file = $node->basedir . '/dead.dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr('postgres') ], 'dump');
	ask('CREATE DATABASE copy');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $file ], 'restore');
	is(contents($node, 'q_dead_letters', db => 'copy'), contents($node, 'q_dead_letters'), 'dead letters are restored');
	is($node->safe_psql('copy', q{SELECT obj_description('q_dead_letters'::regclass), has_table_privilege('reader', 'q_dead_letters', 'SELECT')}),
		'messages that were rejected from stream public.q|t', 'with what belongs to them');
	my $end = ask(q{SELECT stream_high_watermark('q_dead_letters')});
	$node->safe_psql('copy', q{SELECT * FROM stream_publish('q', '7', partition => 0)});
	like($node->safe_psql('copy', q{SELECT r.stream, r.partition, r."offset" >= } . $end . q{ FROM stream_fetch('q', 'g', partition => 0) m, LATERAL stream_reject('q', 'g', m.partition, m."offset", 'again') r}),
		qr{^q_dead_letters\|0\|t$}, 'and go on');
	check_clean($node, 'q_dead_letters', 'of the copy', db => 'copy');
	$node->safe_psql('copy', q{REVOKE SELECT ON q FROM reader});
	is($node->safe_psql('copy', q{SELECT has_table_privilege('reader', 'q_dead_letters', 'SELECT')}), 'f', 'grants follow there, too');
}

# Who holds a stream up: after a restart, and seen from a standby.
{
	my $ends = q{SELECT stable_end, held_by_pid IS NOT NULL, held_by_gid, held_since IS NOT NULL FROM weir.ends WHERE stream = 'p'::regclass};
	ask(q{BEGIN; SAVEPOINT s; SELECT * FROM stream_publish('p', 'd'); PREPARE TRANSACTION 'holder'});
	ask(q{SELECT * FROM stream_publish('p', 'e')});
	is(ask($ends), '3|f|holder|t', 'a prepared transaction by its gid');
	$node->restart;
	is(ask($ends), '3|f|holder|t', 'after a restart too');
	my $since = ask(q{SELECT held_since FROM weir.ends WHERE stream = 'p'::regclass});
	$node->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	ask(q{SELECT * FROM stream_publish('p', 'f')});
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', $ends), '3|f||t', 'a standby knows neither session nor gid');
	is($standby->safe_psql('postgres', q{SELECT held_since FROM weir.ends WHERE stream = 'p'::regclass}), $since, 'but since when');
	is($standby->safe_psql('postgres', q{SELECT "position", messages, seconds > 0 FROM weir.lag WHERE stream = 'p'::regclass}), '1|2|t', 'weir.lag there');
	fails_with($standby, q{SELECT * FROM stream_reject('p', 'g', 0, 1, 'x')}, '25006', 'rejecting there');
	ask(q{COMMIT PREPARED 'holder'});
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', $ends), '6|f||f', 'decided');
	no_alarms($standby);
}

no_alarms($node);
done_testing();
