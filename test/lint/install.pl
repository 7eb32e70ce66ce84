# install: the fragments of the install script are safe against objects and
# search paths of others.
#
# The first statement of all sets the search path.  Nothing is replaced or taken
# over if it exists.  Functions are made as @extschema@.stream_* or weir.*,
# tables, views, types and sequences as weir.*.  Each function has a comment;
# those with an SQL or PL/pgSQL body set their search path, and so do all that
# are SECURITY DEFINER.
use strict;
use warnings;
use Lint;

my (%made, %commented);
my $first = 1;

for my $file (files(qr{\.sql$}, 'src/sql'))
{
	my $text = blank_sql(content($file));

	while ($text =~ m{\bOR\s+REPLACE\b|\bIF\s+NOT\s+EXISTS\b}gi)
	{
		found($file, line_of($text, $-[0]), uc "$&" . ': an object of somebody else could be taken for ours');
	}

	# Statements end at a semicolon outside dollar quotes.
	while ($text =~ m{\G\s*((?:\$(\w*)\$.*?\$\2\$|[^;\$]|\$)+);}gcs)
	{
		my ($statement, $line) = ($1, line_of($text, $-[1]));
		statement($file, $line, $statement);
	}
	if ($text =~ m{\G\s*\S}gc)
	{
		found($file, line_of($text, $-[0]), 'statement without an end');
	}
}

for my $signature (sort keys %made)
{
	found(@{ $made{$signature} }, "no COMMENT ON FUNCTION $signature") if !$commented{$signature};
}
for my $signature (sort keys %commented)
{
	found(@{ $commented{$signature} }, "comment on $signature, which is not created") if !$made{$signature};
}
finish();

sub statement
{
	my ($file, $line, $statement) = @_;

	if ($first && !($file =~ m{upgrade/}))
	{
		$first = 0;
		found($file, $line, 'the first statement is not SET LOCAL search_path TO pg_catalog, pg_temp')
			if $statement !~ m{^SET\s+LOCAL\s+search_path\s*(?:TO|=)\s*pg_catalog\s*,\s*pg_temp\s*$}i;
	}
	if ($statement =~ m{^CREATE\s+(?:OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\s+([^\s(]+)\s*(\(.*)}is)
	{
		my ($kind, $name, $rest) = (uc $1, $2, $3);
		my $signature = $name . '(' . arguments($rest) . ')';
		$made{$signature} = [ $file, $line ];
		found($file, $line, "$kind $name is neither \@extschema\@.stream_* nor weir.*")
			if $name !~ m{^(?:\@extschema\@\.stream_\w+|weir\.\w+)$};

		my ($language) = $rest =~ m{\bLANGUAGE\s+'?(\w+)}i;
		my $sets_path = $rest =~ m{\bSET\s+search_path\b}i;
		found($file, $line, "$kind $name is SECURITY DEFINER and does not set its search_path")
			if $rest =~ m{\bSECURITY\s+DEFINER\b}i && !$sets_path;
		found($file, $line, "$kind $name has a body in $language and does not set its search_path")
			if defined $language && lc $language ne 'c' && lc $language ne 'internal'
			&& !$sets_path && $rest !~ m{\bBEGIN\s+ATOMIC\b}i;
	}
	elsif ($statement =~ m{^COMMENT\s+ON\s+(?:FUNCTION|PROCEDURE)\s+([^\s(]+)\s*(\(.*)}is)
	{
		$commented{ $1 . '(' . arguments($2) . ')' } = [ $file, $line ];
	}
	elsif ($statement =~ m{^CREATE\s+(?:UNLOGGED\s+|TEMP\w*\s+|MATERIALIZED\s+|OR\s+REPLACE\s+|RECURSIVE\s+)*
		(TABLE|VIEW|TYPE|SEQUENCE|DOMAIN|AGGREGATE)\s+(?:IF\s+NOT\s+EXISTS\s+)?([^\s(]+)}isx)
	{
		found($file, $line, uc($1) . " $2 is not in schema weir") if $2 !~ m{^weir\.}i;
	}
}

# The types of the arguments that tell functions apart: "(a text, OUT b int)"
# and "(text)" are both "text".
sub arguments
{
	my ($list) = @_;
	my ($depth, $argument, @arguments) = (0, '');
	for my $token ($list =~ m{\(|\)|,|[^(),]+}g)
	{
		$depth-- if $token eq ')';
		last if $depth == 0 && $token eq ')';
		if ($token eq ',' && $depth == 1)
		{
			push @arguments, $argument;
			$argument = '';
		}
		elsif ($depth > 0)
		{
			$argument .= $token;
		}
		$depth++ if $token eq '(';
	}
	push @arguments, $argument if $argument =~ m{\S};

	my @types;
	for (@arguments)
	{
		s{\s*(?:\bDEFAULT\b|=).*}{}is;
		s{^\s+|\s+$}{}g;
		s{\s+}{ }g;
		next if m{^OUT\b}i;
		s{^(?:INOUT|IN|VARIADIC) }{}i;
		s{^(?:"[^"]+"|\w+) (?=.)}{} if !m{^(?:double precision|character varying|timestamp with|time with|bit varying)}i;
		push @types, lc;
	}
	return join ', ', @types;
}
