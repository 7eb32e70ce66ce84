# report_consume.pl: the parts of report.pl about consuming (consume.sh), which
# loads this file and whose functions it uses.
use strict;
use warnings;

our (%order, %runs, %errors);

# The figure of a side, with the least and the greatest of its turns.
sub turns
{
	my ($workload, $side, $name) = @_;
	my @v = values_of($workload, $side, $name);
	return '-' unless @v;
	return sprintf '%s (%s–%s)', map { number($_) } median(@v),
	  median(values_of($workload, $side, "${name}_min")),
	  median(values_of($workload, $side, "${name}_max"));
}

# A bar about a side that may not be there.
sub side_bar
{
	my ($workload, $side, $what, $wanted, $measured, $met) = @_;
	return unless $order{$workload};
	return bar($what, $wanted, $errors{$workload}{$side} // '-', undef)
	  unless values_of($workload, $side, 'messages') || values_of($workload, $side, 'turns')
	  || values_of($workload, $side, 'moves');
	bar($what, $wanted, $measured, $met);
}

# The median of the rounds of a ratio of two sides.
sub versus
{
	my ($workload, $side, $base, $name, $what, $wanted, $met) = @_;
	my @r = ratios($workload, $side, $base, $name);
	side_bar($workload, $side, $what, $wanted, @r ? spread(@r) . ' ×' : '-', @r ? $met->(median(@r)) : undef);
}

sub at_least { my ($limit) = @_; return sub { $_[0] >= $limit } }
sub at_most  { my ($limit) = @_; return sub { $_[0] <= $limit } }

# The median of the rounds of a time.
sub time_bar
{
	my ($workload, $what, $name, $limit) = @_;
	my @v = map { $_ / 1000 } values_of($workload, 'weir', $name);
	side_bar($workload, 'weir', $what, "≤ $limit ms", @v ? spread(@v) . ' ms' : '-',
		@v ? median(@v) <= $limit : undef);
}

# Something that must never be.
sub never_bar
{
	my ($workload, $what, @names) = @_;
	my @v = map { values_of($workload, 'weir', $_) } @names;
	my $sum = 0;
	$sum += $_ foreach @v;
	side_bar($workload, 'weir', $what, '0', number($sum), $sum == 0);
}

sub consume_bars
{
	foreach my $state ([ 'one', 'one session that listens' ], [ 'ten', 'ten sessions that listen' ])
	{
		my ($s, $what) = @$state;
		my $ratio = median(values_of('subscribed', 'weir', "${s}_ratio"));
		side_bar('subscribed', 'weir', "16 publishers beside $what, against none", '≥ 0.95',
			turns('subscribed', 'weir', "${s}_ratio") . ' ×', defined $ratio ? $ratio >= 0.95 : undef);
	}
	versus('wait', 'weir', 'redis', 'whole_p50_us', 'publish to waiting stream_fetch, p50', '≤ 2 × redis', at_most(2));
	time_bar('wait', 'the same, p99', 'whole_p99_us', 5);
	never_bar('wait', 'the same, messages lost or twice', 'lost', 'twice');
	foreach my $rate (1000, 4000)
	{
		time_bar("listen$rate", "publish to LISTEN to read, $rate/s, p50", 'whole_p50_us', 2);
		time_bar("listen$rate", 'the same, p99', 'whole_p99_us', 15);
		never_bar("listen$rate", 'the same, messages lost, twice, or notified too early', 'lost', 'twice', 'early');
	}
	foreach my $w ([ 'batch', 'through libpq' ], [ 'batch_server', 'inside the server' ])
	{
		my ($workload, $how) = @$w;
		versus($workload, 'weir', 'plain_btree', 'rate', "consume in batches of 1000, $how", '≥ 1.0 × plain_btree', at_least(1));
		versus($workload, 'weir', 'pgq', 'rate', 'the same', '≥ 2 × pgq', at_least(2));
	}
	versus('parallel', 'fetch_4', 'fetch_1', 'rate', '4 consumers on 4 partitions against 1: stream_fetch', '≥ 1.0', at_least(1));
	versus('parallel', 'member_4', 'member_1', 'rate', '4 members on 4 partitions against 1: stream_join', '≥ 1.0', at_least(1));
	foreach my $k ([ 'kept', 'against a new group at the same time' ], [ 'kept_start', 'against the start' ])
	{
		my ($figure, $how) = @$k;
		my $kept = median(values_of('held', 'weir', $figure));
		side_bar('held', 'weir', "fetches under a held snapshot after all the moves, $how", '≥ 0.8',
			number($kept) . ' ×', defined $kept ? $kept >= 0.8 : undef);
	}
	my ($many) = grep { m{^weir_} && $_ ne 'weir_10' } @{ $order{idle} || [] };
	versus('idle', $many, 'weir_10', 'machine_cpu_us', 'CPU per message, ' . ($many =~ s{^weir_}{}r) . ' idle sessions against 10',
		'≤ 2', at_most(2)) if defined $many;
}

# Columns of the time from one thing to another.
sub time_columns
{
	my ($workload, $name, $what) = @_;
	return map { [ "$what: $_ ms", figure($workload, "${name}_${_}_us", 0.001) ] } qw(p50 p99);
}

sub delivery_section
{
	my ($workload, $title) = @_;
	return unless $order{$workload};
	print "### $title\n\n";
	sides_table($workload,
		[ 'messages/s', figure($workload, 'rate') ],
		time_columns($workload, 'whole', 'from sending'),
		time_columns($workload, 'after', 'from the acknowledgement'),
		[ 'from when it was due: p99 ms', figure($workload, 'due_p99_us', 0.001) ],
		[ 'publish: p50 ms', figure($workload, 'publish_p50_us', 0.001) ],
		[ 'server CPU µs/message', figure($workload, 'server_cpu_us') ],
		[ 'reads', plain_figure($workload, 'batches') ],
		[ 'lost', plain_figure($workload, 'lost') ]);
}

sub batch_section
{
	my ($workload, $title) = @_;
	return unless $order{$workload};
	print "### $title\n\n";
	sides_table($workload,
		[ 'messages/s', figure($workload, 'rate') ],
		[ '× plain_btree', ratio_to($workload, 'plain_btree') ],
		[ 'p50 ms of a batch', figure($workload, 'p50_us', 0.001) ],
		[ 'p99 ms', figure($workload, 'p99_us', 0.001) ],
		[ 'server CPU µs/message', figure($workload, 'server_cpu_us') ],
		[ 'client CPU µs/message', plain_figure($workload, 'client_cpu_us') ],
		[ 'WAL bytes/message', plain_figure($workload, 'wal_bytes') ]);
}

sub consume_sections
{
	if ($order{subscribed})
	{
		print "### 16 publishers beside subscribers, messages/s\n\n";
		sides_table('subscribed',
			[ 'none', plain_figure('subscribed', 'none_rate') ],
			[ 'server CPU µs/message', plain_figure('subscribed', 'none_cpu_us') ],
			map { my ($s, $head) = @$_;
				([ $head, plain_figure('subscribed', "${s}_rate") ],
				 [ '× none', sub { turns('subscribed', $_[0], "${s}_ratio") } ],
				 [ 'server CPU', plain_figure('subscribed', "${s}_cpu_us") ]) }
			  ([ 'one', 'one listens' ], [ 'ten', 'ten listen' ], [ 'reads', 'one listens and reads all' ]));
	}
	delivery_section('wait', 'Publish to a waiting consumer, 8 publishers, 1,000 messages/s');
	delivery_section('listen1000', 'Publish to LISTEN to read, 16 publishers, 1,000 messages/s');
	delivery_section('listen4000', 'Publish to LISTEN to read, 16 publishers, 4,000 messages/s');
	batch_section('batch', 'Consuming in batches of 1000, each committed, through libpq');
	batch_section('batch_server', 'Consuming in batches of 1000, each committed, inside the server');
	if ($order{parallel})
	{
		print "### Consumers of one group on 4 partitions\n\n";
		sides_table('parallel',
			[ 'messages/s', figure('parallel', 'rate') ],
			[ '× one', sub { spread(ratios('parallel', $_[0], $_[0] =~ s{\d$}{1}r, 'rate')) } ],
			[ 'server CPU µs/message', figure('parallel', 'server_cpu_us') ],
			[ 'client CPU µs/message', plain_figure('parallel', 'client_cpu_us') ],
			[ 'least of a consumer', plain_figure('parallel', 'least') ],
			[ 'most', plain_figure('parallel', 'most') ],
			[ 'reads that gave nothing', plain_figure('parallel', 'empty') ]);
	}
	if ($order{held})
	{
		print "### Fetches per second while another session holds an old snapshot\n\n";
		sides_table('held',
			[ 'at the start', plain_figure('held', 'start_rate') ],
			[ 'moves, 1,000/s', plain_figure('held', 'moves') ],
			[ 'reached, a second', plain_figure('held', 'move_rate') ],
			[ 'at the end', plain_figure('held', 'worn_rate') ],
			[ '× start', plain_figure('held', 'kept_start') ],
			[ 'new groups at the end', plain_figure('held', 'fresh_rate') ],
			[ 'end × new', plain_figure('held', 'kept') ],
			[ 'CPU of the backend µs/fetch: start', plain_figure('held', 'start_cpu_us') ],
			[ 'end', plain_figure('held', 'worn_cpu_us') ],
			[ 'new', plain_figure('held', 'fresh_cpu_us') ],
			[ 'snapshot gone, vacuumed', plain_figure('held', 'released_rate') ]);
	}
	if ($order{idle})
	{
		print "### Idle sessions that listen, 1,000 messages/s\n\n";
		sides_table('idle',
			[ 'messages/s', figure('idle', 'rate') ],
			[ 'CPU of the machine µs/message', figure('idle', 'machine_cpu_us') ],
			[ '× with 10', sub { spread(ratios('idle', $_[0], $_[0] =~ s{\d+$}{10}r, 'machine_cpu_us')) } ],
			[ 'server CPU µs/message', figure('idle', 'server_cpu_us') ],
			[ 'client CPU µs/message', figure('idle', 'client_cpu_us') ],
			[ 'notifications/s of a session', plain_figure('idle', 'notifications') ]);
	}
}

sub consume_notes
{
	print <<'NOTES';
## How it was measured

* One private server with weir preloaded, one Redis with appendfsync always, all on one machine with the one load client; unix sockets, prepared statements, binary results. Messages have a 16-byte key (one of 1000), a 100-byte value, no headers. All figures are medians of the rounds, the least and the greatest in brackets; ratios are taken within a round. Sides ran in turn, each round beginning with another one. fsync and synchronous_commit are on, autovacuum is off for all.
* Publishers beside subscribers: one run of each side, in which 16 publishers, as fast as they can, have by turns one session, ten sessions that LISTEN and take their notifications, and one that also reads every message, and between any two of these turns nobody; a ratio is that to both neighbours, with the least and the greatest of the turns in brackets. `plain_notify`: INSERT into a table with a btree and pg_notify() in the same statement; with nobody listening it is the INSERT alone.
* From publishing to having it: each publisher sends single messages, each its own transaction, at random times, together at the given rate; one that is late catches up. A message carries its number; publishers and the consumer, a thread with a connection of its own, are one process with one clock. "From sending": from just before the publish is sent; the bars are about this. "From the acknowledgement": from when its publisher knows that it is durable; 0 if the consumer had it before that. "From when it was due" counts also what a publisher was late. "Lost": messages that the consumer had not got 3 s after the last one.
* Waiting: `weir`: BEGIN, stream_fetch with wait, at most 1000 messages, COMMIT AND CHAIN, again. `redis`: XREADGROUP with BLOCK, COUNT 1000, then XACK and its reply, again; replies wait for the fsync of the append-only file.
* LISTEN: `weir`: stream_subscribe; at each notification stream_read from the position on. `plain_notify`: LISTEN; at each notification the range of the index from the last offset on (which loses what commits out of order: see "lost"). `pgq`: a tick each 10 ms if there is anything; the consumer asks right after the tick, which is the best for PgQ.
* Batches: each side has 1M messages in all and each round consumes the next tenth of them. Through libpq two round trips each: BEGIN and the read, then what moves the position and COMMIT; inside the server a loop in PL/pgSQL. `plain_btree`: SELECT of a range of the index, UPDATE of the group's position. `pgq`: a fifth of the messages; next_batch and get_batch_events (4 columns), finish_batch. Tables were vacuumed first. A piece is short, so CPU time, which the kernel counts in steps of 10 ms, is rough.
* Consumers of one group: each notes partition and offset of what it got; a run fails if any message comes twice or not at all. Members begin when each has its share, and send a heartbeat a second.
* Held snapshot: one consumer fetches one message in each transaction, as fast as it can, then 1,000 a second, then as fast as it can again, by turns of 0.4 s with groups that are new; two publishers send 1,000 messages a second all the time; all the while another session holds a snapshot from before the first fetch. `plain_row`: the same with a row of its positions that is locked, read and updated in one statement. Between start and end lies a minute, in which the disk may have become faster or slower; new groups at the same time have the same disk.
* Idle sessions: 8 publishers; all sessions are connections of one client process, which takes their notifications (epoll). CPU of the machine: user, system, interrupts in /proc/stat, so with everything else that ran. Server CPU: of the postmaster and all its children in /proc/PID/stat.
NOTES
}

1;
