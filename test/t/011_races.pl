# Races and crashes at named points of the code.
#
# Needs a build with debug points (make WEIR_DEBUG=1; src/base/debug.h): a
# session is held at a point by an advisory lock, or dies there as by kill -9.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('races', conf => 'restart_after_crash = on');

my ($status) = $node->psql('postgres', q{SELECT stream_create('probe'); SET weir.debug_points = 'none=error'});
if ($status != 0)
{
	$node->stop;
	plan skip_all => 'this build has no debug points';
}

sub offset_of
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', qq{SELECT "offset" FROM $sql});
}

my $waits = q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)};

# A publisher has found its target and is held before the append lock; another
# one leaves that segment early and begins the next.  Only the roll counter
# tells the first one: with an expected offset it would not leave the segment
# by itself.  It must not go on behind the other's message.
{
	$node->safe_psql('postgres', q{SELECT stream_create('s', 1, 'text', '{"segment_bytes": 65536}')});
	$node->safe_psql('postgres', q{SELECT stream_publish_batch('s', array_agg(rpad(i::text, 100, '.'))) FROM generate_series(1, 900) i});
	my $next = $node->safe_psql('postgres', q{SELECT stream_next_offset('s')});
	cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('s_p0_s0')}), '>', 65536, 'the segment is large enough to be left');

	my $holder = $node->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(42);');
	my $late = psql_job($node, qq{\\set VERBOSITY sqlstate
SET weir.debug_points = 'append_before_lock=lock:42';
SELECT stream_publish('s', 'late', expected_offset => $next);});
	wait_until($node, $waits, 'a publisher is held before the append lock');
	my $first = offset_of(q{stream_publish('s', 'first')});
	cmp_ok($first, '>', $next, 'another one has begun the next segment');
	$holder->query_safe('SELECT pg_advisory_unlock(42);');
	finish_job($late);
	like($late->{err}, qr{WR001}, 'the late one is sent back');
	is($node->safe_psql('postgres', q{SELECT max("offset") FROM s_p0_s0}), $next - 1, 'and has written nothing into the old segment');
	cmp_ok(offset_of(q{stream_publish('s', 'last')}), '>', $first, 'offsets go on');
	check_clean($node, 's', 'after a stale publisher');
	$holder->quit;
}

# A full segment whose end was rolled back is left for one that nobody else
# sees yet: VACUUM must not give the full one room again meanwhile.
{
	$node->safe_psql('postgres', q{SELECT stream_create('v', 1, 'text', '{"segment_messages": 10}')});
	publish($node, 'v', [0], 1, 5);
	$node->safe_psql('postgres', q{BEGIN; SELECT stream_publish_batch('v', array_fill('back'::text, '{5}')); ROLLBACK});
	my $holder = $node->background_psql('postgres');
	$holder->query_safe(q{BEGIN; LOCK TABLE ONLY v_p0 IN SHARE UPDATE EXCLUSIVE MODE; SELECT stream_publish('v', 'inline');});
	my ($code, $out, $err) = $node->psql('postgres', 'VACUUM (SKIP_LOCKED) v_p0_s0');
	like($err, qr{skipping vacuum of "v_p0_s0"}, 'VACUUM does not get the segment');
	my $waiter = psql_job($node, q{SELECT stream_publish('v', 'waited');});
	wait_until($node, q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation')},
		'another publisher waits');
	$holder->query_safe('COMMIT;');
	finish_job($waiter, 'and goes on behind');
	is($node->safe_psql('postgres', q{SELECT string_agg("offset" || value, ' ' ORDER BY "offset") FROM v WHERE "offset" > 4}),
		'10inline 11waited', 'nothing went into the old segment');
	$node->safe_psql('postgres', 'VACUUM v');
	publish($node, 'v', [0], 1, 3);
	check_clean($node, 'v', 'after an inline roll over a rolled-back end');
	$holder->quit;
}

# A reader has its snapshot and is held; a roll and more messages happen.
{
	$node->safe_psql('postgres', q{SELECT stream_create('r', 1, 'text', '{"segment_messages": 10}')});
	publish($node, 'r', [0], 1, 8);
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('SELECT pg_advisory_lock(43);');
	my $reader = psql_job($node, q{SET weir.debug_points = 'read_before_walk=lock:43';
SELECT string_agg("offset"::text, ' ' ORDER BY "offset") FROM stream_read('r', 0, 5);
SET weir.debug_points = '';
SELECT count(*), max("offset") FROM stream_read('r', 0, 8);});
	wait_until($node, $waits, 'a reader is held before its walk');
	publish($node, 'r', [0], 9, 25);
	$holder->query_safe('SELECT pg_advisory_unlock(43);');
	finish_job($reader, 'it ends');
	like($reader->{out}, qr{^5 6 7\nSET\n17\|24$}m, 'it sees what its snapshot sees, and then the rest');
	$holder->quit;
}

# Death at every point: whatever was acknowledged is there, and all goes on.
$node->safe_psql('postgres', q{SELECT stream_create('c', 1, 'text', '{"segment_messages": 10}')});
my $acknowledged = 0;
for my $point (qw(append_before_lock append_after_lock target_looking maker_locked maker_done))
{
	for my $fill (5, 10)
	{
		my $count = $fill - $node->safe_psql('postgres', q{SELECT stream_next_offset('c') % 10});
		publish($node, 'c', [0], 1, $count) if $count > 0;
		$acknowledged += $count if $count > 0;
		my ($code, $out) = $node->psql('postgres',
			qq{SET weir.debug_points = '$point=crash'; SELECT stream_publish('c', 'dies')});
		$acknowledged++ if $code == 0;
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
		is($node->safe_psql('postgres', q{SELECT count(*) FROM stream_read('c', 0, max_messages => NULL)}),
			$acknowledged, "death at $point, $fill in the segment: all that was acknowledged");
		is($node->safe_psql('postgres', q{SELECT count(*) FROM stream_check('c')}), '0',
			"death at $point, $fill in the segment: stream_check");
	}
}

# The worker dies before its commit, or fails: the publisher helps itself.
for my $action (qw(crash error))
{
	my $count = 10 - $node->safe_psql('postgres', q{SELECT stream_next_offset('c') % 10});
	publish($node, 'c', [0], 1, $count);
	$acknowledged += $count;
	$node->safe_psql('postgres', "ALTER DATABASE postgres SET weir.debug_points = 'worker_before_commit=$action'");
	my ($code) = $node->psql('postgres', q{SET weir.debug_points = ''; SELECT stream_publish('c', 'next')});
	$acknowledged++ if $code == 0;
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET weir.debug_points');
	is($code, $action eq 'error' ? 0 : 2, "a worker's $action");
	publish($node, 'c', [0], 1, 3);
	$acknowledged += 3;
	is($node->safe_psql('postgres', q{SELECT count(*) FROM stream_read('c', 0, max_messages => NULL)}),
		$acknowledged, "a worker's $action: all that was acknowledged");
	check_clean($node, 'c', "after a worker's $action");
}

$node->stop;
done_testing();
