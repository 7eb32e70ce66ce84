# retention_hold: what a consumer group has not read stays, and goes soon after
# the last group has read it.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('hold', conf => <<'CONF');
shared_preload_libraries = 'weir'
max_worker_processes = 16
max_prepared_transactions = 2
CONF
my $has_points = ($node->psql('postgres', q{SELECT stream_create('probe'); SET weir.debug_points = 'none=error'}))[0] == 0
  && $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'weir.debug_points'});
$node->safe_psql('postgres', q{SELECT stream_drop('probe')});

sub ask { return $node->safe_psql('postgres', $_[0]); }

# A stream with 35 messages in segments of 10, of which one message is to be
# kept, and a group at its start.
sub make
{
	my ($stream, $options, $partitions) = @_;
	$options //= '';
	ask("SELECT stream_create('$stream', @{[ $partitions // 1 ]}, 'text', '{\"partitioner\": \"explicit\", \"segment_messages\": 10, \"retention_hold\": true$options}')");
	ask("SELECT * FROM stream_seek('$stream', 'g', start => 'earliest')");
	publish($node, $stream, [0], 1, 35);
	return;
}
my $keep_one = ', "retention_messages": 1';

sub fetch
{
	my ($stream, $group, $count) = @_;
	return ask("SELECT count(*) FROM stream_fetch('$stream', '$group', $count, 0)");
}

# The lower bounds of the segments that have a block.
sub bounds
{
	my ($stream) = @_;
	return "(SELECT coalesce(string_agg(lower_offset::text, ' ' ORDER BY lower_offset), '') FROM weir.segments"
	  . " WHERE stream = '$stream'::regclass AND partition = 0 AND blocks > 0)";
}

sub wait_for_bounds
{
	my ($stream, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, "SELECT @{[ bounds($stream) ]} = '$expected'", $name)
	  || diag 'there are: ' . ask("SELECT @{[ bounds($stream) ]}");
}

# The keeper looks at the stream, and has looked when a younger one is done;
# then these are there.
my $canaries = 0;

sub has_still
{
	my ($stream, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $canary = 'canary' . ++$canaries;
	ask("SELECT stream_alter('$stream', '{}')");
	ask(qq{SELECT stream_create('$canary', 1, 'text', '{"segment_messages": 1, "retention_messages": 1}')});
	ask("SELECT count(stream_publish('$canary', i::text)) FROM generate_series(1, 3) i");
	wait_for_bounds($canary, '2', "$name: the keeper is at work");
	ask("SELECT stream_drop('$canary')");
	return is(ask("SELECT @{[ bounds($stream) ]}"), $expected, $name);
}

# The last group decides, by what it has committed.
{
	make('held', $keep_one);
	ask(q{SELECT * FROM stream_seek('held', 'h', start => 'earliest')});
	has_still('held', '0 10 20 30', 'nobody has read anything');
	fetch('held', 'g', 1000);
	has_still('held', '0 10 20 30', 'one of two groups has read all');
	is(fetch('held', 'h', 9), '9', 'the other one reads');
	has_still('held', '0 10 20 30', 'not to the end of the first segment');
	$node->safe_psql('postgres', q{BEGIN; SELECT count(*) FROM stream_fetch('held', 'h'); ROLLBACK});
	has_still('held', '0 10 20 30', 'what is rolled back does not count');
	is(fetch('held', 'h', 1), '1', 'to its end');
	wait_for_bounds('held', '10 20 30', 'the first segment goes');
	is(ask(q{SELECT start_offset FROM weir.partition WHERE stream = 'held'::regclass}), '10', 'the start moves to where the group stands');
	is(fetch('held', 'h', 15), '15', 'over the end of one, into the next');
	wait_for_bounds('held', '20 30', 'the second one goes');
	$node->safe_psql('postgres', q{BEGIN; SELECT count(*) FROM stream_fetch('held', 'h'); PREPARE TRANSACTION 'h'});
	has_still('held', '20 30', 'prepared is not committed');
	ask(q{COMMIT PREPARED 'h'});
	wait_for_bounds('held', '30', 'a prepared fetch that is committed lets the rest go');
	# Caught up: each segment goes as soon as it is left.
	publish($node, 'held', [0], 1, 20);
	fetch('held', $_, 1000) for 'g', 'h';
	wait_for_bounds('held', '50', 'and so on');
	check_clean($node, 'held', 'held by groups');
}

# Without the option, without a group, with another limit that says nothing.
{
	make('free', ', "retention_messages": 1, "retention_hold": false');
	wait_for_bounds('free', '30', 'without retention_hold nobody holds anything');
	fails_with($node, q{SELECT * FROM stream_fetch('free', 'g')}, 'WR003', 'and the group is told');
	make('alone', $keep_one);
	has_still('alone', '0 10 20 30', 'a group that has never fetched holds');
	ask(q{SELECT stream_drop_group('alone', 'g')});
	wait_for_bounds('alone', '30', 'a group that is dropped holds nothing');
	make('limitless');
	fetch('limitless', 'g', 1000);
	has_still('limitless', '0 10 20 30', 'without a limit all stays, read or not');
	make('altered', $keep_one);
	has_still('altered', '0 10 20 30', 'held');
	ask(q{SELECT stream_alter('altered', '{"retention_hold": false}')});
	wait_for_bounds('altered', '30', 'until the option is taken away');
}

# A seek forward; a trim by hand asks nobody; other partitions, by age.
{
	make('sought', $keep_one);
	ask(q{SELECT * FROM stream_seek('sought', 'g', 0, 20)});
	wait_for_bounds('sought', '20 30', 'a seek moves a position, too');
	make('trimmed', $keep_one);
	is(ask(q{SELECT stream_trim('trimmed', 0, 20)}), '20', 'stream_trim');
	has_still('trimmed', '20 30', 'asks no group');
	fails_with($node, q{SELECT * FROM stream_fetch('trimmed', 'g')}, 'WR003', 'which is told');
	is(ask(q{SELECT count(*) FROM stream_fetch('trimmed', 'g', skip_gap => true)}), '15', 'and goes on behind the gap');
	wait_for_bounds('trimmed', '30', 'what it held then goes');

	make('aged', ', "retention_age": "1 second"', 2);
	publish($node, 'aged', [1], 1, 15);
	wait_until($node, q{SELECT max(ts) < clock_timestamp() - interval '2 seconds' FROM aged}, 'aged: old enough');
	has_still('aged', '0 10 20 30', 'aged: held');
	is(fetch('aged', 'g', 20), '20', 'aged: read');
	wait_for_bounds('aged', '20 30', 'aged: gone when read, however old');
	is(ask(q{SELECT count(*) FROM aged WHERE partition = 1}), '15', 'aged: the other partition is not concerned');
}

# A rejected message is a read one.
{
	make('rejected', $keep_one);
	fetch('rejected', 'g', 9);
	ask(q{SELECT * FROM stream_reject('rejected', 'g', 0, 9, 'poison')});
	wait_for_bounds('rejected', '10 20 30', 'stream_reject moves a position, too');
}

# No more than retention_hold_bytes is held, the oldest goes first.
{
	ask(q{SELECT stream_create('large', 1, 'text', '{"segment_messages": 100, "retention_messages": 1, "retention_hold": true, "retention_hold_bytes": "600kB"}')});
	ask(q{SELECT * FROM stream_seek('large', 'g', start => 'earliest')});
	publish($node, 'large', [0], 1, 250, pad => 1000);
	my $size = q{(SELECT sum(pg_total_relation_size(segment)) FROM weir.segments WHERE stream = 'large'::regclass)};
	cmp_ok(ask("SELECT $size"), '<', 600 * 1024, 'large: not yet');
	has_still('large', '0 100 200', 'large: held');
	publish($node, 'large', [0], 251, 810, pad => 1000);
	wait_until($node, "SELECT $size <= 600 * 1024", 'large: the oldest go when it is too much');
	my $first = ask(q{SELECT start_offset FROM weir.partition WHERE stream = 'large'::regclass});
	cmp_ok($first, '>', 0, 'large: something went');
	cmp_ok($first, '<', 800, 'large: not all that retention alone would have taken');
	cmp_ok(ask(q{SELECT sum(pg_total_relation_size(segment)) FROM weir.segments WHERE stream = 'large'::regclass AND blocks > 0}) , '>', 600 * 1024 - 150 * 1024,
		'large: no more than had to');
	my $kept = ask("SELECT @{[ bounds('large') ]}");
	has_still('large', $kept, 'large: the rest is held');
	fails_with($node, q{SELECT * FROM stream_fetch('large', 'g')}, 'WR003', 'large: the group is told');
	check_clean($node, 'large', 'held up to a size');
}

SKIP:
{
	skip 'no debug points', 1 if !$has_points;

	# Between detaching and dropping the group is sent back.
	make('back', $keep_one);
	ask(q{ALTER SYSTEM SET weir.debug_points = 'retention_detached=lock:42'});
	$node->restart;
	my $gate = $node->background_psql('postgres');
	$gate->query_safe('SELECT pg_advisory_lock(42);');
	is(fetch('back', 'g', 25), '25', 'back: read');
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'back_p0_s0'::regclass)}, 'back: detached');
	ask(q{SELECT * FROM stream_seek('back', 'g', 0, 5)});
	$gate->query_safe('SELECT pg_advisory_unlock(42);');
	has_still('back', '0 10 20 30', 'back: what it may read again stays');
	is(ask(q{SELECT count(*) FROM back}), '25', 'back: and no other one is detached for nothing');
	is(ask(q{SELECT * FROM stream_check('back')}), '', 'back: stream_check');
	is(fetch('back', 'g', 1000), '30', 'back: all of it is read');
	wait_for_bounds('back', '30', 'back: then it goes');

	# The same, but it has not committed yet.
	make('open', $keep_one);
	$gate->query_safe('SELECT pg_advisory_lock(42);');
	is(fetch('open', 'g', 25), '25', 'open: read');
	wait_until($node, q{SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'open_p0_s0'::regclass)}, 'open: detached');
	my $seek = $node->background_psql('postgres');
	$seek->query_safe(q{BEGIN; SELECT * FROM stream_seek('open', 'g', 0, 5);});
	$gate->query_safe('SELECT pg_advisory_unlock(42);');
	has_still('open', '0 10 20 30', 'open: what it may read again stays while nobody knows');
	$seek->query_safe('COMMIT;');
	has_still('open', '0 10 20 30', 'open: and after the commit');
	$seek->quit;
	is(fetch('open', 'g', 1000), '30', 'open: all of it is read');
	wait_for_bounds('open', '30', 'open: then it goes');
	$gate->quit;
	ask(q{ALTER SYSTEM RESET weir.debug_points});
}

no_alarms($node);
done_testing();
