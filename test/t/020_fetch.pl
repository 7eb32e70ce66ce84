# Consumer groups: exactly once with side effects, beside crashes; positions
# that a long snapshot does not slow down; dump and restore.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('fetch', conf => "shared_preload_libraries = 'weir'\nsynchronous_commit = on");

sub ask { return $node->safe_psql('postgres', $_[0]); }

ask(q{SELECT stream_create('f', 4, 'text', '{"partitioner": "explicit", "segment_messages": 2000}')});
ask('CREATE TABLE sent (partition int, "offset" bigint); CREATE TABLE seen (partition int, "offset" bigint)');

my $publish = <<'SQL';
\set p random(0, 3)
\set n random(1, 20)
WITH b AS (SELECT * FROM stream_publish_batch('f', array_fill('x'::text, ARRAY[:n]), partition => :p))
INSERT INTO sent SELECT b.partition, generate_series(b.first_offset, b.last_offset) FROM b;
SQL
my $consume = <<'SQL';
INSERT INTO seen SELECT partition, "offset" FROM stream_fetch('f', 'g', 30);
SQL
my $undo = <<'SQL';
BEGIN;
INSERT INTO seen SELECT partition, "offset" FROM stream_fetch('f', 'g', 30);
ROLLBACK;
SQL

# What was consumed is what was published, once, after every crash.
my $rounds = setting('CRASHES', 4);
for my $round (1 .. $rounds)
{
	my $publishers = start_pgbench($node, 4, [ '-T', 60 ], publish => $publish);
	my $consumers = start_pgbench($node, 4, [ '-T', 60 ], 'consume@4' => $consume, 'undo@1' => $undo);
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM seen');
	wait_until($node, "SELECT count(*) > $before + 3000 FROM seen", "round $round: at work");
	$node->stop('immediate');
	finish_job($_) for $publishers, $consumers;
	$node->start;
}
stop_pgbench(start_pgbench($node, 4, [ '-t', 200 ], publish => $publish), 'the last publishers');
ask($consume) while ask(q{SELECT EXISTS (SELECT FROM generate_series(0, 3) p WHERE stream_position('f', 'g', p) < stream_high_watermark('f', p))}) eq 't';
is(ask('SELECT count(*) > 3000 FROM sent'), 't', 'something was sent');
is(ask(q{SELECT count(*) FROM (SELECT * FROM sent EXCEPT ALL SELECT * FROM seen) x}), '0', 'nothing is missing');
is(ask(q{SELECT count(*) FROM (SELECT * FROM seen EXCEPT ALL SELECT * FROM sent) x}), '0', 'nothing came twice');
check_clean($node, 'f', 'after crashes');

# Groups and positions go with a dump.
{
	my $positions = q{SELECT string_agg(partition || ':' || next_offset, ' ' ORDER BY partition) FROM weir.groups WHERE "group" = 'g'};
	my $expected = ask($positions);
	my $file = $node->basedir . '/groups.dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr('postgres') ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE copy');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $file ], 'restore');
	is($node->safe_psql('copy', $positions), $expected, 'positions are restored');
	is($node->safe_psql('copy', q{SELECT count(*) FROM stream_fetch('f', 'g')}), '0', 'and hold');
	is($node->safe_psql('copy', q{SELECT count(*) FROM stream_fetch('f', 'another', 10)}), '10', 'a new group gets another number');
	is($node->safe_psql('copy', q{SELECT * FROM stream_check('f')}), '', 'stream_check of the copy');
}

# Thousands of moves under a snapshot that keeps all their versions: the last
# hundreds take no longer than the first, but for noise.
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sent;');
	my $moves = q{DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM stream_seek('f', 'g', 0, 0); COMMIT; END LOOP; END $$};
	my $touched = q{SELECT sum(idx_blks_read + idx_blks_hit) FROM pg_statio_all_tables WHERE relid = 'weir.position'::regclass};
	my @blocks;
	for (0 .. 4)
	{
		ask('SELECT pg_stat_force_next_flush()');
		my $first = ask($touched);
		ask($moves);
		ask('SELECT pg_stat_force_next_flush()');
		wait_until($node, "SELECT ($touched) > $first + 1000", 'moves are counted');
		push @blocks, ask($touched) - $first;
	}
	note "blocks of the index per 1000 moves: @blocks";
	cmp_ok($blocks[-1], '<', 2 * $blocks[0] + 1000, 'a move touches no more blocks after 5000');
	$holder->query_safe('COMMIT;');
	$holder->quit;
}

no_alarms($node);
done_testing();
