# Members of a group, who work outside of transactions: partitions are spread
# evenly and move as little as can be, a take-over begins exactly at the committed
# position, every message comes once; crashes, paused partitions, a dump, and
# heartbeats that a long snapshot does not slow down.
use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WeirTest;

my $node = weir_node('members', conf => "shared_preload_libraries = 'weir'\nsynchronous_commit = on");

sub ask { return $node->safe_psql('postgres', $_[0]); }

# ---- members, as a client would write them ----

my %generation;
my @seen;

# A heartbeat, or the first join; returns offsets by partition.
sub heartbeat
{
	my ($name, %opt) = @_;
	my $lease = $opt{lease} // '1 hour';
	my $generation = $generation{$name} // 'NULL';
	my $busy = $opt{busy} ? 'true' : 'false';
	my $row = ask("SELECT generation, array_to_string(partitions, ','), array_to_string(offsets, ',')"
		  . " FROM stream_join('m', 'g', '$name', '$lease', $generation, $busy)");
	my ($new, $partitions, $offsets) = split /\|/, $row, -1;
	$generation{$name} = $new;
	my %next;
	@next{ split /,/, $partitions } = split /,/, $offsets;
	return \%next;
}

# Reads what there is of a partition; returns the position behind it.
sub consume
{
	my ($partition, $offset, $max) = @_;
	my @rows = split /\n/, ask("SELECT \"offset\" FROM stream_read('m', $partition, $offset, $max)");
	push @seen, "$partition:$_" for @rows;
	return @rows ? $rows[-1] + 1 : $offset;
}

sub commit
{
	my ($name, $partition, $offset) = @_;
	ask("SELECT stream_commit('m', 'g', $partition, $offset, $generation{$name})");
	return;
}

# One round of work of a member.
sub work
{
	my ($name) = @_;
	my $next = heartbeat($name);
	for my $partition (sort keys %$next)
	{
		my $end = consume($partition, $next->{$partition}, 1000);
		commit($name, $partition, $end) if $end > $next->{$partition};
	}
	return;
}

sub leave
{
	my ($name) = @_;
	ask("SELECT stream_leave('m', 'g', '$name', $generation{$name})");
	delete $generation{$name};
	return;
}

# Its last sign of life is over.
sub fall_silent
{
	my ($name) = @_;
	heartbeat($name, lease => '1 microsecond', busy => 1);
	wait_until($node, "SELECT expired FROM weir.members WHERE member = '$name'", "$name is silent");
	return;
}

# Who has what, by partition.
sub owners
{
	my %owner;
	for (split /\n/, ask('SELECT member, unnest(partitions) FROM weir.members WHERE NOT expired'))
	{
		my ($member, $partition) = split /\|/;
		$owner{$partition} = $member;
	}
	return \%owner;
}

# Rounds of heartbeats until nothing changes any more; then the shares must be
# these, and so many partitions must have another owner than before.
sub settles
{
	my ($shares, $moves, $before, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for (1 .. 3)
	{
		work($_) for sort keys %generation;
	}
	my %generations = %generation;
	work($_) for sort keys %generation;
	is_deeply(\%generation, \%generations, "$name: it has settled");
	my $after = owners();
	my %count;
	$count{$_}++ for values %$after;
	is(join(' ', sort { $b <=> $a } values %count), $shares, "$name: even shares");
	my $moved = grep { ($before->{$_} // '') ne ($after->{$_} // '') } 0 .. 7;
	is($moved, $moves, "$name: nothing moves without need");
	return;
}

my $sent = 0;

sub send_some
{
	my ($n, @partitions) = @_;
	@partitions = 0 .. 7 if !@partitions;
	publish($node, 'm', \@partitions, $sent + 1, $sent + $n);
	$sent += $n;
	return;
}

sub all_once
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar(@seen), $sent, "$name: as many as were published");
	my %once = map { $_ => 1 } @seen;
	is(scalar(keys %once), $sent, "$name: each once");
	return;
}

ask(q{SELECT stream_create('m', 8, 'text', '{"partitioner": "explicit", "segment_messages": 200}')});

# ---- members come and go ----

my $before = owners();
send_some(80);
work('ann');
settles('8', 8, $before, 'one member');
for my $step ([ 'bob', '4 4', 4 ], [ 'cid', '3 3 2', 2 ], [ 'dan', '2 2 2 2', 2 ])
{
	my ($name, $shares, $moves) = @$step;
	$before = owners();
	send_some(80);
	work($name);
	send_some(80);
	settles($shares, $moves, $before, "$name joins");
}
$before = owners();
leave('bob');
send_some(80);
settles('3 3 2', 2, $before, 'bob leaves');
all_once('members come and go');

# ---- a crash of the server: nothing of all this was in its memory ----

$before = owners();
send_some(80);
$node->stop('immediate');
$node->start;
settles('3 3 2', 0, $before, 'after a crash of the server');
all_once('after a crash of the server');

# ---- a member is silent ----

{
	$before = owners();
	send_some(80);
	my $next = heartbeat('dan');
	my ($first, $second) = sort keys %$next;
	# Of the first partition it works on ten messages and commits six of them;
	# of the second it commits all.
	my $end = consume($first, $next->{$first}, 10);
	commit('dan', $first, $end - 4);
	$end = consume($second, $next->{$second}, 1000);
	commit('dan', $second, $end);
	fall_silent('dan');
	my $late = delete $generation{dan};
	my %position = map { split /\|/ } split /\n/,
	  ask("SELECT partition, next_offset FROM weir.groups WHERE \"group\" = 'g'");
	my %taken;
	for (1 .. 2)
	{
		for my $name (sort keys %generation)
		{
			my $has = heartbeat($name);
			$taken{$_} //= $has->{$_} for grep { $before->{$_} eq 'dan' } keys %$has;
		}
	}
	is(join(' ', map { "$_:$taken{$_}" } sort keys %taken),
		join(' ', map { "$_:$position{$_}" } grep { $before->{$_} eq 'dan' } sort keys %position),
		'a take-over begins at the committed position');
	fails_with($node, "SELECT stream_commit('m', 'g', $first, $end, $late)", 'WR017', 'a late commit is refused');
	fails_with($node, "SELECT stream_join('m', 'g', 'dan', '1 hour', $late)", 'WR017', 'a late heartbeat is refused');
	settles('4 4', scalar(keys %taken), $before, 'dan is silent');
	is(scalar(@seen), $sent + 4, 'four messages came twice: those that were in flight');
	my %once = map { $_ => 1 } @seen;
	is(scalar(keys %once), $sent, 'and none was lost');
	@seen = sort keys %once;
	is(ask(q{SELECT value::jsonb->>'member' FROM stream_read('weir.activity', start => 'earliest') WHERE value::jsonb->>'event' = 'expired'}),
		'dan', 'the activity log has it');
}

# ---- paused partitions ----

{
	my $twice = owners();
	ask(q{SELECT stream_pause('m', '{0,3}')});
	wait_until($node, q{SELECT bool_and(actual = 'detached') FROM weir.partitions WHERE stream = 'm'::regclass AND partition IN (0, 3)},
		'partitions are detached');
	send_some(60, 1, 2, 4 .. 7);
	work($_) for sort keys %generation;
	all_once('beside paused partitions');
	my $next = heartbeat('ann', busy => 1);
	is(join(',', sort keys %$next), join(',', grep { $twice->{$_} eq 'ann' } 0 .. 7), 'a paused partition keeps its member');
	work('eve');
	settles('3 3 2', 2, $twice, 'somebody joins while partitions are paused');
	send_some(20, 0, 3);
	work($_) for sort keys %generation;
	all_once('a publish resumes them');
	is(ask(q{SELECT count(*) FROM weir.partitions WHERE stream = 'm'::regclass AND state = 'paused'}), '0', 'nothing is paused');
}
check_clean($node, 'm', 'after members came and went');

# ---- a dump: positions and numbers go along, members do not ----

{
	my $positions = q{SELECT string_agg(partition || ':' || next_offset, ' ' ORDER BY partition) FROM weir.groups WHERE "group" = 'g'};
	my $file = $node->basedir . '/members.dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, $node->connstr('postgres') ], 'dump');
	$node->safe_psql('postgres', 'CREATE DATABASE copy');
	$node->command_ok([ 'pg_restore', '-d', $node->connstr('copy'), $file ], 'restore');
	is($node->safe_psql('copy', $positions), ask($positions), 'positions are restored');
	is($node->safe_psql('copy', 'SELECT count(*) FROM weir.members'), '0', 'members are not');
	fails_with($node, "SELECT stream_join('m', 'g', 'ann', '1 hour', $generation{ann})", 'WR017', 'nor are their generations', db => 'copy');
	my $last = ask('SELECT max(generation) FROM weir.members');
	is($node->safe_psql('copy', "SELECT generation > $last, cardinality(partitions) FROM stream_join('m', 'g', 'new')"),
		't|8', 'whoever joins has all, and a number that nobody had');
	is($node->safe_psql('copy', q{SELECT * FROM stream_check('m')}), '', 'stream_check of the copy');
	$node->safe_psql('postgres', 'DROP DATABASE copy');
}

# ---- many at a time: workers that come and go beside publishers ----

ask(q{SELECT stream_create('c', 8, 'text', '{"partitioner": "explicit"}')});
ask(<<'SQL');
CREATE TABLE got (member text, partition int, "offset" bigint);
CREATE PROCEDURE member(me text, rounds int) LANGUAGE plpgsql AS $$
DECLARE
	j record;
	generation bigint;
	e bigint;
BEGIN
	FOR life IN 1..rounds LOOP
		generation := NULL;
		FOR beat IN 1..20 LOOP
			SELECT * INTO j FROM stream_join('c', 'g', me, '1 hour', generation);
			generation := j.generation;
			COMMIT;
			FOR i IN 1..cardinality(j.partitions) LOOP
				WITH m AS (INSERT INTO got SELECT me, partition, "offset" FROM stream_read('c', j.partitions[i], j.offsets[i], 20) RETURNING "offset")
				SELECT max("offset") + 1 INTO e FROM m;
				COMMIT;
				IF e IS NOT NULL THEN
					PERFORM stream_commit('c', 'g', j.partitions[i], e, generation);
					COMMIT;
				END IF;
			END LOOP;
		END LOOP;
		PERFORM stream_leave('c', 'g', me, generation);
		COMMIT;
	END LOOP;
END $$;
SQL
{
	my $publishers = start_pgbench($node, 2, [ '-t', 500 ], publish => <<'SQL');
\set p random(0, 7)
\set n random(1, 5)
SELECT * FROM stream_publish_batch('c', array_fill('x'::text, ARRAY[:n]), partition => :p);
SQL
	my $rounds = setting('ROUNDS', 5);
	my @members = map { psql_job($node, "CALL member('m$_', $rounds);\n\\q", options => [ '-v', 'ON_ERROR_STOP=1' ]) } 1 .. 5;
	finish_job($members[ $_ - 1 ], "member $_") for 1 .. 5;
	stop_pgbench($publishers, 'publishers');
	is(ask('SELECT count(*) FROM weir.members WHERE stream = \'c\'::regclass'), '0', 'all have left');
	ask("CALL member('last', 10)")
	  while ask(q{SELECT EXISTS (SELECT FROM weir.groups g WHERE stream = 'c'::regclass AND next_offset < stream_high_watermark('c', partition))}) eq 't';
	is(ask('SELECT count(*) FROM (SELECT partition, "offset" FROM c EXCEPT ALL SELECT partition, "offset" FROM got) x'), '0', 'nothing is missing');
	is(ask('SELECT count(*) FROM (SELECT partition, "offset" FROM got EXCEPT ALL SELECT partition, "offset" FROM c) x'), '0', 'nothing came twice');
	note 'messages by member: ' . join(' ', split /\n/, ask('SELECT member || \':\' || count(*) FROM got GROUP BY member ORDER BY 1'));
	cmp_ok(ask(q{SELECT count(DISTINCT member) FROM got WHERE member <> 'last'}), '>', 1, 'they shared the work');
	check_clean($node, 'c', 'after members beside publishers');
}

# ---- leases that run out all the time ----

# Members commit together with what they did, in one transaction, so whatever
# comes twice was committed by somebody who no longer had the partition.
ask(q{SELECT stream_create('k', 5, 'text', '{"partitioner": "explicit"}')});
ask(<<'SQL');
CREATE TABLE worked (partition int, "offset" bigint);
CREATE TABLE fate (what text, number bigint);
CREATE PROCEDURE chaos(rounds int) LANGUAGE plpgsql AS $$
DECLARE
	j record;
	me text;
	alive boolean;
	e bigint;
	late bigint := 0;
	taken bigint := 0;
	lost bigint := 0;
BEGIN
	FOR life IN 1..rounds LOOP
		me := 'x' || (random() * 7)::int;
		BEGIN
			SELECT * INTO j FROM stream_join('k', 'g', me, random() * interval '5 ms' + interval '0.1 ms');
			alive := true;
		EXCEPTION WHEN object_in_use THEN
			alive := false;
			taken := taken + 1;
		END;
		COMMIT;
		IF NOT alive AND random() < 0.1 THEN
			BEGIN
				PERFORM stream_leave('k', 'g', me);
			EXCEPTION WHEN undefined_object THEN
				-- somebody else has ended it
			END;
			COMMIT;
		END IF;
		WHILE alive AND random() < 0.8 LOOP
			FOR i IN 1..cardinality(j.partitions) LOOP
				BEGIN
					WITH m AS (INSERT INTO worked SELECT partition, "offset" FROM stream_read('k', j.partitions[i], j.offsets[i], (1 + random() * 10)::int) RETURNING "offset")
					SELECT max("offset") + 1 INTO e FROM m;
					-- Some work takes longer than the lease.
					PERFORM count(*) FROM generate_series(1, (random() * 15000)::int);
					IF e IS NOT NULL THEN
						PERFORM stream_commit('k', 'g', j.partitions[i], e, j.generation);
						j.offsets[i] := e;
					END IF;
				EXCEPTION WHEN SQLSTATE 'WR017' THEN
					late := late + 1;
				END;
				COMMIT;
			END LOOP;
			BEGIN
				SELECT * INTO j FROM stream_join('k', 'g', me, NULL, j.generation, random() < 0.5);
			EXCEPTION WHEN SQLSTATE 'WR017' THEN
				lost := lost + 1;
				alive := false;
			END;
			COMMIT;
		END LOOP;
	END LOOP;
	INSERT INTO fate VALUES ('late', late), ('taken', taken), ('lost', lost);
END $$;
SQL
{
	my $publishers = start_pgbench($node, 2, [ '-t', 300 ], publish => <<'SQL');
\set p random(0, 4)
\set n random(1, 10)
SELECT * FROM stream_publish_batch('k', array_fill('x'::text, ARRAY[:n]), partition => :p);
SQL
	my $fetch = q{INSERT INTO worked SELECT partition, "offset" FROM stream_fetch('k', 'g', 5)};
	my $fetchers = start_pgbench($node, 1, [ '-t', 500 ], fetch => "$fetch;");
	my $lives = setting('LIVES', 150);
	my @members = map { psql_job($node, "CALL chaos($lives);\n\\q", options => [ '-v', 'ON_ERROR_STOP=1' ]) } 1 .. 5;
	finish_job($members[ $_ - 1 ], "chaos $_") for 1 .. 5;
	stop_pgbench($publishers, 'publishers beside chaos');
	stop_pgbench($fetchers, 'fetching beside chaos');
	wait_until($node, q{SELECT coalesce(bool_and(expired), true) FROM weir.members WHERE stream = 'k'::regclass}, 'the last lease is over');
	ask($fetch) while ask(q{SELECT EXISTS (SELECT FROM weir.groups g WHERE stream = 'k'::regclass AND next_offset < stream_high_watermark('k', partition))}) eq 't';
	note 'late commits, names taken, memberships lost: ' . join(' ', split /\n/, ask('SELECT what || \':\' || sum(number) FROM fate GROUP BY what ORDER BY 1'));
	cmp_ok(ask(q{SELECT sum(number) FROM fate WHERE what <> 'taken'}), '>', 0, 'leases ran out');
	is(ask('SELECT count(*) FROM (SELECT partition, "offset" FROM k EXCEPT ALL SELECT partition, "offset" FROM worked) x'), '0', 'nothing is missing after chaos');
	is(ask('SELECT count(*) FROM (SELECT partition, "offset" FROM worked EXCEPT ALL SELECT partition, "offset" FROM k) x'), '0', 'nothing was done twice');
	check_clean($node, 'k', 'after chaos');
}

# ---- thousands of heartbeats under a snapshot that keeps all their versions ----

{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM got;');
	my $beats = <<"SQL";
DO \$\$ BEGIN FOR i IN 1..500 LOOP
	PERFORM stream_join('m', 'g', 'ann', '1 hour', $generation{ann}, busy => true);
	COMMIT;
END LOOP; END \$\$
SQL
	my $touched = q{SELECT sum(idx_blks_read + idx_blks_hit + heap_blks_read + heap_blks_hit) FROM pg_statio_all_tables WHERE relid = 'weir.lease'::regclass};
	my @blocks;
	for (0 .. 3)
	{
		ask('SELECT pg_stat_force_next_flush()');
		my $first = ask($touched);
		ask($beats);
		ask('SELECT pg_stat_force_next_flush()');
		wait_until($node, "SELECT ($touched) > $first + 500", 'heartbeats are counted');
		push @blocks, ask($touched) - $first;
	}
	note "blocks of leases per 500 heartbeats: @blocks";
	cmp_ok($blocks[-1], '<', 2 * $blocks[0] + 500, 'a heartbeat touches no more blocks after 2000');
	is(ask('SELECT count(*) FROM weir.lease l JOIN weir.member m ON m.id = member_id WHERE m.name = \'ann\''), '1', 'one version is visible');
	my $plan = ask(q{EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM weir.members WHERE stream = 'm'::regclass});
	my ($hit) = $plan =~ m{shared hit=(\d+)};
	cmp_ok($hit, '<', 300, "weir.members walks over no dead versions: $hit buffers");
	$holder->query_safe('COMMIT;');
	$holder->quit;
}

no_alarms($node);
done_testing();
