# WeirTest: what the TAP tests of weir share.
#
#   setting('SECONDS', 10)           the environment's WEIR_TEST_SECONDS, or 10
#   my $node = weir_node('main', conf => '...', init => [...], extension => 0)
#   publish($node, 's', [0, 1], 'from', 'to', pad => 100)
#   contents($node, 's')             all messages of a stream, as one string
#   check_clean($node, 's', 'after ...')
#   fails_with($node, 'SELECT ...', 'WR008', 'what is refused')
#   my $job = start_job(@command);  finish_job($job, 'name')
#   my $job = psql_job($node, 'SELECT ...', options => [...])
#   my $job = start_pgbench($node, 8, [options], { db => 'name' }, 'one@3' => $sql, ...)
#   script_from($node, $file)        runs a file of SQL, returns its errors
#   my $session = one_session($node, 'db')   a connection that takes the place
#                                    of a node in publish, contents, check_clean
#   same_lines($got, $expected, 'name')      shows only the lines that differ
#   no_alarms($node, ...)            the last line of every test file
#
# Every function takes db => 'name' where it talks to another database than
# postgres.
package WeirTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  setting weir_node publish contents check_clean fails_with start_job
  finish_job start_pgbench stop_pgbench script_from no_alarms partitions_of
  open_segment segment_count wait_until inversions psql_job one_session
  same_lines
);

# A size or a length that can be set for longer runs.
sub setting
{
	my ($name, $default) = @_;
	return $ENV{"WEIR_TEST_$name"} // $default;
}

# A running server with the extension.  Settings are those that a test wants;
# statements are not logged, which would cost more than the tests themselves.
sub weir_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(@{ $opt{init} || [] });
	$node->append_conf('postgresql.conf', <<"CONF");
log_statement = none
log_error_verbosity = verbose
log_checkpoints = off
wal_level = replica
autovacuum = off
max_connections = 40
shared_buffers = 32MB
max_wal_size = 1GB
statement_timeout = 60s
@{[ $opt{conf} // '' ]}
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION weir')
	  unless exists $opt{extension} && !$opt{extension};
	return $node;
}

# Messages number $from to $to, one statement, round the given partitions of a
# stream whose partitioner is "explicit".
sub publish
{
	my ($node, $stream, $partitions, $from, $to, %opt) = @_;
	my $list = join ',', @$partitions;
	my $count = @$partitions;
	my $pad = $opt{pad} // 0;
	$node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT count(stream_publish('$stream', i || repeat('.', $pad), 'k' || i % 10, NULL,
                            ('{$list}'::int[])[1 + i % $count]))
  FROM generate_series($from, $to) i
SQL
	return;
}

# How many partitions a stream has.
sub partitions_of
{
	my ($node, $stream, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres',
		"SELECT partitions FROM weir.stream WHERE stream = '$stream'::regclass");
}

# What stream_read gives from all partitions: number of messages, then a sum
# over all columns in order of the offsets, one line for each partition.
sub contents
{
	my ($node, $stream, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT p, count(m."offset"), min(m."offset"), max(m."offset"),
       md5(string_agg(m::text, E'\\n' ORDER BY n))
  FROM generate_series(0, (SELECT partitions - 1 FROM weir.stream
                            WHERE stream = '$stream'::regclass)) p
  LEFT JOIN LATERAL stream_read('$stream'::text, p, NULL, NULL, 'earliest')
       WITH ORDINALITY m (partition, "offset", ts, key, value, headers, n) ON true
 GROUP BY p ORDER BY p
SQL
}

# stream_check finds nothing, and what stream_read gives is what SQL sees,
# unless something is undecided.
sub check_clean
{
	my ($node, $stream, $name, %opt) = @_;
	my $db = $opt{db} // 'postgres';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql($db, "SELECT * FROM stream_check('$stream')"),
		'', "stream_check $name");
	return if $opt{undecided};
	is($node->safe_psql($db, <<"SQL"), '', "stream_read against SELECT $name");
WITH r AS (
  SELECT m.* FROM generate_series(0, (SELECT partitions - 1 FROM weir.stream
                                       WHERE stream = '$stream'::regclass)) p,
         stream_read(NULL::$stream, p, NULL, NULL, 'earliest') m)
(SELECT 'missing', partition, "offset" FROM $stream EXCEPT ALL
 SELECT 'missing', partition, "offset" FROM r)
UNION ALL
(SELECT 'too much', partition, "offset" FROM r EXCEPT ALL
 SELECT 'too much', partition, "offset" FROM $stream)
LIMIT 10
SQL
	return;
}

# Neighbours in the file of a segment whose offsets do not rise.
sub inversions
{
	my ($node, $segment, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT count(*) FROM (SELECT "offset" <= lag("offset") OVER (ORDER BY ctid) AS wrong
                        FROM $segment) x WHERE wrong
SQL
}

# The last segment of a partition that has a block.
sub open_segment
{
	my ($node, $stream, $partition, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres', <<"SQL");
SELECT segment FROM weir.segments
 WHERE stream = '$stream'::regclass AND partition = $partition AND blocks > 0
 ORDER BY lower_offset DESC LIMIT 1
SQL
}

# Those that hold or held messages; the keeper makes others ahead.
sub segment_count
{
	my ($node, $stream, %opt) = @_;
	return $node->safe_psql($opt{db} // 'postgres',
		"SELECT count(*) FROM weir.segments WHERE stream = '$stream'::regclass AND blocks > 0");
}

# The statement fails with this SQLSTATE (and its message matches).
sub fails_with
{
	my ($node, $sql, $state, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($status, $out, $err) = $node->psql($opt{db} // 'postgres',
		"\\set VERBOSITY verbose\n$sql");
	my ($found) = $err =~ m{(?:ERROR|FATAL):\s+([0-9A-Z]{5}):};
	is($found // 'none', $state, $name) or diag $err;
	like($err, $opt{like}, "$name: message") if $opt{like};
	return $err;
}

# Runs SQL of a file as psql does; returns what it said on stderr.
sub script_from
{
	my ($node, $file, %opt) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[
			'psql', '-XAtq', @{ $opt{options} || [] },
			'-d', $node->connstr($opt{db} // 'postgres'),
			'-f', $file
		],
		'<', \undef, '>', \$out, '2>', \$err);
	return $err;
}

# A command beside the test.
sub start_job
{
	my (@command) = @_;
	my $opt = ref $command[0] ? shift @command : {};
	my $job = { command => \@command, in => '', out => '', err => '' };
	$job->{timer} = IPC::Run::timeout($opt->{timeout} // $PostgreSQL::Test::Utils::timeout_default);
	$job->{run} = IPC::Run::start(
		\@command, '<', \$job->{in}, '>', \$job->{out},
		'2>', \$job->{err}, $job->{timer});
	return $job;
}

# psql beside the test, with something to do.
sub psql_job
{
	my ($node, $sql, %opt) = @_;
	my $job = start_job('psql', '-XAt', @{ $opt{options} || [] },
		'-d', $node->connstr($opt{db} // 'postgres'), '-f', '-');
	$job->{in} = "$sql\n";
	$job->{run}->pump_nb while length $job->{in} && $job->{run}->pumpable;
	return $job;
}

# Waits for the command's end, which must be a good one if it has a name.
sub finish_job
{
	my ($job, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ok = eval { IPC::Run::finish($job->{run}) };
	return if !defined $name;
	ok($ok, $name) or diag "$@@{$job->{command}}\n$job->{out}\n$job->{err}";
	return;
}

my $scripts = 0;

# pgbench with scripts name@weight => SQL.
sub start_pgbench
{
	my ($node, $clients, $options, @scripts) = @_;
	my $opt = ref $scripts[0] ? shift @scripts : {};
	my $dir = $node->basedir;
	my @files;
	while (my ($name, $sql) = splice @scripts, 0, 2)
	{
		my ($base, $weight) = split /@/, $name;
		my $file = "$dir/" . $scripts++ . "_$base";
		append_to_file($file, $sql);
		push @files, '-f', defined $weight ? "$file\@$weight" : $file;
	}
	# One that runs for a time and does not end soon after hangs.
	my %given = @$options;
	my $timeout = $given{'-T'} ? { timeout => $given{'-T'} + 60 } : {};
	return start_job(
		$timeout,
		'pgbench', '-n', '-c', $clients, '-j', 2, @$options, @files,
		$node->connstr($opt->{db} // 'postgres'));
}

# The end of a pgbench: no client stopped for an error.
sub stop_pgbench
{
	my ($job, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	finish_job($job, "$name: exit status");
	unlike($job->{err}, qr{ERROR|FATAL|PANIC|aborted}, "$name: no error");
	my ($done) = $job->{out} =~ m{actually processed: (\d+)};
	note "$name: " . ($done // 'no') . ' transactions';
	return $done // 0;
}

# Polls a query until it gives true; a test that fails after the deadline.
sub wait_until
{
	my ($node, $sql, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# psql may be gone before it has the query, where a server is just
	# restarting: IPC::Run dies of the broken pipe, and that is no answer.
	for (1 .. 50)
	{
		my $result = eval { $node->poll_query_until($opt{db} // 'postgres', $sql) };
		return ok($result, $name) if defined $result;
		die $@ if $@ !~ m{Broken pipe};
	}
	return ok(0, $name);
}

# Many questions to one database in one connection: starting psql for each
# takes longer than the answers.
sub one_session
{
	my ($node, $db) = @_;
	return bless { psql => $node->background_psql($db) }, 'WeirTest::Session';
}

# Two texts are the same, line by line.
sub same_lines
{
	my ($got, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %there = map { $_ => 1 } split /\n/, $expected;
	my %here = map { $_ => 1 } split /\n/, $got;
	return ok($got eq $expected, $name)
	  || diag(join "\n", (map { "new: $_" } grep { !$there{$_} } split /\n/, $got),
		(map { "missing: $_" } grep { !$here{$_} } split /\n/, $expected));
}

# Nothing in the logs that no result shows.
sub no_alarms
{
	my (@nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $node (@nodes)
	{
		my @alarms = grep {
			m{PANIC|TRAP:|terminated by signal|\bleak|still referenced|XX000|invalid memory alloc|corrupt}
		} split /\n/, slurp_file($node->logfile);
		is(join("\n", @alarms), '', 'log of ' . $node->name);
	}
	return;
}

package WeirTest::Session;

sub safe_psql
{
	my ($self, $db, $sql) = @_;
	return $self->{psql}->query_safe("$sql;");
}

sub quit
{
	my ($self) = @_;
	return $self->{psql}->quit;
}

1;
