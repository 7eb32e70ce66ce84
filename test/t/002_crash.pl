# A server that crashes again and again under load: what was acknowledged is
# there afterwards, where the publisher was told, in order, once.
#
# WEIR_TEST_CRASHES: how often.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $crashes = setting('CRASHES', 30);
my $partitions = 2;

my $node = weir_node('crash', conf => "log_error_verbosity = terse\nsynchronous_commit = on");
$node->safe_psql('postgres', <<"SQL");
SELECT stream_create('s', $partitions, 'text', '{"segment_messages": 150, "segment_bytes": "64kB"}');
CREATE INDEX ON s (key);
SQL

# A publisher is a psql that makes its statements itself and prints where each
# message went when the server has acknowledged it: name|partition|first-last,...
# for the messages name/1, name/2, ...  What it prints between "begin" and
# "commit" is acknowledged by the latter.
my $one = q{format('SELECT %L, partition, "offset" || ''-'' || "offset" FROM stream_publish(''s'', %L, partition => %s)',
                   id, id || '/1', i % 2)};
my $many = q{format('SELECT %L, partition, string_agg(first_offset || ''-'' || last_offset, '','' ORDER BY first_offset)
                       FROM stream_publish_batch(''s'', ARRAY(SELECT %L || g FROM generate_series(1, %s) g), partition => %s)
                      GROUP BY partition',
                    id || '_many', id || '_many/', 2 + i % 120, i % 2)};
my $block = "'BEGIN', 'SELECT ''begin''', $one, 'SAVEPOINT a', 'SELECT ''savepoint''', $many,"
  . " CASE WHEN i % 3 = 0 THEN 'ROLLBACK TO a; SELECT ''back''' END,"
  . " CASE WHEN i % 5 = 0 THEN 'ROLLBACK; SELECT ''rollback''' ELSE 'COMMIT; SELECT ''commit''' END";
my @publishers = ($one, $one, $many, $block, $block);

my %acknowledged;    # message => "partition|offset"
my %found;           # message => "partition|offset", as read
my @position = (0) x $partitions;

# Takes down what the output of a publisher acknowledges; says what was in
# disorder.
sub take_down
{
	my ($output) = @_;
	my (@pending, @kept, $in_block, @wrong);
	my @last = (-1) x $partitions;
	my $count = 0;
	$output =~ s{[^\n]*\z}{};    # half a line says nothing
	for my $line (split /\n/, $output)
	{
		if ($line eq 'begin') { $in_block = 1; }
		elsif ($line eq 'savepoint') { @kept = @pending; }
		elsif ($line eq 'back') { @pending = @kept; }
		elsif ($line eq 'rollback') { @pending = (); $in_block = 0; }
		elsif ($line eq 'commit') { $in_block = 0; }
		elsif ($line =~ m{^(\S+)\|(\d+)\|([-,\d]+)$})
		{
			my ($name, $partition, $ranges) = ($1, $2, $3);
			my $number = 0;
			for my $range (split /,/, $ranges)
			{
				my ($first, $last) = split /-/, $range;
				push @pending, [ "$name/" . ++$number, $partition, $_ ] for $first .. $last;
			}
		}
		else { push @wrong, "not understood: $line"; }
		next if $in_block;
		for (@pending)
		{
			my ($message, $partition, $offset) = @$_;
			push @wrong, "$message at $offset after $last[$partition]" if $offset <= $last[$partition];
			$last[$partition] = $offset;
			$acknowledged{$message} = "$partition|$offset";
		}
		$count += @pending;
		@pending = ();
	}
	return ($count, @wrong);
}

# Reads on from where we are; says what was there before, or was acknowledged
# elsewhere.
sub read_on
{
	my @wrong;
	my $rows = $node->safe_psql('postgres', join ';',
		map { "SELECT partition, \"offset\", value FROM stream_read(NULL::s, $_, $position[$_], NULL)" }
		  0 .. $partitions - 1);
	for my $row (split /\n/, $rows)
	{
		my ($partition, $offset, $message) = split /\|/, $row;
		push @wrong, "twice: $row" if exists $found{$message};
		push @wrong, "order: $row" if $offset < $position[$partition];
		$found{$message} = "$partition|$offset";
		$position[$partition] = $offset + 1;
	}
	return @wrong;
}

my (@wrong, @dirty, @errors);
my $total = 0;
my $without = 0;
for my $crash (1 .. $crashes)
{
	my @jobs = map {
		psql_job($node, "SELECT $publishers[$_] FROM (SELECT i, 'c${crash}_p${_}_' || i AS id"
			  . " FROM generate_series(1, 3000) i) x \\gexec", options => ['-q'])
	} 0 .. $#publishers;
	my $vacuum = psql_job($node, "SELECT format('VACUUM %s %s', CASE WHEN n % 7 = 0 THEN 'FULL' END, segment) FROM weir.segment, generate_series(1, 20) n"
	  . " ORDER BY lower_offset DESC, random() LIMIT 100 \\gexec\nCHECKPOINT;", options => ['-q']);

	# Until each of them has said so much.
	my $enough = 100 + 137 * $crash % 1500;
	for my $job (@jobs)
	{
		$_->{run}->pump_nb for @jobs;
		$job->{run}->pump while $job->{run}->pumpable && length $job->{out} < $enough;
	}
	$node->stop('immediate');
	my $count = 0;
	for my $job (@jobs, $vacuum)
	{
		finish_job($job);
		push @errors, $1
		  if $job->{err} =~ m{^(?!.*(?:terminating connection|server closed|connection to server was lost))([^\n]*(?:ERROR|PANIC|FATAL)[^\n]*)}m;
		next if $job == $vacuum;
		my ($taken, @disorder) = take_down($job->{out});
		push @wrong, map { "crash $crash: $_" } @disorder;
		$count += $taken;
	}
	$without++ if $count == 0;
	$total += $count;
	$node->start;
	push @wrong, map { "crash $crash: $_" } read_on();
	my $check = $node->safe_psql('postgres', "SELECT * FROM stream_check('s')");
	push @dirty, "crash $crash: $check" if $check ne '';
}

push @wrong, grep { ($found{$_} // 'nowhere') ne $acknowledged{$_} } sort keys %acknowledged;
is(join("\n", @wrong[ 0 .. ($#wrong < 9 ? $#wrong : 9) ]),
	'', 'what was acknowledged is there, where it was said, once, in order');
is(join("\n", @dirty), '', 'stream_check after each crash');
is(join("\n", @errors), '', 'no publisher had an error');
cmp_ok($total, '>', 50 * $crashes, "$total messages acknowledged in $crashes crashes");
cmp_ok($without, '<', $crashes / 3, 'hardly a crash without load');

# All of it once more, from the start.
my %before = %found;
%found = ();
@position = (0) x $partitions;
is(join("\n", read_on()), '', 'read from the start');
is_deeply(\%found, \%before, 'nothing has changed since it was read first');
check_clean($node, 's', 'at the end');
my $last = $node->safe_psql('postgres', "SELECT max(\"offset\") FROM s WHERE partition = 0");
cmp_ok($node->safe_psql('postgres', q{SELECT "offset" FROM stream_publish('s', 'after', partition => 0)}),
	'>', $last, 'publishing goes on');

no_alarms($node);
done_testing();
