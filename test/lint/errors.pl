# errors: every ereport() of an error has an errcode.
use strict;
use warnings;
use Lint;

for my $file (files(qr{\.[ch]$}, 'src'))
{
	my $text = blank_c(content($file));
	while ($text =~ m{\bereport(?:_domain)?\s*(?=\()}g)
	{
		my $start = $-[0];
		# One balanced pair of parentheses, strings aside.
		my ($call) = substr($text, $+[0]) =~
			m{^(\((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^()"']|(?1))*\))};
		next if !defined $call || $call !~ m{^\(\s*(?:ERROR|FATAL|PANIC)\b};
		found($file, line_of($text, $start), 'an error without errcode')
			if $call !~ m{\berrcode(?:_for_\w+)?\s*\(};
	}
}
finish();
