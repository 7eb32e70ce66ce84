# sleeps: nothing sleeps for a time; wait for what is waited for.
use strict;
use warnings;
use Lint;

for my $file (grep { !m{^test/lint/} } files(qr{\.(?:[ch]|sql|spec|pl|pm|sh|py)$}, qw(src sql test demo), glob('*.sh')))
{
	my $text = content($file);
	$text = blank_c($text) if $file =~ m{\.[ch]$};
	$text = blank_sql($text) if $file =~ m{\.sql$};
	$text =~ s{^[ \t]*#[^\n]*}{}mg if $file =~ m{\.(?:pl|pm|sh|py|spec)$};
	while ($text =~ m{\b(?:pg_)?(?:u|nano)?sleep(?:_for|_until)?\s*\(|\bu?sleep\s+["\$\d.]|\bselect\s*\(\s*undef}g)
	{
		found($file, line_of($text, $-[0]), "sleeps: $&");
	}
}
finish();
