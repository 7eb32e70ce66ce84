# words: nothing is left for later: no TODO, FIXME, XXX, HACK, "for now".
use strict;
use warnings;
use Lint;

my @files = files(qr{\.(?:[ch]|sql|spec|pl|pm|sh|py|conf)$}, qw(src sql test demo), glob('*.sh'));
for my $file (grep { !m{^test/lint/} } @files)
{
	my $text = content($file);
	while ($text =~ m{\b(?:TODO|FIXME|XXX|HACK)\b|\bfor\s+now\b}g)
	{
		found($file, line_of($text, $-[0]), "left for later: $&");
	}
}
finish();
