# Exactly once: consumers whose transactions have side effects, on a server that
# crashes again and again under load.  In the end the side effects are those of
# each message that was published, once.
#
# WEIR_TEST_CRASHES: how often.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $crashes = setting('CRASHES', 30);
my $partitions = 4;

my $node = weir_node('once', conf => <<'CONF');
shared_preload_libraries = 'weir'
synchronous_commit = on
max_prepared_transactions = 5
CONF

sub ask { return $node->safe_psql('postgres', $_[0]); }

ask(<<"SQL");
SELECT stream_create('e', $partitions, 'text', '{"segment_messages": 2000}');
CREATE TABLE published (messages bigint, amount bigint);
CREATE TABLE applied (partition int, "offset" bigint, amount bigint);
CREATE TABLE counter (partition int PRIMARY KEY, messages bigint, amount bigint);
INSERT INTO counter SELECT p, 0, 0 FROM generate_series(-1, $partitions - 1) p;
SQL

# The row in the table says what was published, in the same transaction.
my $batch = <<'SQL';
\set n random(1, 20)
\set amount random(1, 1000)
WITH b AS (SELECT sum(count) FROM stream_publish_batch('e', array_fill(:amount::text, ARRAY[:n]), partition => NULL))
INSERT INTO published SELECT sum, sum * :amount FROM b;
SQL
my $single = <<'SQL';
\set amount random(1, 1000)
BEGIN;
SELECT stream_publish('e', :amount::text, 'key' || :amount % 7);
INSERT INTO published VALUES (1, :amount);
SAVEPOINT a;
SELECT stream_publish('e', '1000000');
ROLLBACK TO a;
COMMIT;
SQL

# Takes a batch; each message into a table, their sums on the counter of the
# partition and on the one of all, for which consumers wait.
my $apply = <<'SQL';
WITH m AS (SELECT partition, "offset", value::bigint AS amount FROM stream_fetch('e', 'g', 20)),
     a AS (INSERT INTO applied SELECT * FROM m),
     s AS (SELECT partition, count(*) AS messages, sum(amount) AS amount FROM m GROUP BY partition),
     c AS (UPDATE counter c SET messages = c.messages + s.messages, amount = c.amount + s.amount
             FROM s WHERE c.partition = s.partition)
UPDATE counter c SET messages = c.messages + s.messages, amount = c.amount + s.amount
  FROM s WHERE c.partition = -1;
SQL
my %consumers = (
	'once@6'       => $apply,
	'rolled@1'     => "BEGIN;\n${apply}ROLLBACK;\n",
	'savepoint@2'  => "BEGIN;\nSAVEPOINT a;\n${apply}ROLLBACK TO a;\n${apply}SAVEPOINT b;\n${apply}RELEASE b;\nCOMMIT;\n",
	'repeatable@2' => "BEGIN ISOLATION LEVEL REPEATABLE READ;\n${apply}COMMIT;\n");

my $transactions = 0;
my $unfinished = 0;
my (@errors, @dirty);

# What a pgbench says of a server that went away is no error.
sub end_of_load
{
	my ($job) = @_;
	finish_job($job);
	push @errors, grep {
		m{ERROR|FATAL|PANIC}
		  && !m{server closed|terminating connection|connection to server|the database system is|could not serialize}
	} split /\n/, $job->{err};
	return ($job->{out} =~ m{actually processed: (\d+)})[0] // 0;
}

for my $crash (1 .. $crashes)
{
	my $prepared = $crash % 5 == 0;
	my $before = ask('SELECT count(*) FROM applied');
	my $publishers = start_pgbench($node, 4, [ '-T', 60 ], 'batch@1' => $batch, 'single@3' => $single);
	my $consumers = start_pgbench($node, 4, [ '-T', 60, '--max-tries', 100 ], %consumers);

	my $enough = $before + 50 + 131 * $crash % 400;
	wait_until($node, "SELECT count(*) > $enough FROM applied", "crash $crash: at work");
	# One that is prepared at the crash is decided after it; all wait for it,
	# since it has the counter.
	ask("BEGIN; $apply PREPARE TRANSACTION 'c$crash'") if $prepared;
	$node->stop('immediate');
	$transactions += end_of_load($publishers);
	$unfinished += 4;
	end_of_load($consumers);
	$node->start;
	ask(($crash % 2 ? 'COMMIT' : 'ROLLBACK') . " PREPARED 'c$crash'") if $prepared;

	# It holds in every state, not only in the end: what is applied is what is
	# before the positions.
	push @dirty, "crash $crash: $_" for split /\n/, ask(<<"SQL");
SELECT 'counter', c.*, n, s FROM counter c
  LEFT JOIN (SELECT partition, count(*) AS n, sum(amount) AS s FROM applied GROUP BY ROLLUP (partition)) a
    ON c.partition = coalesce(a.partition, -1)
 WHERE (c.messages, c.amount) IS DISTINCT FROM (coalesce(n, 0), coalesce(s, 0));
SELECT 'position', coalesce(e.partition, a.partition), count(*), min(coalesce(e."offset", a."offset"))
  FROM (SELECT * FROM e WHERE "offset" < stream_position('e', 'g', partition)) e
  FULL JOIN applied a ON (a.partition, a."offset", a.amount) = (e.partition, e."offset", e.value::bigint)
 WHERE a IS NULL OR e IS NULL GROUP BY 2;
SELECT 'stream_check', * FROM stream_check('e');
SQL
}
is(join("\n", @dirty), '', 'after each crash the side effects are those of the messages before the positions');
is(join("\n", @errors), '', 'nobody had an error');

# The rest.
stop_pgbench(start_pgbench($node, 4, [ '-t', 50 ], 'batch@1' => $batch, 'single@3' => $single), 'the last publishers');
$transactions += 200;
my $behind = "SELECT EXISTS (SELECT FROM generate_series(0, $partitions - 1) p WHERE stream_position('e', 'g', p) < stream_high_watermark('e', p))";
while (ask($behind) eq 't')
{
	stop_pgbench(start_pgbench($node, 4, [ '-t', 50, '--max-tries', 100 ], %consumers), 'the last consumers');
}

my ($rows, $messages, $amount) = split /\|/, ask('SELECT count(*), sum(messages), sum(amount) FROM published');
cmp_ok($messages, '>', 50 * $crashes, "$messages messages in $crashes crashes");
ok($rows >= $transactions && $rows <= $transactions + $unfinished,
	'what was acknowledged was published, and hardly more')
  or diag "$rows rows, $transactions acknowledged, $unfinished unknown";
is(ask('SELECT count(*), sum(value::bigint) FROM e'), "$messages|$amount", 'the stream has what was published');
is(ask('SELECT messages, amount FROM counter WHERE partition = -1'), "$messages|$amount", 'the counter has what was published');
is(ask('SELECT sum(messages), sum(amount) FROM counter WHERE partition >= 0'), "$messages|$amount", 'those of the partitions too');
is(ask('SELECT count(*), count(DISTINCT (partition, "offset")) FROM applied'), "$messages|$messages", 'each message once');
is(ask(<<'SQL'), '0', 'none but those');
SELECT count(*) FROM (SELECT partition, "offset", value::bigint FROM e EXCEPT ALL SELECT * FROM applied) x
SQL
check_clean($node, 'e', 'at the end');

no_alarms($node);
done_testing();
