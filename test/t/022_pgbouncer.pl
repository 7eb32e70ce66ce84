# Behind a pooler in transaction mode, where each statement may run in another
# session: publishing, consuming in transactions, members of a group.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my ($pgbouncer) = grep { -x } qw(/usr/sbin/pgbouncer /usr/bin/pgbouncer);
plan skip_all => 'pgbouncer is not installed' if !defined $pgbouncer;

my $POOL = 3;
my $node = weir_node('pooled', conf => "shared_preload_libraries = 'weir'\nsynchronous_commit = on");

sub ask { return $node->safe_psql('postgres', $_[0]); }

# ---- the pooler: a few connections to the server for many clients ----

my $dir = $node->basedir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = getpwuid($>);
append_to_file("$dir/pgbouncer.ini", <<"CONF");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres user=$user
[pgbouncer]
listen_port = $port
unix_socket_dir = @{[ $node->host ]}
auth_type = any
pool_mode = transaction
default_pool_size = $POOL
max_client_conn = 200
CONF
my $pooler = start_job({ timeout => 600 }, $pgbouncer, "$dir/pgbouncer.ini");

# What talks to the node talks to the pooler instead.
my $pool = bless { %$node, _port => $port }, 'PostgreSQL::Test::Cluster';
wait_until($pool, 'SELECT true', 'the pooler answers');

ask(q{SELECT stream_create('f', 4, 'text', '{"partitioner": "explicit"}')});
ask(q{SELECT stream_create('m', 6, 'text', '{"partitioner": "explicit"}')});
ask(<<'SQL');
CREATE TABLE sent (stream text, partition int, "offset" bigint);
CREATE TABLE seen (stream text, partition int, "offset" bigint, pid int DEFAULT pg_backend_pid());
CREATE TABLE calls (member text, pid int DEFAULT pg_backend_pid());
SQL

my $publish = <<'SQL';
\set p random(0, 3)
\set n random(1, 20)
WITH b AS (SELECT * FROM stream_publish_batch('f', array_fill('x'::text, ARRAY[:n]), partition => :p))
INSERT INTO sent SELECT 'f', b.partition, generate_series(b.first_offset, b.last_offset) FROM b;
WITH b AS (SELECT * FROM stream_publish('m', 'x'::text, partition => :n % 6))
INSERT INTO sent SELECT 'm', b.partition, b."offset" FROM b;
SQL
my $consume = <<'SQL';
BEGIN;
INSERT INTO seen SELECT 'f', partition, "offset" FROM stream_fetch('f', 'g', 30);
SELECT count(*) FROM seen WHERE pid = 0;
COMMIT;
SQL
my $undo = <<'SQL';
BEGIN;
INSERT INTO seen SELECT 'f', partition, "offset" FROM stream_fetch('f', 'g', 30);
ROLLBACK;
SQL

# ---- members, each with a connection of its own to the pooler ----

my (%session, %generation);

sub work
{
	my ($name) = @_;
	my $session = $session{$name} //= $pool->background_psql('postgres');
	my $generation = $generation{$name} // 'NULL';
	my $row = $session->query_safe(<<"SQL");
WITH j AS (SELECT * FROM stream_join('m', 'g', '$name', '1 hour', $generation)), c AS (INSERT INTO calls VALUES ('$name'))
SELECT generation, array_to_string(partitions, ','), array_to_string(offsets, ',') FROM j;
SQL
	my ($new, $partitions, $offsets) = split /\|/, $row, -1;
	$generation{$name} = $new;
	my @offsets = split /,/, $offsets;
	for my $partition (split /,/, $partitions)
	{
		my $offset = shift @offsets;
		my $end = $session->query_safe(<<"SQL");
WITH m AS (INSERT INTO seen SELECT 'm', partition, "offset" FROM stream_read('m', $partition, $offset) RETURNING "offset")
SELECT max("offset") + 1 FROM m;
SQL
		next if $end eq '';
		$session->query_safe("SELECT stream_commit('m', 'g', $partition, $end, $new);");
	}
	return;
}

my $clients = start_pgbench($pool, 24, [ '-t', setting('TRANSACTIONS', 60) ],
	'publish@2' => $publish, 'consume@2' => $consume, 'undo@1' => $undo);
for my $round (1 .. 12)
{
	work($_) for map { "m$_" } 1 .. ($round < 6 ? $round : 6);
}
stop_pgbench($clients, '24 clients');
$session{m2}->query_safe("SELECT stream_leave('m', 'g', 'm2', $generation{m2});");
delete $generation{m2};
for (1 .. 3)
{
	work($_) for sort keys %generation;
}
$pool->safe_psql('postgres', $consume)
  while ask(q{SELECT EXISTS (SELECT FROM generate_series(0, 3) p WHERE stream_position('f', 'g', p) < stream_high_watermark('f', p))}) eq 't';

is(ask('SELECT count(*) > 100 FROM sent'), 't', 'something was sent');
for my $stream ('f', 'm')
{
	is(ask(qq{SELECT count(*) FROM (SELECT partition, "offset" FROM sent WHERE stream = '$stream' EXCEPT ALL SELECT partition, "offset" FROM seen WHERE stream = '$stream') x}),
		'0', "$stream: nothing is missing");
	is(ask(qq{SELECT count(*) FROM (SELECT partition, "offset" FROM seen WHERE stream = '$stream' EXCEPT ALL SELECT partition, "offset" FROM sent WHERE stream = '$stream') x}),
		'0', "$stream: nothing came twice");
	check_clean($node, $stream, 'behind a pooler');
}
is(ask(q{SELECT string_agg(cardinality(partitions)::text, ' ' ORDER BY cardinality(partitions)) FROM weir.members}),
	'1 1 1 1 2', 'partitions are spread');
is(ask("SELECT count(DISTINCT pid) <= $POOL FROM (SELECT pid FROM seen UNION SELECT pid FROM calls) x"), 't', 'all in a few sessions of the server');
is(ask('SELECT max(n) > 1 FROM (SELECT count(DISTINCT pid) AS n FROM calls GROUP BY member) x'), 't', 'a member had more than one of them');

# ---- what is refused is refused to the right one ----

fails_with($pool, q{SELECT stream_join('m', 'g', 'm1')}, '55006', 'a name twice');
fails_with($pool, q{SELECT stream_commit('m', 'g', 0, 0, -1)}, 'WR017', 'a generation that nobody has');
ask(q{SELECT stream_leave('m', 'g', 'm1')});
fails_with($pool, "SELECT stream_join('m', 'g', 'm1', generation => $generation{m1})", 'WR017', 'a membership that was ended');

$_->quit for values %session;
$pooler->{run}->signal('TERM');
finish_job($pooler);
undef $pool;
no_alarms($node);
done_testing();
