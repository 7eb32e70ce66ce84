# Logical replication: out of a stream it works, into a stream it is refused.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $source = weir_node('source', init => [ allows_streaming => 'logical' ], conf => 'wal_level = logical');
my $target = weir_node('target', init => [ allows_streaming => 'logical' ], conf => 'wal_level = logical');
my $columns = 'partition int NOT NULL, "offset" bigint NOT NULL, ts timestamptz NOT NULL, key text, value text, headers jsonb';
my $from = $source->connstr('postgres');

sub subscribe
{
	my ($name, $options) = @_;
	$target->safe_psql('postgres',
		"CREATE SUBSCRIPTION $name CONNECTION \$c\$$from\$c\$ PUBLICATION $name WITH ($options)");
	return;
}

# Out of a stream, as the stream.
$source->safe_psql('postgres', <<'SQL');
SELECT stream_create('s', 2, 'text', '{"segment_messages": 50, "partitioner": "explicit"}');
CREATE PUBLICATION as_root FOR TABLE s WITH (publish_via_partition_root = true);
SQL
publish($source, 's', [ 0, 1 ], 1, 130);
$target->safe_psql('postgres', "CREATE TABLE s ($columns)");
subscribe('as_root', 'copy_data = true');
$target->wait_for_subscription_sync($source, 'as_root');
publish($source, 's', [ 0, 1 ], 131, 400, pad => 3000);
$source->safe_psql('postgres', q{BEGIN; SELECT stream_publish('s', 'back', partition => 0); ROLLBACK});
$source->safe_psql('postgres', q{SELECT * FROM stream_publish_batch('s', array_fill('b'::text, ARRAY[120]), partition => 1)});
$source->wait_for_catchup('as_root');
my $all = 'SELECT count(*), md5(string_agg(s::text, E\'\n\' ORDER BY partition, "offset")) FROM s';
is($target->safe_psql('postgres', $all), $source->safe_psql('postgres', $all),
	'a stream replicates to a plain table, through rolls');
is($target->safe_psql('postgres', q{SELECT count(*) FROM s WHERE ctid IN
	(SELECT a.ctid FROM s a JOIN s b ON a.partition = b.partition AND a."offset" = b."offset" AND a.ctid < b.ctid)}),
	'0', 'each message once');
$target->safe_psql('postgres', 'DROP SUBSCRIPTION as_root; DROP TABLE s');

# Out of a stream, as its segments.
$source->safe_psql('postgres', <<'SQL');
SELECT stream_create('q', 1, 'text');
CREATE PUBLICATION as_parts FOR TABLE q WITH (publish_via_partition_root = false);
SQL
publish($source, 'q', [0], 1, 20);
$target->safe_psql('postgres', "CREATE TABLE q_p0_s0 ($columns)");
subscribe('as_parts', 'copy_data = true');
$target->wait_for_subscription_sync($source, 'as_parts');
publish($source, 'q', [0], 21, 50);
$source->wait_for_catchup('as_parts');
is($target->safe_psql('postgres', 'SELECT count(*), max("offset") FROM q_p0_s0'), '50|49', 'segments replicate to plain tables');
$target->safe_psql('postgres', 'DROP SUBSCRIPTION as_parts');
check_clean($source, 's', 'at the source');

# Into a stream.  Names: the stream itself, a partition, a segment.
$target->safe_psql('postgres', <<'SQL');
DROP TABLE q_p0_s0;
SELECT stream_create('t', 1, 'text');
SELECT stream_publish('t', 'own');
SELECT stream_create('u', 1, 'text');
SQL
for my $case ([ 't', 'a stream' ], [ 't_p0', 'a partition' ], [ 't_p0_s0', 'a segment' ], [ 'u', 'an empty stream' ])
{
	my ($table, $what) = @$case;
	(my $stream = $table) =~ s{_.*}{};
	my $before = contents($target, $stream);
	$source->safe_psql('postgres', "CREATE TABLE $table ($columns); CREATE PUBLICATION into_$table FOR TABLE $table");
	my $log = -s $target->logfile;
	subscribe("into_$table", 'copy_data = false');
	$source->safe_psql('postgres', "INSERT INTO $table VALUES (0, 7, now(), 'k', 'from elsewhere', NULL)");
	my $refused = eval {
		local $PostgreSQL::Test::Utils::timeout_default = 15;
		$target->wait_for_log(qr{ERROR:\s+WR008:}, $log);
	};
	ok($refused, "applying into $what is refused");
	is(contents($target, $stream), $before, "nothing is inserted into $what");
	$target->safe_psql('postgres', "DROP SUBSCRIPTION into_$table");
	$source->safe_psql('postgres', "DROP PUBLICATION into_$table; DROP TABLE $table");
	check_clean($target, $stream, "after applying into $what");
}

# The first copy into a stream.
for my $table ('t', 'u', 'u_p0_s0')
{
	(my $stream = $table) =~ s{_.*}{};
	my $before = contents($target, $stream);
	$source->safe_psql('postgres', <<"SQL");
CREATE TABLE $table ($columns);
INSERT INTO $table SELECT 0, i, now(), 'k', 'copied', NULL FROM generate_series(5, 15) i;
CREATE PUBLICATION copy_$table FOR TABLE $table;
SQL
	my $log = -s $target->logfile;
	subscribe("copy_$table", 'copy_data = true');
	my $refused = eval {
		local $PostgreSQL::Test::Utils::timeout_default = 15;
		$target->wait_for_log(qr{ERROR:\s+WR008:}, $log);
	};
	ok($refused, "the first copy into $table is refused");
	is(contents($target, $stream), $before, "the first copy inserts nothing into $table");
	$target->safe_psql('postgres', "DROP SUBSCRIPTION copy_$table");
	check_clean($target, $stream, 'after a first copy');
}

# The stream goes on.
publish($target, 't', [0], 1, 10);
is($target->safe_psql('postgres', q{SELECT count(*), max("offset") FROM t}), '11|10', 'publishing goes on');

no_alarms($source, $target);
done_testing();
