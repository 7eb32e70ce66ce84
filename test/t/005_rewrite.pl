# Heaps that somebody rewrote: VACUUM FULL, CLUSTER, ALTER TABLE.  Readers are
# right all the time, and publishing right after goes on without an offset
# twice.  And line pointers that are never used again.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('rewrite', conf => <<'CONF');
shared_buffers = 4MB
synchronize_seqscans = on
max_prepared_transactions = 5
CONF
my $reader = $node->background_psql('postgres');

# Rolled back and vacuumed in the middle and at the end of pages.
sub with_dead_tails
{
	my ($stream) = @_;
	my $publish = sub {
		my ($count, $back) = @_;
		$node->safe_psql('postgres', "BEGIN; SELECT count(stream_publish('$stream', i || repeat('.', 40)))"
			. " FROM generate_series(1, $count) i; " . ($back ? 'ROLLBACK' : 'COMMIT'));
	};
	$publish->(30);
	$publish->(35, 1);
	$publish->(80);
	$publish->(25, 1);
	$publish->(10);
	$node->safe_psql('postgres', 'VACUUM ' . open_segment($node, $stream, 0));
	$publish->(60);
	return;
}

# A line pointer is never used again, so item order is offset order and stays
# it through an ordinary sequential copy.
$node->safe_psql('postgres', q{SELECT stream_create('fresh', 1, 'text')});
with_dead_tails('fresh');
is(inversions($node, 'fresh_p0_s0'), '0', 'no inversion after VACUUM and more messages');
$node->safe_psql('postgres', 'VACUUM FULL fresh_p0_s0');
is(inversions($node, 'fresh_p0_s0'), '0', 'no inversion after VACUUM FULL');
is($node->safe_psql('postgres', q{SELECT count(*), min("offset"), max("offset") FROM fresh}),
	'180|0|239', 'the messages of the sequence');
with_dead_tails('fresh');
with_dead_tails('fresh');
is(inversions($node, open_segment($node, 'fresh', 0)), '0', 'no inversion after more of it');
check_clean($node, 'fresh', 'with vacuumed rollbacks');

# What everything below is done to: several segments, the last one open, with
# an index in another order.
my $streams = 0;

sub make_stream
{
	my ($messages) = @_;
	my $stream = 'r' . ++$streams;
	$node->safe_psql('postgres', <<"SQL");
SELECT stream_create('$stream', 1, 'text', '{"segment_messages": $messages}');
CREATE INDEX ${stream}_back ON $stream (("offset" % 17), "offset" DESC);
SQL
	publish($node, $stream, [0], 1, int($messages * 2.5), pad => 50);
	return $stream;
}

# Rewrites parts of a stream; then reading, publishing and checking must be
# right, before and after stream_repair.
sub rewritten
{
	my ($name, $sql, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stream = make_stream($opt{messages} // 200);
	my $read = "SELECT count(*), md5(string_agg(m::text, E'\\n')) FROM stream_read(NULL::$stream, 0, NULL, NULL) m";
	my $reverse = "SELECT count(*), md5(string_agg(m::text, E'\\n')) FROM stream_read(NULL::$stream, 0, NULL, NULL, reverse => true) m";
	my $before = $reader->query_safe("$read;");
	my $before_reverse = $reader->query_safe("$reverse;");
	my $next = $node->safe_psql('postgres', "SELECT stream_next_offset('$stream')");
	my @segments = split /\n/, $node->safe_psql('postgres',
		"SELECT segment FROM weir.segments WHERE stream = '$stream'::regclass AND blocks > 0 ORDER BY lower_offset");
	if (ref $sql) { $sql->($stream, $segments[-1]); }
	else
	{
		for my $segment ($opt{all} ? @segments : $segments[-1])
		{
			my $index = $node->safe_psql('postgres',
				"SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '$segment'::regclass");
			(my $each = $sql) =~ s{SEGMENT}{$segment}g;
			$each =~ s{INDEX}{$index}g;
			$node->safe_psql('postgres', $each);
		}
	}
	is($reader->query_safe("$read;"), $before, "$name: a connected reader");
	is($reader->query_safe("$reverse;"), $before_reverse, "$name: backwards");
	my $offset = $node->safe_psql('postgres', qq{SELECT "offset" FROM stream_publish('$stream', 'right after')});
	cmp_ok($offset, '>=', $next, "$name: the offset right after");
	is($reader->query_safe(qq{SELECT "offset", value FROM stream_read('$stream', 0, $next);}),
		"$offset|right after", "$name: a reader finds it");
	publish($node, $stream, [0], 1, 300, pad => 50);
	is( $node->safe_psql('postgres', qq{SELECT count(*), count(DISTINCT "offset") FROM $stream}),
		join('|', ((split /\|/, $before)[0] + 301) x 2),
		"$name: no offset twice");
	check_clean($node, $stream, "after $name");

	my $all = contents($node, $stream);
	$node->safe_psql('postgres', "SELECT * FROM stream_repair('$stream')");
	is($node->safe_psql('postgres', "SELECT count(*) FROM weir.segments WHERE stream = '$stream'::regclass AND NOT verified"),
		'0', "$name: all verified after stream_repair");
	is(contents($node, $stream), $all, "$name: stream_repair changes nothing");
	is($node->safe_psql('postgres', "SELECT * FROM stream_repair('$stream')"), '', "$name: a second one has nothing to do");
	check_clean($node, $stream, "after $name and stream_repair");
	publish($node, $stream, [0], 1, 10);
	check_clean($node, $stream, "after $name, stream_repair and more messages");
	return $stream;
}

rewritten('VACUUM FULL of the open segment', 'VACUUM FULL SEGMENT');
rewritten('VACUUM FULL of all segments', 'VACUUM FULL SEGMENT', all => 1);
rewritten('CLUSTER of the open segment', 'CLUSTER SEGMENT USING INDEX');
rewritten('CLUSTER of all segments', 'CLUSTER SEGMENT USING INDEX', all => 1);
rewritten('VACUUM FULL of the stream', sub { $node->safe_psql('postgres', "VACUUM FULL $_[0]") });
rewritten('CLUSTER of the stream', sub { $node->safe_psql('postgres', "CLUSTER $_[0] USING $_[0]_back") })
  if $node->pg_version >= 15;
rewritten('SET UNLOGGED and LOGGED', 'ALTER TABLE SEGMENT SET UNLOGGED; ALTER TABLE SEGMENT SET LOGGED', all => 1);
rewritten('a fill factor and VACUUM FULL', 'ALTER TABLE SEGMENT SET (fillfactor = 30); VACUUM FULL SEGMENT');
rewritten('a fill factor', 'ALTER TABLE SEGMENT SET (fillfactor = 30)');
rewritten('VACUUM FREEZE', 'VACUUM (FREEZE) SEGMENT', all => 1);
rewritten('VACUUM FULL of a segment with a dead tail', sub {
	my ($stream, $segment) = @_;
	$node->safe_psql('postgres', "BEGIN; SELECT stream_publish('$stream', 'back') FROM generate_series(1, 50); ROLLBACK");
	$node->safe_psql('postgres', "VACUUM FULL $segment");
});
rewritten('REINDEX', sub { $node->safe_psql('postgres', "REINDEX TABLE $_[0]") });

# In the same transaction as the rewrite, and rolled back.
rewritten('a rewrite, publishing and ROLLBACK', sub {
	my ($stream, $segment) = @_;
	$node->safe_psql('postgres', <<"SQL");
BEGIN;
ALTER TABLE $segment SET UNLOGGED;
SELECT stream_publish('$stream', 'gone') FROM generate_series(1, 20);
ROLLBACK;
SQL
});
rewritten('CLUSTER and reading in one transaction', sub {
	my ($stream, $segment) = @_;
	$node->safe_psql('postgres', <<"SQL");
BEGIN;
CREATE INDEX one_index ON $segment (("offset" % 7));
CLUSTER $segment USING one_index;
SELECT count(*) FROM stream_read('$stream', 0, NULL, NULL);
DROP INDEX one_index;
COMMIT;
SQL
});

# A sequential scan of a large table is remembered, and VACUUM FULL starts
# there: the last page is then not the end.
my $big = rewritten('VACUUM FULL from the middle', sub {
	my ($stream, $segment) = @_;
	my $scan = $node->background_psql('postgres');
	$scan->query_safe("BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT * FROM $segment;");
	$scan->query_safe("MOVE FORWARD 20000 FROM c;");
	$scan->query_safe("CLOSE c; COMMIT;");
	$scan->quit;
	$node->safe_psql('postgres', "VACUUM FULL $segment");
	isnt(inversions($node, $segment), '0', 'it did start in the middle');
}, messages => 25000 * 2);

# Readers and publishers that are at work while it happens: a reader in
# REPEATABLE READ that has begun before.
{
	my $stream = make_stream(200);
	$reader->query_safe("BEGIN ISOLATION LEVEL REPEATABLE READ;");
	my $read = "SELECT count(*), md5(string_agg(m::text, E'\\n')) FROM stream_read(NULL::$stream, 0, NULL, NULL) m;";
	$reader->query_safe('SELECT count(*) FROM pg_class;');
	my $before = $node->safe_psql('postgres', $read);
	publish($node, $stream, [0], 1, 20);
	$node->safe_psql('postgres', 'CLUSTER ' . open_segment($node, $stream, 0) . " USING "
		. $node->safe_psql('postgres', "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '"
			. open_segment($node, $stream, 0) . "'::regclass"));
	publish($node, $stream, [0], 1, 20);
	is($reader->query_safe($read), $before, 'REPEATABLE READ across CLUSTER sees what it saw');
	$reader->query_safe('COMMIT;');
	check_clean($node, $stream, 'after CLUSTER under a snapshot');
}

# An empty next segment that was rewritten, or came from a dump without data:
# nobody knows its order, and publishers may hold locks on it already.
for my $holder ('nobody', 'another publisher')
{
	$node->safe_psql('postgres', <<'SQL');
SELECT stream_create('n', 1, 'text', '{"segment_messages": 10}');
SELECT count(stream_publish('n', i::text)) FROM generate_series(1, 10) i;
BEGIN; SELECT stream_publish('n', 'makes the next segment'); ROLLBACK;
VACUUM n_p0_s1;
VACUUM FULL n_p0_s1;
SQL
	my $other = $node->background_psql('postgres');
	$other->query_safe('BEGIN;');
	$other->query_safe('LOCK TABLE n_p0_s1 IN ROW EXCLUSIVE MODE;') if $holder ne 'nobody';
	$node->psql('postgres', q{SET statement_timeout = '5s'; SELECT stream_publish('n', '11')});
	is($node->safe_psql('postgres', q{SELECT count(*) FROM stream_read('n')}), '11',
		"published although the empty next segment was rewritten, with $holder holding a lock on it");
	$other->query_safe('COMMIT;');
	$other->quit;
	publish($node, 'n', [0], 12, 40);
	check_clean($node, 'n', 'after a rewrite of the empty next segment');
	$node->safe_psql('postgres', 'DROP TABLE n');
}

# What would empty a stream is refused.
for my $table ($big, "${big}_p0", "${big}_p0_s0")
{
	fails_with($node, "TRUNCATE $table", 'WR008', "TRUNCATE $table");
	fails_with($node, "DELETE FROM $table", 'WR008', "DELETE FROM $table");
}
check_clean($node, $big, 'after what was refused');

$reader->quit;
no_alarms($node);
done_testing();
