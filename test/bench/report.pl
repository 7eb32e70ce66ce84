#!/usr/bin/perl
# report.pl: makes the report of the bench.
#
#   report.pl MODE FACTS RUNS > REPORT.md
#
# RUNS has one line per run: workload, side, round, then name=value pairs, all
# separated by tabs.  Every figure is the median of the rounds, with the least
# and the greatest in brackets; a ratio is taken within each round first.  A
# side that failed is shown with its error, one that needs a function that is
# not there with its name, a figure that is not there as "-".
use strict;
use warnings;

use FindBin;

my ($mode, $facts_file, $runs_file) = @ARGV;
die "usage: report.pl MODE FACTS RUNS\n" unless defined $runs_file;

our %runs;     # workload -> side -> round -> name -> value
our %order;    # workload -> sides in order of appearance
our %errors;   # workload -> side -> first error
my @skipped;

open my $in, '<', $runs_file or die "$runs_file: $!\n";
while (my $line = <$in>)
{
	chomp $line;
	my ($workload, $side, $round, @pairs) = split /\t/, $line;
	my %values = map { /^(\w+)=(.*)$/ ? ($1 => $2) : () } @pairs;
	if (exists $values{skipped})
	{
		push @skipped, "$side: $values{skipped}";
		next;
	}
	push @{ $order{$workload} }, $side
	  unless grep { $_ eq $side } @{ $order{$workload} || [] };
	if (exists $values{error})
	{
		$errors{$workload}{$side} //= "failed: $values{error}";
		next;
	}
	if (exists $values{missing})
	{
		$errors{$workload}{$side} //= "not there: $values{missing}";
		next;
	}
	$runs{$workload}{$side}{$round} = \%values;
}
close $in;

# --- figures ------------------------------------------------------------------

sub median
{
	my @v = sort { $a <=> $b } @_;
	return undef unless @v;
	return @v % 2 ? $v[ $#v / 2 ] : ($v[ @v / 2 - 1 ] + $v[ @v / 2 ]) / 2;
}

# The values of a figure over the rounds.
sub values_of
{
	my ($workload, $side, $name) = @_;
	my $rounds = $runs{$workload}{$side} || {};
	return map { $rounds->{$_}{$name} } grep { defined $rounds->{$_}{$name} } sort keys %$rounds;
}

# The ratios of a figure to that of the base, round by round.
sub ratios
{
	my ($workload, $side, $base, $name) = @_;
	my @ratios;
	foreach my $round (sort keys %{ $runs{$workload}{$side} || {} })
	{
		my $a = $runs{$workload}{$side}{$round}{$name};
		my $b = $runs{$workload}{$base}{$round}{$name};
		push @ratios, $a / $b if defined $a && $b;
	}
	return @ratios;
}

sub number
{
	my ($value) = @_;
	return '-' unless defined $value;
	my $text =
	    abs($value) >= 1000 ? sprintf('%.0f', $value)
	  : abs($value) >= 100  ? sprintf('%.0f', $value)
	  : abs($value) >= 10   ? sprintf('%.1f', $value)
	  :                       sprintf('%.2f', $value);
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

sub spread
{
	my @v = sort { $a <=> $b } @_;
	return '-' unless @v;
	return number($v[0]) if @v == 1;
	return sprintf '%s (%s–%s)', number(median(@v)), number($v[0]), number($v[-1]);
}

sub table
{
	my ($head, @rows) = @_;
	print '| ', join(' | ', @$head), " |\n";
	print '|', join('|', map { $_ ? '---:' : '---' } 0 .. $#$head), "|\n";
	print '| ', join(' | ', map { s/\|/\\|/gr } @$_), " |\n" foreach @rows;
	print "\n";
}

# A row for each side of a workload; columns: [head, sub(side) -> text].
sub sides_table
{
	my ($workload, @columns) = @_;
	my @rows;
	foreach my $side (@{ $order{$workload} })
	{
		my @cells = map { $_->[1]->($side) } @columns;
		if (defined $errors{$workload}{$side})
		{
			my $count = keys %{ $runs{$workload}{$side} || {} };
			my $text = ($count ? "in part " : '') . $errors{$workload}{$side};
			@cells = ($text, ('') x $#columns) unless $count;
			$cells[-1] .= " **$text**" if $count;
		}
		push @rows, [ $side, @cells ];
	}
	table([ 'side', map { $_->[0] } @columns ], @rows);
}

sub figure
{
	my ($workload, $name, $factor) = @_;
	$factor //= 1;
	return sub { spread(map { $_ * $factor } values_of($workload, $_[0], $name)) };
}

sub plain_figure
{
	my ($workload, $name, $factor) = @_;
	$factor //= 1;
	return sub {
		my $m = median(values_of($workload, $_[0], $name));
		number(defined $m ? $m * $factor : undef);
	};
}

sub ratio_to
{
	my ($workload, $base) = @_;
	return sub { spread(ratios($workload, $_[0], $base, 'rate')) };
}

# --- bars ---------------------------------------------------------------------

my @bars;

# bar WHAT, WANTED, MEASURED, MET: nothing where nothing was measured.
sub bar
{
	my ($what, $wanted, $measured, $met) = @_;
	push @bars, [ $what, $wanted, $measured, defined $met ? ($met ? 'yes' : '**no**') : '-' ];
}

sub ratio_bar
{
	my ($workload, $what, $base, $wanted) = @_;
	return unless $order{$workload};
	my @r = ratios($workload, 'weir', $base, 'rate');
	bar($what, sprintf("≥ %.1f × %s", $wanted, $base), @r ? spread(@r) . ' ×' : '-', @r ? median(@r) >= $wanted : undef);
}

# The greatest of all rounds has to be below.
sub below_bar
{
	my ($workload, $what, $name, $limit, $unit, $factor) = @_;
	return unless $order{$workload};
	my @v = sort { $a <=> $b } map { $_ * ($factor // 1) } values_of($workload, 'weir', $name);
	bar($what, "< $limit $unit", @v ? spread(@v) . " $unit" : '-', @v ? $v[-1] < $limit : undef);
}

sub publish_bars
{
	ratio_bar('single1', 'single publish, 1 client', 'plain_btree', 1.0);
	ratio_bar('single16', 'single publish, 16 clients, one partition', 'plain_btree', 1.0);
	if ($order{single16})
	{
		my @r = ratios('single16', 'weir', 'plain_btree', 'p99_us');
		bar('p99 of the same', '≤ 1.0 × plain_btree', @r ? spread(@r) . ' ×' : '-',
			@r ? median(@r) <= 1.0 : undef);
	}
	ratio_bar('single16p4', 'single publish, 16 clients, 4 partitions', 'plain_btree', 1.1);
	ratio_bar('batch100', 'batches of 100', 'plain_btree', 1.3);
	ratio_bar('batch1000', 'batches of 1000', 'plain_btree', 1.8);
	ratio_bar('bulk', 'bulk', 'copy_heap', 1.0);
	foreach my $base ('plain_heap', 'copy_heap')
	{
		next unless $order{batch1000};
		my @r = ratios('batch1000', 'weir', $base, 'wal_bytes');
		bar("WAL per message, batches of 1000", "≤ 1.1 × $base", @r ? spread(@r) . ' ×' : '-',
			@r ? median(@r) <= 1.1 : undef);
	}
	foreach my $other ('pgq', 'redis')
	{
		foreach my $w (qw(single1 single16 single16p4 batch100 batch1000 bulk))
		{
			next unless $order{$w} && grep { $_ eq $other } @{ $order{$w} };
			my @r = ratios($w, 'weir', $other, 'rate');
			bar("$w against $other", 'ahead', @r ? spread(@r) . ' ×' : '-', @r ? median(@r) > 1 : undef);
		}
	}
}

sub read_bars
{
	if ($order{read_server})
	{
		my $rate = median(values_of('read_server', 'weir', 'rate'));
		my @r = ratios('read_server', 'weir', 'plain_heap', 'rate');
		bar('read inside the server', '≥ 3M/s or ≥ 1.0 × sequential scan',
			defined $rate ? number($rate) . '/s, ' . spread(@r) . ' ×' : '-',
			defined $rate ? ($rate >= 3e6 || (@r && median(@r) >= 1.0)) : undef);
	}
	ratio_bar('read_libpq', 'read through libpq, pieces of 1000', 'plain_btree', 1.0);
	below_bar('seek', 'seek by offset, p99', 'by_offset_p99_us', 1, 'ms', 0.001);
	below_bar('seek', 'seek by offset, buffers', 'by_offset_buffers_max', 60, 'buffers');
	below_bar('seek', 'seek by time, p99', 'by_time_p99_us', 1, 'ms', 0.001);
	below_bar('seek', 'seek by time, buffers', 'by_time_buffers_max', 60, 'buffers');
	if ($order{memory})
	{
		# Flat: what the last three quarters add is below 256 kB.
		my @end = values_of('memory', 'weir', 'end_kb');
		my @quarter = values_of('memory', 'weir', 'quarter1_kb');
		my $grown = @end && @quarter ? $end[0] - $quarter[0] : undef;
		bar('memory of a reader', 'flat (< 256 kB from the first quarter to the end)',
			defined $grown ? number($grown) . ' kB' : '-', defined $grown ? $grown < 256 : undef);
	}
	below_bar('dead_tail', 'second poll before a dead tail', 'second_us', 1, 'ms', 0.001);
	below_bar('dead_tail', 'later polls, slowest', 'later_max_us', 1, 'ms', 0.001);
	below_bar('hold', 'longest hold of the append lock', 'longest_hold_ms', 20, 'ms');
	below_bar('hold', 'pg_cancel_backend of a waiter, slowest', 'cancel_max_ms', 20, 'ms');
}

# --- sections -----------------------------------------------------------------

my %titles = (
	single1    => 'Single publish, 1 client',
	single16   => 'Single publish, 16 clients, one partition',
	single16p4 => 'Single publish, 16 clients, 4 partitions',
	batch100   => 'Batches of 100 per transaction, 1 client',
	batch1000  => 'Batches of 1000 per transaction, 1 client',
	bulk       => 'Bulk: one transaction, fastest path',
	read_server => 'Reading inside the server, one statement',
	read_chunks => 'Reading inside the server, PL/pgSQL, pieces of 10000',
	read_libpq  => 'Reading through libpq, pieces of 1000');

sub rate_section
{
	my ($w, $base, @more) = @_;
	return unless $order{$w};
	print "### $titles{$w}\n\n";
	sides_table($w,
		[ 'messages/s',     figure($w, 'rate') ],
		[ "× $base", ratio_to($w, $base) ],
		@more);
}

sub publish_sections
{
	print "## Publishing\n\n" if grep { $order{$_} } qw(single1 single16 single16p4 batch100 batch1000 bulk);
	foreach my $w (qw(single1 single16 single16p4 batch100 batch1000 bulk))
	{
		rate_section($w, $w eq 'bulk' ? 'copy_heap' : 'plain_btree',
			$w eq 'bulk' ? () : (
				[ 'p50 ms', figure($w, 'p50_us', 0.001) ],
				[ 'p99 ms', figure($w, 'p99_us', 0.001) ]),
			[ 'server CPU µs/message', figure($w, 'server_cpu_us') ],
			[ 'client CPU µs/message', plain_figure($w, 'client_cpu_us') ],
			[ 'WAL bytes/message',  plain_figure($w, 'wal_bytes') ],
			[ 'disk bytes/message', plain_figure($w, 'disk_bytes') ]);
	}
}

sub read_sections
{
	print "## Reading\n\n" if grep { $order{$_} } qw(read_server read_chunks read_libpq seek memory dead_tail);
	rate_section('read_server', 'plain_heap',
		[ 'server CPU µs/message', figure('read_server', 'server_cpu_us') ],
		[ 'other form, messages/s', sub {
			my $p = $_[0] eq 'weir' ? 'list_rate' : 'parallel_rate';
			my $note = $_[0] eq 'weir' ? 'function in the select list' : 'parallel scan';
			return spread(values_of('read_server', $_[0], $p)) . " ($note)";
		} ]);
	rate_section('read_chunks', 'plain_btree',
		[ 'server CPU µs/message', figure('read_chunks', 'server_cpu_us') ]);
	rate_section('read_libpq', 'plain_btree',
		[ 'p50 ms of a piece', figure('read_libpq', 'p50_us', 0.001) ],
		[ 'p99 ms', figure('read_libpq', 'p99_us', 0.001) ],
		[ 'server CPU µs/message', figure('read_libpq', 'server_cpu_us') ],
		[ 'client CPU µs/message', plain_figure('read_libpq', 'client_cpu_us') ]);
}

sub messages_of
{
	my ($workload) = @_;
	foreach my $side (@{ $order{$workload} })
	{
		my ($n) = values_of($workload, $side, 'messages');
		return number($n) if defined $n;
	}
	return '?';
}

sub probe_sections
{
	if ($order{seek})
	{
		print "### Seek among ", messages_of('seek'), " messages\n\n";
		sides_table('seek',
			map { my $k = $_;
				([ "by $k: p50 µs", figure('seek', "by_${k}_p50_us") ],
				 [ 'p99 µs', figure('seek', "by_${k}_p99_us") ],
				 [ 'buffers, average', plain_figure('seek', "by_${k}_buffers_avg") ],
				 [ 'most', plain_figure('seek', "by_${k}_buffers_max") ]) } qw(offset time));
	}
	if ($order{memory})
	{
		print "### Private memory (kB) of a backend that reads ", messages_of('memory'),
		  " messages in pieces of 1000\n\n";
		sides_table('memory',
			[ 'after 20 pieces', plain_figure('memory', 'start_kb') ],
			[ '1/4', plain_figure('memory', 'quarter1_kb') ],
			[ '1/2', plain_figure('memory', 'quarter2_kb') ],
			[ '3/4', plain_figure('memory', 'quarter3_kb') ],
			[ 'end', plain_figure('memory', 'end_kb') ]);
	}
	if ($order{dead_tail})
	{
		print "### Poll before ", messages_of('dead_tail'), " messages that were rolled back (µs)\n\n";
		sides_table('dead_tail',
			[ 'first', figure('dead_tail', 'first_us') ],
			[ 'second', figure('dead_tail', 'second_us') ],
			[ 'later, median', figure('dead_tail', 'later_p50_us') ],
			[ 'later, slowest', figure('dead_tail', 'later_max_us') ]);
	}
	if ($order{hold})
	{
		print "## Append lock: batches of 100,000 and 16 single publishers beside them\n\n";
		sides_table('hold',
			[ 'longest hold, ms', figure('hold', 'longest_hold_ms') ],
			[ 'cancel of a waiter, median ms', figure('hold', 'cancel_p50_ms') ],
			[ 'slowest, ms', figure('hold', 'cancel_max_ms') ],
			[ 'cancelled', plain_figure('hold', 'cancelled') ],
			[ 'finished first', sub {
				my @f = values_of('hold', $_[0], 'found');
				my @c = values_of('hold', $_[0], 'cancelled');
				return @f ? number(median(@f) - median(@c)) : '-';
			} ],
			[ 'large batches', plain_figure('hold', 'batches') ],
			[ 'single messages/s', figure('hold', 'single_rate') ],
			[ 'their p99 ms', figure('hold', 'single_p99_us', 0.001) ]);
	}
}

sub notes
{
	print <<'NOTES';
## How it was measured

* Messages have a 16-byte key (one of 1000), a 100-byte value, no headers. All figures are medians of the rounds, the least and the greatest in brackets; ratios are taken within a round. Sides ran in turn, each round beginning with another one.
* One load client for all sides: one process, non-blocking connections over a unix socket, prepared statements, binary parameters and results; for Redis its own protocol. Client CPU is shown so that it can be seen not to be the limit.
* `plain_btree`, `plain_heap`: a table with the six columns of a stream, with and without a btree on "offset", which comes from a sequence; INSERT, batches by INSERT … SELECT FROM unnest(bytea[], text[]). `copy_*`: COPY binary into the same tables; in bulk the client sends "offset" and ts too, except `copy_heap_seq`, where the server assigns them. Plain tables are one table also where streams have partitions.
* `pgq`: pgq.insert_event, key as event type; batches by SELECT over unnest; a queue for each partition; bulk has a fifth of the messages, in libpq's pipeline mode. `redis`: XADD with appendfsync always; batches in MULTI … EXEC; a Redis stream for each partition; bulk is pipelined MULTI … EXEC of 1000, so it is not one transaction. `weir`: stream_publish and stream_publish_batch with value_type bytea; bulk in libpq's pipeline mode, one transaction.
* PostgreSQL sides share one server and its settings: fsync and synchronous_commit are on. Each run begins with a new table and a checkpoint; WAL files were made beforehand; autovacuum is off so that it does not strike one side only. Tables that are read were vacuumed, and each run reads all of it once untimed first, then as often as its time needs.
* Server CPU: user and system time in /proc/PID/stat of the postmaster and all its children, also those that ended meanwhile (WAL writer, background writer and workers included); for Redis of its process. WAL bytes: advance of pg_current_wal_insert_lsn(); Redis: growth of the append-only file. Disk bytes: pg_total_relation_size over all tables of the side; Redis: the append-only file.
* Seek: prepared statements, as the client sees them, on a warm connection; buffers from EXPLAIN (ANALYZE, BUFFERS). Memory: RssAnon of the backend, that is without shared buffers.
* Append lock: weir.longest_append_hold() with weir.track_append_hold. Cancelling: from sending a statement that finds a publisher waiting for the lock and calls pg_cancel_backend, to the arrival of the error at that publisher. Runs of this part track holds, others do not.
NOTES
}

# --- the report ---------------------------------------------------------------

require "$FindBin::Bin/report_consume.pl";

print $mode =~ m{^consume} ? '# What consuming costs' : '# Bench of weir',
  ($mode =~ m{quick} ? " ($mode: short runs, for a first look)" : ''), "\n\n";
open my $facts, '<', $facts_file or die "$facts_file: $!\n";
my @facts = map { chomp; [ split /\t/, $_, 2 ] } <$facts>;
close $facts;
print "| fact | value |\n|---|---|\n";
print "| $_->[0] | $_->[1] |\n" foreach @facts;
print "\n";
print "Not available and left out: $_.\n\n" foreach @skipped;
publish_bars();
read_bars();
consume_bars();
if (@bars)
{
	print "## Bars\n\n| what | bar | measured | met |\n|---|---|---|---|\n";
	print '| ', join(' | ', @$_), " |\n" foreach @bars;
	print "\n";
}
publish_sections();
read_sections();
probe_sections();
consume_sections();
$mode =~ m{^consume} ? consume_notes() : notes();
