# Counts words in two children that answer through pipes.
use strict;
use warnings;

open(my $file, '<', '/data/words.txt') or die "words: $!";
my @lines = <$file>;
my $half = int(@lines / 2);
my %counts;
for my $part ([@lines[0 .. $half - 1]], [@lines[$half .. $#lines]]) {
    my $child = open(my $answers, '-|') // die "fork: $!";
    if (!$child) {
        my %own;
        $own{$_}++ for map { /\w+/g } @$part;
        print "$own{$_} $_\n" for keys %own;
        exit 0;
    }
    while (<$answers>) {
        my ($number, $word) = split;
        $counts{$word} += $number;
    }
    close($answers) or die "child: $?";
}
my @top = (sort { $counts{$b} <=> $counts{$a} || $a cmp $b } keys %counts)[0 .. 2];
open(my $out, '>', $ARGV[0]) or die "$ARGV[0]: $!";
print $out "$counts{$_} $_\n" for @top;
