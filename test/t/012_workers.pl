# The launcher and the keepers: where they run, when they go, what wakes them.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WeirTest;

my $node = weir_node('workers', conf => <<'CONF', extension => 0, init => [ allows_streaming => 1 ]);
shared_preload_libraries = 'weir'
max_prepared_transactions = 10
max_worker_processes = 12
restart_after_crash = on
CONF

my $keeper = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'weir keeper' AND datname = '%s'};
my $since = q{SELECT since FROM weir.workers WHERE kind = 'keeper' AND database = 'postgres'};

sub keeper_of
{
	my ($db) = @_;
	return $node->safe_psql('postgres', sprintf $keeper, $db);
}

# A keeper that stays: the extension is there, it has looked at everything.
sub keeper_comes
{
	my ($db, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $on = $opt{node} // $node;
	my $not = $opt{not} // 0;
	return wait_until($on, qq{SELECT EXISTS (SELECT FROM weir.workers w JOIN pg_stat_activity a USING (pid)
		WHERE w.kind = 'keeper' AND w.database = '$db' AND w.doing = 'idle' AND a.datname = '$db' AND w.pid <> $not)}, $name);
}

# Nothing in a database, and nothing to come.
sub keeper_goes
{
	my ($db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($node, qq{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ '^weir' AND datname = '$db')
		AND NOT EXISTS (SELECT FROM weir.workers WHERE database = '$db')}, $name);
}

# A command that needs a database for itself does not wait for PostgreSQL's 5 s.
sub at_once
{
	my ($sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $start = time;
	my ($status, $out, $err) = $node->psql('postgres', $sql);
	my $took = time - $start;
	is($status, 0, $name) or diag $err;
	cmp_ok($took, '<', 4, "$name: at once");
	note sprintf '%s: %.2f s', $name, $took;
	return;
}

sub new_database
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, 'CREATE EXTENSION weir');
	keeper_comes($db, "a keeper in $db");
	return;
}

# Where there is the extension there is a keeper, and nowhere else.
wait_until($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'weir launcher'}, 'there is a launcher');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('postgres', 'CREATE EXTENSION weir');
keeper_comes('postgres', 'a keeper after CREATE EXTENSION');
keeper_goes('other', 'none where the extension is not');
is($node->safe_psql('postgres', q{SELECT kind, database, pid IS NOT NULL, last_error IS NULL, last_error_at IS NULL
	FROM weir.workers WHERE kind = 'launcher'}), 'launcher||t|t|t', 'the view shows the launcher');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity a JOIN weir.workers USING (pid)
	WHERE a.application_name = 'weir keeper for database postgres'}), '1', 'the keeper says its name');
$node->safe_psql('postgres', 'CREATE USER nobody; CREATE USER watcher IN ROLE pg_monitor');
fails_with($node, 'SET ROLE nobody; SELECT * FROM weir.workers', '42501', 'not everybody sees workers');
is($node->safe_psql('postgres', 'SET ROLE watcher; SELECT count(*) > 1 FROM weir.workers'), 't', 'monitors do');

# Made in a transaction that rolls back.
$node->safe_psql('other', 'BEGIN; CREATE EXTENSION weir; ROLLBACK');
keeper_goes('other', 'none after CREATE EXTENSION was rolled back');

# Dropped, in all ways.
for my $drop ('DROP EXTENSION weir', 'DROP SCHEMA x CASCADE', q{DO 'BEGIN DROP EXTENSION weir; END'},
	q{BEGIN; DROP EXTENSION weir; PREPARE TRANSACTION 'd'; COMMIT PREPARED 'd'})
{
	$node->safe_psql('other', 'CREATE SCHEMA x; CREATE EXTENSION weir SCHEMA x');
	keeper_comes('other', "a keeper before $drop");
	$node->safe_psql('other', $drop);
	keeper_goes('other', "none after $drop");
	$node->safe_psql('other', 'DROP SCHEMA IF EXISTS x');
}

# In a hurry: what counts is what is there in the end.
for my $round (1 .. 5)
{
	$node->safe_psql('other', "CREATE EXTENSION weir;\nDROP EXTENSION weir;\n" x 3);
	keeper_goes('other', "made and dropped, round $round");
	$node->safe_psql('other', "CREATE EXTENSION weir;\nDROP EXTENSION weir;\n" x 2 . 'CREATE EXTENSION weir');
	keeper_comes('other', "and made again, round $round");
	$node->safe_psql('other', 'DROP EXTENSION weir');
}
keeper_goes('other', 'and dropped in the end');

# Dropped in a transaction that rolls back: it looks, and goes on.
{
	my $pid = keeper_of('postgres');
	my $session = $node->background_psql('postgres');
	$session->query_safe('BEGIN; DROP EXTENSION weir;');
	is(keeper_of('postgres'), $pid, 'it stays while the extension is being dropped');
	$session->query_safe('ROLLBACK;');
	$session->quit;
	my $before = $node->safe_psql('postgres', $since);
	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS weir');
	wait_until($node, "SELECT ($since) > '$before'", 'it was woken since');
	is(keeper_of('postgres'), $pid, 'and when that was rolled back');
}

# Commands that need a database for themselves.
{
	my $idle = keeper_of('postgres');
	new_database('drop1');
	at_once('DROP DATABASE drop1', 'DROP DATABASE');
	new_database('drop2');
	at_once('DROP DATABASE drop2 WITH (FORCE)', 'DROP DATABASE WITH (FORCE)');
	for my $round (1 .. 5)
	{
		$node->safe_psql('postgres', 'CREATE DATABASE fresh');
		$node->safe_psql('fresh', 'CREATE EXTENSION weir');
		at_once('DROP DATABASE fresh', "DROP DATABASE while its keeper starts, round $round");
	}

	new_database('renamed1');
	my $pid = keeper_of('renamed1');
	at_once('ALTER DATABASE renamed1 RENAME TO renamed2', 'RENAME');
	keeper_comes('renamed2', 'a keeper after RENAME', not => $pid);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name = 'weir keeper for database renamed2'}), '1', 'with the new name');

	# In a transaction block, twice.
	my $session = $node->background_psql('postgres');
	$session->query_safe('BEGIN; ALTER DATABASE renamed2 RENAME TO renamed3; ALTER DATABASE renamed3 RENAME TO renamed4;');
	is(keeper_of('renamed2'), '', 'no keeper until the end of a transaction that renames');
	$session->query_safe('ROLLBACK;');
	$session->quit;
	keeper_comes('renamed2', 'a keeper after it was rolled back');

	# It is a template, and ends to be one.
	$node->safe_psql('postgres', 'CREATE DATABASE model IS_TEMPLATE true');
	$node->safe_psql('model', 'CREATE EXTENSION weir');
	keeper_goes('model', 'no keeper in a template');
	at_once('CREATE DATABASE modelled TEMPLATE model', 'CREATE DATABASE from what is a template');
	keeper_comes('modelled', 'a keeper in its copy');
	$node->safe_psql('postgres', 'ALTER DATABASE model IS_TEMPLATE false');
	keeper_comes('model', 'a keeper when it is no template any more');
	at_once("DROP DATABASE $_", "DROP DATABASE $_") for qw(model modelled);

	$pid = keeper_of('renamed2');
	at_once('CREATE DATABASE copied TEMPLATE renamed2', 'CREATE DATABASE from a template');
	keeper_comes('renamed2', 'a keeper in the template', not => $pid);
	keeper_comes('copied', 'and in the copy');

	my $dir = PostgreSQL::Test::Utils::tempdir;
	$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$dir'");
	$pid = keeper_of('copied');
	at_once('ALTER DATABASE copied SET TABLESPACE space', 'SET TABLESPACE');
	keeper_comes('copied', 'a keeper after SET TABLESPACE', not => $pid);

	# It fails: there is somebody else.  The keeper comes back.
	$session = $node->background_psql('copied');
	$pid = keeper_of('copied');
	fails_with($node, 'DROP DATABASE copied', '55006', 'DROP DATABASE with a session there');
	keeper_comes('copied', 'a keeper after a failed DROP DATABASE', not => $pid);
	$pid = keeper_of('copied');

	# The command is cancelled, its session ends: the hold goes with it.
	fails_with($node, q{SET statement_timeout = '1s'; DROP DATABASE copied}, '57014', 'a cancelled DROP DATABASE');
	keeper_comes('copied', 'a keeper after a cancelled DROP DATABASE', not => $pid);
	$pid = keeper_of('copied');
	my $job = psql_job($node, 'DROP DATABASE copied;');
	wait_until($node, q{SELECT count(pg_terminate_backend(pid)) = 1 FROM pg_stat_activity
		WHERE query ~ '^DROP DATABASE' AND state = 'active'}, 'a DROP DATABASE is terminated');
	finish_job($job);
	keeper_comes('copied', 'a keeper after a terminated DROP DATABASE', not => $pid);
	$session->quit;

	# Who may not run the command stops nothing.
	$pid = keeper_of('copied');
	fails_with($node, 'SET ROLE nobody; DROP DATABASE copied', '42501', 'DROP DATABASE by somebody');
	fails_with($node, 'SET ROLE nobody; ALTER DATABASE copied RENAME TO no', '42501', 'RENAME by somebody');
	fails_with($node, 'SET ROLE nobody; CREATE DATABASE no TEMPLATE copied', '42501', 'CREATE DATABASE by somebody');
	is(keeper_of('copied'), $pid, 'the keeper has not noticed');
	fails_with($node, 'DROP DATABASE postgres', '55006', 'the own database');
	fails_with($node, 'BEGIN; DROP DATABASE copied', '25001', 'DROP DATABASE in a transaction block');
	keeper_comes('copied', 'a keeper after that');
	at_once('DROP DATABASE copied', 'DROP DATABASE in the end');
	at_once('DROP DATABASE renamed2', 'and of the other');
	$node->safe_psql('postgres', 'DROP TABLESPACE space');
	at_once('DROP DATABASE IF EXISTS renamed2', 'and of none');
	is(keeper_of('postgres'), $idle, 'the keeper of another database was never stopped');
	wait_until($node, q{SELECT count(*) = 2 FROM weir.workers}, 'no slot of a dropped database is left');
	unlike(slurp_file($node->logfile), qr{database \d+ does not exist}, 'nobody tried to connect to one');
}

# What wakes it: COMMIT PREPARED, with the extension made or dropped by it.
{
	$node->safe_psql('postgres', q{CREATE TABLE t (); BEGIN; INSERT INTO t DEFAULT VALUES; PREPARE TRANSACTION 'p'});
	my $before = $node->safe_psql('postgres', $since);
	$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
	wait_until($node, "SELECT ($since) > '$before'", 'COMMIT PREPARED wakes the keeper');

	$before = $node->safe_psql('postgres', $since);
	$node->safe_psql('postgres', 'INSERT INTO t DEFAULT VALUES; CREATE TABLE u (); DROP TABLE u');
	$node->safe_psql('other', 'CREATE TABLE t ()');
	is($node->safe_psql('postgres', $since), $before, 'what does not concern it does not wake it');
}

# Cancelling it while it is idle is nothing to it.
{
	my $pid = keeper_of('postgres');
	my $before = $node->safe_psql('postgres', $since);
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type ~ '^weir'});
	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS weir');
	wait_until($node, "SELECT ($since) > '$before'", 'it was cancelled, and woken later');
	is(keeper_of('postgres'), $pid, 'it goes on');
}

# A duty that fails comes again, and the keeper goes on.
SKIP:
{
	skip 'needs a build with debug points', 3
	  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'weir.debug_points'}) eq '0';
	my $pid = keeper_of('postgres');
	$node->append_conf('postgresql.conf', q{weir.debug_points = 'keeper_duty=error'});
	$node->reload;
	$node->safe_psql('postgres', 'CREATE EXTENSION IF NOT EXISTS weir');
	wait_until($node, q{SELECT last_error = 'looking around: debug point "keeper_duty"' AND last_error_at <= now()
		FROM weir.workers WHERE kind = 'keeper' AND database = 'postgres'}, 'the error of a duty is shown');
	my $before = $node->safe_psql('postgres', q{SELECT last_error_at FROM weir.workers WHERE database = 'postgres'});
	wait_until($node, qq{SELECT last_error_at > '$before' FROM weir.workers WHERE database = 'postgres'}, 'it comes again');
	is(keeper_of('postgres'), $pid, 'the keeper lives');
	$node->append_conf('postgresql.conf', q{weir.debug_points = ''});
	$node->reload;
}

# Ended by others.
{
	my $pid = keeper_of('postgres');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	keeper_comes('postgres', 'a keeper that was terminated comes back', not => $pid);
	like($node->safe_psql('postgres', q{SELECT last_error FROM weir.workers WHERE database = 'postgres'}),
		qr{ended unexpectedly}, 'and that is shown');

	$pid = keeper_of('postgres');
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'weir launcher'});
	keeper_comes('postgres', 'a launcher that was terminated starts all again', not => $pid);

	new_database('orphan');
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'weir launcher'});
	at_once('DROP DATABASE orphan', 'DROP DATABASE without a launcher');
	keeper_comes('postgres', 'the launcher is there again');
	wait_until($node, q{SELECT count(*) = 2 FROM weir.workers}, 'and has tidied up');

	# A crash of the server, on purpose.
	$pid = keeper_of('postgres');
	kill 'KILL', $pid;
	keeper_comes('postgres', 'the server restarts after kill -9, and the keeper comes back', not => $pid);
}

# Not on a standby; there after its promotion.
{
	$node->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'b', has_streaming => 1);
	$standby->start;
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('postgres', q{SELECT count(*) FROM weir.workers}), '0', 'no worker on a standby');
	is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^weir'}), '0', 'really none');
	$standby->promote;
	keeper_comes('postgres', 'a keeper after its promotion', node => $standby);
	$standby->stop;
}

# No room for another process: one warning, and it comes when there is.
{
	$node->safe_psql('other', 'CREATE EXTENSION weir');
	keeper_comes('other', 'a second keeper');
	# The launcher of logical replication takes one, ours one, a keeper one.
	$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
	my $log = -s $node->logfile;
	$node->restart;
	wait_until($node, q{SELECT count(*) = 1 FROM weir.workers WHERE kind = 'keeper' AND doing = 'idle'}, 'one of two keepers');
	$node->wait_for_log(qr{could not start a background worker of weir}, $log);
	ok(1, 'a warning');
	$node->safe_psql('postgres', q{SELECT stream_create('s', 1, 'text', '{"segment_messages": 10}');
		SELECT stream_publish('s', 'm') FROM generate_series(1, 50)});
	is($node->safe_psql('postgres', 'SELECT count(*) FROM stream_read(\'s\')'), '50', 'the server works');
	my ($has) = $node->safe_psql('postgres', q{SELECT database FROM weir.workers WHERE kind = 'keeper' AND pid IS NOT NULL});
	my $waits = $has eq 'other' ? 'postgres' : 'other';
	like($node->safe_psql('postgres', "SELECT doing FROM weir.workers WHERE database = '$waits'"), qr{room|^$}, 'the other waits');
	if ($has eq 'other')
	{
		$node->safe_psql('other', 'DROP EXTENSION weir');
		keeper_comes('postgres', 'the other comes when there is room');
	}
	else
	{
		$node->safe_psql('postgres', 'DROP TABLE s; DROP EXTENSION weir');
		wait_until($node, q{SELECT count(*) = 1 FROM weir.workers WHERE doing = 'idle' AND kind = 'keeper'},
			'the other comes when there is room', db => 'other');
	}
	my @warnings = slurp_file($node->logfile, $log) =~ m{WARNING:.*could not start a background worker of weir}g;
	is(scalar @warnings, 1, 'one warning');
}

$node->stop;

# What was killed on purpose is no alarm.
my $alarms = join "\n", grep { m{PANIC|TRAP:|\bleak|still referenced|XX000|invalid memory alloc|corrupt} }
  split /\n/, slurp_file($node->logfile);
is($alarms, '', 'the log');
done_testing();
