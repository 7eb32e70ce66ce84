#!/usr/bin/perl
# pause.pl: makes the report of pause.sh.
#
#   pause.pl FACTS RUNS > REPORT.md
#
# RUNS has one line per run: part, then name=value pairs, separated by tabs.
# What was run several times is shown as the median.
use strict;
use warnings;

my ($facts_file, $runs_file) = @ARGV;
die "usage: pause.pl FACTS RUNS\n" unless defined $runs_file;

my %runs;      # part -> list of name -> value
my @errors;
my @bars;

open my $in, '<', $runs_file or die "$runs_file: $!\n";
while (my $line = <$in>)
{
	chomp $line;
	my ($part, @pairs) = split /\t/, $line;
	my %values = map { /^(\w+)=(.*)$/ ? ($1 => $2) : () } @pairs;
	if (exists $values{error})
	{
		push @errors, "$part: $values{error}";
		next;
	}
	push @{ $runs{$part} }, \%values;
}
close $in;

sub median
{
	my @v = sort { $a <=> $b } @_;
	return undef unless @v;
	return @v % 2 ? $v[ $#v / 2 ] : ($v[ @v / 2 - 1 ] + $v[ @v / 2 ]) / 2;
}

# The median of a figure over the runs of a part.
sub get
{
	my ($part, $name) = @_;
	return median(map { $_->{$name} } grep { defined $_->{$name} } @{ $runs{$part} || [] });
}

sub number
{
	my ($value) = @_;
	return '-' unless defined $value;
	return $value if $value !~ /^-?[\d.]+$/;
	return $value if $value =~ /^-?\d+$/;
	return sprintf(abs($value) >= 100 ? '%.0f' : abs($value) >= 10 ? '%.1f' : abs($value) >= 0.1 ? '%.2f' : '%.4f', $value);
}

# bar WHAT, WANTED, UNIT, MET, VALUE [, MORE]: MET says whether a value will do.
sub bar
{
	my ($what, $wanted, $unit, $met, $value, $more) = @_;
	return unless defined $value;
	push @bars, [ $what, $wanted, number($value) . $unit, $more // '',
		defined $met ? ($met->($value) ? 'yes' : '**no**') : 'reported' ];
}

sub at_most
{
	my ($limit) = @_;
	return sub { $_[0] <= $limit };
}

sub is
{
	my ($wanted) = @_;
	return sub { $_[0] == $wanted };
}

# A text with figures of a part in the place of {name}.
sub text
{
	my ($part, $text) = @_;
	return undef unless $runs{$part};
	$text =~ s/\{(\w+)\}/number(get($part, $1))/ge;
	return $text;
}

# The median of the ratios of runs that came after one another.
sub paired
{
	my ($a, $b, $name) = @_;
	my @a = map { $_->{$name} } @{ $runs{$a} || [] };
	my @b = map { $_->{$name} } @{ $runs{$b} || [] };
	return median(map { $a[$_] / $b[$_] } grep { defined $a[$_] && $b[$_] } 0 .. $#a);
}

# --- what is beside a pause ---------------------------------------------------

sub beside_bars
{
	bar('pause beside a transaction that read the whole stream: longest', '≤ 1 s', ' ms',
		at_most(1000), get('beside', 'pause_max_ms'),
		text('beside', 'median {pause_ms} ms of {cycles}; detached {detached_ms} (most {detached_max_ms}) ms after that transaction, attached {attached_ms} (most {attached_max_ms}) ms after the resume'));
	foreach my $w ([ 'publish', 'publish to other partitions, statement' ],
		[ 'transaction', 'the same with BEGIN and COMMIT' ], [ 'read', 'stream_read of other partitions' ])
	{
		my ($n, $what) = @$w;
		bar("$what: p99 with cycles / without", '≤ 1.2', ' ×', at_most(1.2), get('beside', "${n}_p99_ratio"),
			text('beside', "{${n}_p99_ms} against {${n}_p99_quiet_ms} ms; rounds {${n}_p99_ratio_min} to {${n}_p99_ratio_max}"));
		bar("$what: longest", '≤ 50 ms', ' ms', at_most(50), get('beside', "${n}_max_ms"),
			text('beside', "without cycles {${n}_max_quiet_ms} ms"));
	}
	bar('pause under 16 publishers, 1 to 60 ms: longest', '≤ 1 s', ' ms', at_most(1000),
		get('drain', 'pause_max_ms'), text('drain', 'median {pause_ms} ms of {pauses}, {errors} errors'));
	bar('time in which publishers queued in one pause: longest', '≤ 0.3 s', ' ms', at_most(300),
		get('drain', 'queueing_max_ms'),
		text('drain', 'median {queueing_ms} ms; summed over the 16 publishers {queued_ms} ms, longest single {longest_ms} ms; in the 0.9 s after: {after_queueing_ms} ms, longest single {longest_after_ms} ms'));
	bar('publisher idle in its transaction: longest publish of others', '≤ 50 ms', ' ms', at_most(50),
		get('held', 'stall_max_ms'), text('held', 'p99 {p99_ms} ms of {publishes} publishes'));
	bar('the same: attempts that did not end by lock_timeout', '0', '', is(0),
		defined get('held', 'attempts') ? get('held', 'attempts') - get('held', 'timeouts') : undef,
		text('held', 'of {attempts}, each ended after {ended_ms} ms (lock_timeout 2 s)'));
	bar('the same: events and ids that changed', '0', '', is(0), get('held', 'changes'));
}

# --- resuming ------------------------------------------------------------------

sub wake_bars
{
	foreach my $how ('attached', 'detached')
	{
		bar("publish that resumes ($how): median / usual", '≤ 3', ' ×', at_most(3),
			get('wake', "${how}_ratio"),
			text('wake', "{${how}_ms} against {${how}_usual_ms} ms, p99 {${how}_p99_ms} ms"));
	}
	bar('messages not readable at commit', '0', '', is(0), get('wake', 'unreadable'));
	bar('attached after a publish: longest', '≤ 1 s', ' ms', at_most(1000), get('wake', 'attach_max_ms'),
		text('wake', 'median {attach_ms} ms'));
	bar('attached after a publisher that stayed 0.2 s: longest', '≤ 1 s', ' ms', at_most(1000),
		get('wake', 'after_publisher_max_ms'), text('wake', 'median {after_publisher_ms} ms'));
	bar('attached after a reader of its table that stayed 2.5 s: longest', '≤ 1 s', ' ms', at_most(1000),
		get('wake', 'after_reader_max_ms'), text('wake', 'median {after_reader_ms} ms'));
	foreach my $w ([ 'errors', 'errors' ], [ 'lost', 'lost' ], [ 'twice', 'twice' ],
		[ 'offsets_differ', 'sum of offsets differs by' ], [ 'problems', 'stream_check' ])
	{
		bar("pause/resume cycles under 8 publishers: $w->[1]", '0', '', is(0), get('cycles', $w->[0]),
			text('cycles', '{cycles} cycles in {seconds} s, {detaches} detaches, {acknowledged} messages, {found} found'));
	}
}

# --- many partitions --------------------------------------------------------------

sub sparse_bars
{
	my $streams = get('sparse_make', 'streams') // '?';
	bar("$streams streams, 100 active, against 100: start to first publish", '≤ 1.2', ' ×', at_most(1.2),
		paired('start_c', 'start_b', 'first_ms'),
		sprintf('%s against %s ms; keeper idle after %s against %s ms', map { number($_) }
			get('start_c', 'first_ms'), get('start_b', 'first_ms'),
			get('start_c', 'keeper_idle_ms'), get('start_b', 'keeper_idle_ms')));
	my $more = (get('shmem_c', 'bytes') // 0) - (get('shmem_b', 'bytes') // 0);
	bar('shared memory of weir: difference', '0', ' bytes', is(0), $runs{shmem_c} ? $more : undef,
		text('shmem_c', '{bytes} bytes'));
	bar('single publishes over the 100 active', '≥ 0.95', ' ×', sub { $_[0] >= 0.95 },
		paired('rate_c', 'rate_b', 'rate'),
		sprintf('%s against %s a second', number(get('rate_c', 'rate')), number(get('rate_b', 'rate'))));
	my $cpu = get('idle', 'cpu_ns');
	bar('CPU of the keeper at idle', '< 0.1 %', ' %', sub { $_[0] < 0.1 },
		defined $cpu ? $cpu / 1e7 / get('idle', 'seconds') : undef, text('idle', 'over {seconds} s'));
	bar("creating $streams streams", '', ' s', undef,
		defined get('sparse_make', 'create_ms') ? get('sparse_make', 'create_ms') / 1000 : undef);
	bar("stream_pause_all of $streams streams", 'works', ' failed', is(0),
		$runs{sparse_make} ? (split /\|/, $runs{sparse_make}[0]{said} || '0|0|-1')[2] : undef,
		$runs{sparse_make} ? number(get('sparse_make', 'pause_all_ms') / 1000) . ' s, max_locks_per_transaction is the default' : '');
	bar('until the keeper has detached all of them', '', ' s', undef,
		defined get('sparse_settle', 'detached_ms') ? get('sparse_settle', 'detached_ms') / 1000 : undef,
		text('sparse_settle', '{detached} detached'));
	my $n = get('plan_make', 'partitions') // '?';
	bar("planning with $n partitions, all but 10 paused, against 10: warm", '≤ 1.2', ' ×', at_most(1.2),
		get('plan', 'warm_ratio'), text('plan', '{warm_ms} against {warm_small_ms} ms'));
	bar('the same, first statement of a session', '≤ 1.2', ' ×', at_most(1.2),
		get('plan', 'cold_ratio'), text('plan', '{cold_ms} against {cold_small_ms} ms'));
	bar('until they were detached', '', ' s', undef,
		defined get('plan_make', 'detached_ms') ? get('plan_make', 'detached_ms') / 1000 : undef,
		text('plan_make', 'create {create_ms} ms, pause {pause_ms} ms'));
	my $cycles = get('log_make', 'cycles') // '?';
	bar("$cycles pause/resume cycles in the activity log: start to first publish", '≤ 1.1', ' ×', at_most(1.1),
		paired('log_d', 'log_a', 'first_ms'),
		sprintf('%s against %s ms', number(get('log_d', 'first_ms')), number(get('log_a', 'first_ms'))));
	bar('the same, until the keeper is idle', '≤ 1.1', ' ×', at_most(1.1),
		paired('log_d', 'log_a', 'keeper_idle_ms'),
		sprintf('%s against %s ms', number(get('log_d', 'keeper_idle_ms')), number(get('log_a', 'keeper_idle_ms'))));
}

sub letgo_bars
{
	bar('dirty buffers of a paused partition', '0', '', is(0), get('letgo', 'after_dirty'),
		text('letgo', '{before_dirty} before'));
	bar('its files open in the keeper', '0', '', is(0), get('letgo', 'after_keeper_files'),
		text('letgo', '{before_keeper_files} before'));
	bar('its files open in the session that published', '', '', undef, get('letgo', 'after_publisher_files'),
		text('letgo', '{before_publisher_files} before'));
	bar('shared memory of weir, after - before', '0', ' bytes', is(0),
		defined get('letgo', 'after_shmem') ? get('letgo', 'after_shmem') - get('letgo', 'before_shmem') : undef);
	bar('tables in the plan of SELECT, of 2 partitions', '1', '', is(1), get('letgo', 'after_plan'),
		text('letgo', '{before_plan} before'));
}

# --- the report ----------------------------------------------------------------------

beside_bars();
wake_bars();
sparse_bars();
letgo_bars();

print "# What pausing costs, and what it spares\n\n| fact | value |\n|---|---|\n";
open my $facts, '<', $facts_file or die "$facts_file: $!\n";
while (my $line = <$facts>)
{
	chomp $line;
	my ($fact, $value) = split /\t/, $line, 2;
	print "| $fact | $value |\n";
}
close $facts;
print "\n## Bars\n\n| what | bar | measured | more | met |\n|---|---|---|---|---|\n";
print '| ', join(' | ', @$_), " |\n" foreach @bars;
print "\n## Failures\n\n", map { "* $_\n" } @errors if @errors;
print <<'NOTES';

## How it was measured

* One private server with weir preloaded, settings as above and in all parts the same; the part with many streams has two servers with the same settings, which are measured by turns. Times are those of the client.
* Beside a pause: 3 publishers and 3 readers on three partitions, each a statement and then 1.5 to 4.5 ms of nothing; between one and two cycles a second. The fourth partition is paused while a session has read the whole stream and is still in its transaction; that one commits, the partition is detached, resumed, attached. Phases with and without pause and resume by turns, all else the same; the ratio is the median of those of the rounds. The transaction includes the commit and so the disk.
* Queueing: of each publish that overlaps the pause, the time beyond the median publish. "Time in which publishers queued" is the length of the union of these times, so it counts once what several waited together; the sum over all publishers is beside it. While 16 transactions of 1 to 60 ms end one after the other, nobody can begin: with one round of waiting as long as the longest of them the sum is about 16 × (50 − 20) ms at least.
* A publish that resumes: one session publishes, another has paused the partition and waited until the keeper was done. Usual: publishes of the same session to the same partition, not the first one after a change, each after 2 ms of nothing, as the one that resumes comes after such a wait too.
* Start: from the start of the postmaster to the return of the first publish of a new session; the ratio, like that of the rates, is the median of those of runs that came after one another; the servers were stopped with a checkpoint.
NOTES
