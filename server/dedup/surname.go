package dedup

import "sync"

// spelling is the one speller of Surname; its tables are only read.
var spelling = sync.OnceValue(newSpeller)

// Surname is how a family name sounds, in pinyin without tones and with the sounds merged that south-western Mandarin
// does not tell apart, so that what is heard at two doors is the same. It is taken from the full name where the family
// name is not told apart; "" where neither says anything.
func Surname(full, family, given, pinyin string) string {
	s := spelling()
	if family != "" && given == "" && full == "" { // all that was said
		return dialect(s.sound(letters(s.plain(family)), true))
	}
	if full == "" {
		full = family + given
	}
	return dialect(s.surname(full, family, given, pinyin))
}
