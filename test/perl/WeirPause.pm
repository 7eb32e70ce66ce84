# WeirPause: what the TAP tests of pausing share, beside WeirTest.
#
#   my $node = pause_node('main', conf => '...')     weir preloaded
#   states($node, 's')               '0:paused/detached 1:active/attached'
#   becomes($node, 's', '0:...', 'name')             polls for it
#   settles($node, 'name')           every table is where its state wants it
#   log_is_sane($node, 's', 'name')  each change once, and in order
#   events($node, 's')               'created paused:0,1 detached:0 ...'
#   has_points($node)                a build with debug points?
#   set_points($node, 'name=error')  for the keeper
#   total($node, 's')                messages, by stream_read
#   keeper_pid($node)
#
# Every function takes db => 'name' as in WeirTest.
package WeirPause;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use Test::More;
use WeirTest;

our @EXPORT = qw(
  pause_node states becomes settles log_is_sane events has_points set_points
  total keeper_pid ended_well
);

sub pause_node
{
	my ($name, %opt) = @_;
	my $conf = delete $opt{conf} // '';
	return weir_node($name, %opt, conf => <<"CONF");
shared_preload_libraries = 'weir'
max_worker_processes = 16
max_prepared_transactions = 10
$conf
CONF
}

sub states_query
{
	my ($stream) = @_;
	return "(SELECT string_agg(partition || ':' || state || '/' || actual, ' ' ORDER BY partition)"
	  . " FROM weir.partitions WHERE stream = '$stream'::regclass)";
}

sub states
{
	my ($node, $stream, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres', 'SELECT ' . states_query($stream));
}

sub becomes
{
	my ($node, $stream, $expected, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, 'SELECT ' . states_query($stream) . " = '$expected'", $name, %opt)
	  || diag 'there is: ' . states($node, $stream, %opt);
}

sub settles
{
	my ($node, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, <<'SQL', $name, %opt)
SELECT NOT EXISTS (SELECT FROM weir.partition WHERE NOT settled)
   AND NOT EXISTS (SELECT FROM weir.resume_request)
SQL
	  || diag $node->safe_psql($opt{db} // 'postgres',
		'SELECT * FROM weir.partition WHERE NOT settled; TABLE weir.resume_request; TABLE weir.workers');
}

# Neighbours in the log that cannot be: twice the same, or a beginning that
# changes nothing.
sub log_is_sane
{
	my ($node, $stream, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql($opt{db} // 'postgres', <<"SQL"), '', "activity log $name");
WITH e AS (
  SELECT "offset", value::jsonb AS v,
         count(*) FILTER (WHERE value::jsonb ->> 'event' = 'created') OVER (ORDER BY "offset") AS life
    FROM stream_read('weir.activity', max_messages => NULL) WHERE key = '$stream'::regclass::text OR key = 'public.$stream'),
p AS (
  SELECT "offset", p.n::int AS n, v, life,
         CASE WHEN v ->> 'event' IN ('paused', 'auto-paused') THEN 'paused' ELSE v ->> 'event' END AS event,
         CASE WHEN v ->> 'event' ~ 'tached' THEN 'table'
              WHEN v ->> 'event' ~ 'readonly' THEN 'readonly' ELSE 'state' END AS kind
    FROM e, jsonb_array_elements_text(v -> 'partitions') p (n)
   WHERE v ->> 'event' IN ('paused', 'auto-paused', 'resumed', 'attached', 'detached', 'readonly set', 'readonly cleared')),
l AS (
  SELECT *, lag(event, 1, CASE kind WHEN 'table' THEN 'attached' WHEN 'readonly' THEN 'readonly cleared' ELSE 'resumed' END) OVER w AS before,
         lag(v) OVER w AS before_v
    FROM p WINDOW w AS (PARTITION BY life, n, kind ORDER BY "offset"))
SELECT n, "offset", event, 'after', before FROM l
 WHERE event = before
   AND NOT (event = 'paused' AND (v -> 'resume_all', v -> 'detach') IS DISTINCT FROM (before_v -> 'resume_all', before_v -> 'detach'))
 ORDER BY 1, 2 LIMIT 10
SQL
}

# What happened to the states of a stream, in order.
sub events
{
	my ($node, $stream, %opt) = @_;
	my $not = $opt{without} // 'segment';
	return $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT string_agg(concat_ws(':', value::jsonb ->> 'event',
                            translate((value::jsonb -> 'partitions')::text, '[] ', ''),
                            CASE WHEN value::jsonb ->> 'event' ~ 'resumed|paused' THEN value::jsonb ->> 'cause' END), ' ' ORDER BY "offset")
  FROM stream_read('weir.activity', max_messages => NULL)
 WHERE key = 'public.$stream' AND value::jsonb ->> 'event' !~ '$not'
SQL
}

sub has_points
{
	my ($node) = @_;
	$node->psql('postgres', q{SELECT stream_create('probe')});
	my $has = $node->safe_psql('postgres', q{SELECT weir.longest_append_hold() IS NULL; SELECT count(*) FROM pg_settings WHERE name = 'weir.debug_points'});
	$node->safe_psql('postgres', q{SELECT stream_drop('probe')});
	return $has =~ m{1$};
}

# The keeper takes them when it has reloaded.  A session of a test that wants
# none sets weir.debug_points to ''.
sub set_points
{
	my ($node, $points) = @_;
	$node->append_conf('postgresql.conf', "weir.debug_points = '$points'");
	$node->reload;
	return;
}

sub total
{
	my ($node, $stream, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT count(m."offset")
  FROM generate_series(0, (SELECT partitions - 1 FROM weir.stream WHERE stream = '$stream'::regclass)) p,
       stream_read('$stream'::text, p, max_messages => NULL) m
SQL
}

sub keeper_pid
{
	my ($node, %opt) = @_;
	my $db = $opt{db} // 'postgres';
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'weir keeper' AND datname = '$db'");
}

# The last lines of a test: nothing in the log that no result shows.
sub ended_well
{
	my ($node, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $alarm = $opt{crashes} ? qr{PANIC|TRAP:|\bleak|still referenced|XX000|XX001|invalid memory alloc|corrupt|do not agree}
	  : qr{PANIC|TRAP:|terminated by signal|\bleak|still referenced|XX000|XX001|invalid memory alloc|corrupt|do not agree};
	is(join("\n", grep { $_ =~ $alarm } split /\n/, PostgreSQL::Test::Utils::slurp_file($node->logfile)),
		'', 'log of ' . $node->name);
	return;
}

1;
