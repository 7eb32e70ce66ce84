# Memory stays flat in long-lived backends, and a reader that stands before
# many rolled-back messages does not walk them at every poll.
#
# WEIR_TEST_MESSAGES: messages to be read; WEIR_TEST_DEAD: rolled back.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $messages = setting('MESSAGES', 1000000);
my $dead = setting('DEAD', 200000);
my $megabyte = 1024 * 1024;

my $node = weir_node('memory', conf => "shared_buffers = 64MB\nmax_wal_size = 4GB\nstatement_timeout = 0");

# What a backend has: memory contexts, and pages of its own.
sub memory
{
	my ($session) = @_;
	my ($pid, $contexts) = split /\|/, $session->query_safe(
		'SELECT pg_backend_pid(), sum(total_bytes) FROM pg_backend_memory_contexts;');
	my $pages = 0;
	if (-r "/proc/$pid/status")
	{
		$pages = 1024 * $1 if slurp_file("/proc/$pid/status") =~ m{^RssAnon:\s+(\d+)}m;
	}
	return ($contexts, $pages);
}

# After a first round everything is as large as it ever gets.
sub flat
{
	my ($session, $name, $before, $allowed) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @after = memory($session);
	cmp_ok($after[0], '<=', $before->[0] + $allowed, "$name: memory contexts ($before->[0] then)");
	cmp_ok($after[1], '<=', $before->[1] + 4 * $megabyte, "$name: pages of the process ($before->[1] then)");
	return;
}

# Publisher of many batches, in one transaction and in many.
$node->safe_psql('postgres', <<'SQL');
SELECT stream_create('s', 1, 'text', '{"segment_messages": 150000}');
CREATE PROCEDURE publish_many(batches int, many bool) LANGUAGE plpgsql AS $$
DECLARE
  batch text[] := ARRAY(SELECT repeat('x', 60) || i FROM generate_series(1, 1000) i);
BEGIN
  FOR b IN 1 .. batches LOOP
    PERFORM stream_publish_batch('s', batch);
    IF many THEN COMMIT; END IF;
  END LOOP;
END $$;
CREATE PROCEDURE publish_singles(n int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    PERFORM stream_publish('s', 'single');
    IF i % 100 = 0 THEN COMMIT; END IF;
  END LOOP;
END $$;
CREATE PROCEDURE read_all(most bigint, until bigint, typed bool) LANGUAGE plpgsql AS $$
DECLARE
  at bigint := 0;
  last bigint;
  got bigint;
  seen bigint := 0;
BEGIN
  LOOP
    IF typed THEN
      SELECT max("offset"), count(*) FROM stream_read(NULL::s, 0, at, most) INTO last, got;
    ELSE
      SELECT max("offset"), count(*) FROM stream_read('s', 0, at, most) INTO last, got;
    END IF;
    seen := seen + got;
    at := last + 1;
    EXIT WHEN got < most OR seen >= until;
    COMMIT;
  END LOOP;
  RAISE NOTICE 'read % messages', seen;
END $$;
SQL
my $batches = int($messages / 1000);
my $publisher = $node->background_psql('postgres');
$publisher->query_safe("CALL publish_many(20, true); CALL publish_many(20, false); CALL publish_singles(2000);");
my @before = memory($publisher);
$publisher->query_safe('CALL publish_many(' . int($batches / 2) . ', true);');
flat($publisher, 'batches in many transactions', \@before, $megabyte);
$publisher->query_safe('BEGIN; CALL publish_many(' . int($batches / 2) . ', false); COMMIT;');
flat($publisher, 'batches in one transaction', \@before, $megabyte);
$publisher->query_safe('CALL publish_singles(20000);');
flat($publisher, 'single messages', \@before, $megabyte);
$publisher->quit;

# Reader of all of it.
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query("SET client_min_messages = warning;");
for my $typed ('true', 'false')
{
	$reader->query_safe("CALL read_all(1000, 50000, $typed);");
	@before = memory($reader);
	$reader->query_safe("CALL read_all(1000, $messages, $typed);");
	flat($reader, 'reader in batches of 1000, ' . ($typed eq 'true' ? 'rows' : 'text'), \@before, $megabyte);
}

# Polls of the end, thousands of them.
my $polls = 'DO $$ BEGIN FOR i IN 1 .. %s LOOP PERFORM stream_high_watermark(\'s\'); '
  . 'PERFORM FROM stream_read(\'s\', 0, stream_high_watermark(\'s\')); END LOOP; END $$;';
$reader->query_safe(sprintf $polls, 200);
@before = memory($reader);
$reader->query_safe(sprintf $polls, 5000);
flat($reader, 'polls in one statement', \@before, $megabyte);

# Rewritten and not verified: the list of a large segment, once.
$node->safe_psql('postgres', <<'SQL');
CREATE INDEX back ON s (("offset" % 13));
SELECT format('CLUSTER %s USING %s', indrelid::regclass, indexrelid::regclass)
  FROM pg_index JOIN weir.segments ON segment = indrelid WHERE blocks > 0 ORDER BY lower_offset LIMIT 1 \gexec
SQL
$reader->query_safe("CALL read_all(1000, 100000, true);");
@before = memory($reader);
$reader->query_safe("CALL read_all(1000, 100000, true);") for 1 .. 2;
flat($reader, 'an unverified segment', \@before, $megabyte);
$reader->quit;

# A dead tail.
$node->safe_psql('postgres', <<"SQL");
DROP TABLE s;
SELECT stream_create('d', 1, 'text');
SELECT stream_publish('d', 'first');
BEGIN;
SELECT count(*) FROM (SELECT stream_publish_batch('d', array_fill('dead'::text, ARRAY[1000])) FROM generate_series(1, $dead / 1000)) x;
ROLLBACK;
SQL

# Buffers that a poll of this session takes; it stands before the dead tail.
my $poller = $node->background_psql('postgres');

sub buffers
{
	my ($sql) = @_;
	my $plan = $poller->query_safe("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) $sql;");
	# Those of the topmost node hold all the others.
	my ($first) = $plan =~ m{Buffers:([^\n]*)};
	my $sum = 0;
	$sum += $_ for ($first // '') =~ m{(?:hit|read)=(\d+)}g;
	return $sum;
}

my $poll = q{SELECT * FROM stream_read('d', 0, 1)};
my $pages = $node->safe_psql('postgres', q{SELECT pg_relation_size('d_p0_s0') / 8192});
my $first = buffers($poll);
cmp_ok($first, '>=', $pages, "the first poll walks all $pages pages");
cmp_ok(buffers($poll), '<', 60, 'the second poll does not');
cmp_ok(buffers($poll), '<', 60, 'nor a third one');
cmp_ok(buffers(q{SELECT stream_high_watermark('d')}), '<=', $first + 60, 'the stable end, first');
cmp_ok(buffers(q{SELECT stream_high_watermark('d')}), '<', 60, 'the stable end, again');
cmp_ok(buffers($poll), '<', 60, 'a poll after that');

# Another message behind the dead tail, undecided, then decided.
my $open = $node->background_psql('postgres');
$open->query_safe(q{BEGIN; SELECT stream_publish('d', 'behind');});
cmp_ok(buffers($poll), '<', 60, 'a poll before an undecided one');
is($poller->query_safe("$poll;"), '', 'it gives nothing');
$open->query_safe('COMMIT;');
cmp_ok(buffers($poll), '<', 60, 'the poll that gets it');
is($poller->query_safe(qq{SELECT "offset", value FROM stream_read('d', 0, 1);}), ($dead + 1) . '|behind', 'it gets it');

# A second dead tail, which VACUUM takes away under the poller's eyes; then
# the offsets are given again.
my $at = $dead + 2;
$poll = "SELECT * FROM stream_read('d', 0, $at)";
$node->safe_psql('postgres', q{BEGIN; SELECT count(*) FROM (SELECT stream_publish_batch('d', array_fill('dead'::text, ARRAY[1000])) FROM generate_series(1, 50)) x; ROLLBACK});
is($poller->query_safe("$poll;"), '', 'nothing in a second dead tail');
cmp_ok(buffers($poll), '<', 60, 'the second poll of it');
$node->safe_psql('postgres', 'VACUUM d_p0_s0');
is($poller->query_safe("$poll;"), '', 'nothing after VACUUM');
publish($node, 'd', [0], 1, 3000);
is($poller->query_safe("SELECT count(*), min(\"offset\") FROM stream_read('d', 0, $at, NULL);"), "3000|$at",
	'the messages that got these offsets are not lost');

# Again, without a poll in between, with a tail as long as it was before.
$at += 3000;
$poll = "SELECT * FROM stream_read('d', 0, $at)";
for my $round (1 .. 3)
{
	$node->safe_psql('postgres', q{BEGIN; SELECT * FROM stream_publish_batch('d', array_fill('dead'::text, ARRAY[20000])); ROLLBACK});
	is($poller->query_safe("$poll;"), '', "round $round: nothing");
	is($poller->query_safe("$poll;"), '', "round $round: nothing again");
	$node->safe_psql('postgres', 'VACUUM d_p0_s0');
	$node->safe_psql('postgres', q{SELECT * FROM stream_publish_batch('d', array_fill('live'::text, ARRAY[20000]))});
	is($poller->query_safe("SELECT count(*), min(\"offset\") FROM stream_read('d', 0, $at, NULL);"), "20000|$at",
		"round $round: live messages where dead ones were");
	$at += 20000;
	$poll = "SELECT * FROM stream_read('d', 0, $at)";
}
check_clean($node, 'd', 'after dead tails');

$_->quit for $poller, $open;
no_alarms($node);
done_testing();
