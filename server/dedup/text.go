package dedup

import (
	_ "embed" // the table of characters
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/mozillazg/go-pinyin"
	"golang.org/x/text/unicode/norm"
)

// traditionalTable holds characters whose traditional and simplified shapes differ, pairwise, on lines without a mark.
//
//go:embed traditional.txt
var traditionalTable string

// compoundSurnames are the family names of two characters that occur.
const compoundSurnames = "欧阳 司马 上官 诸葛 东方 皇甫 尉迟 公孙 慕容 令狐 司徒 司空 夏侯 长孙 宇文 轩辕 端木 南宫 西门 独孤 呼延 百里 东郭 闻人 申屠 太史 公羊 澹台 濮阳 淳于 单于 赫连 钟离 仲孙 第五 万俟 拓跋 完颜 纳兰 冉闵"

// surnameReadings are family names read otherwise than the character usually is.
const surnameReadings = "曾zeng 单shan 解xie 仇qiu 任ren 区ou 查zha 盖ge 朴piao 尉yu 乐yue 覃qin 翟zhai 冼xian 缪miao 宓fu 折she 种chong 黑he 员yun 贠yun 洗xian 过guo 令ling 句gou 逄pang 牟mou 车che 召shao 祭zhai 繁po 能nai 哈ha 郗xi 隗wei 单于chanyu 尉迟yuchi 万俟moqi 澹台tantai 长孙zhangsun"

// speller knows how names are written and read. It is built once per search and only read afterwards.
type speller struct {
	fold     map[rune]rune
	simple   [lastHan - firstHan + 1]rune // fold for the common block, 0 where there is none
	compound map[string]bool
	reading  map[string]string
	args     pinyin.Args
	// families holds how family names sound that were asked for: they are few, and come again and again.
	families sync.Map
	held     atomic.Int32
	heard    [lastHan - firstHan + 1]atomic.Pointer[string] // by character
}

// The common block of Chinese characters.
const firstHan, lastHan = 0x4E00, 0x9FFF

// maxFamilies is how many sounds of family names are remembered.
const maxFamilies = 4096

// newSpeller builds the tables.
func newSpeller() *speller {
	s := &speller{fold: map[rune]rune{}, compound: map[string]bool{}, reading: map[string]string{}, args: pinyin.NewArgs()}
	for line := range strings.Lines(traditionalTable) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		pairs := []rune(strings.TrimSpace(line))
		for i := 0; i+1 < len(pairs); i += 2 {
			s.fold[pairs[i]] = pairs[i+1]
			if at := pairs[i] - firstHan; at >= 0 && int(at) < len(s.simple) {
				s.simple[at] = pairs[i+1]
			}
		}
	}
	for _, n := range strings.Fields(compoundSurnames) {
		s.compound[n] = true
	}
	for _, n := range strings.Fields(surnameReadings) {
		at := strings.IndexFunc(n, func(r rune) bool { return r < 128 })
		s.reading[n[:at]] = n[at:]
	}
	return s
}

// nameForm is a name taken apart for comparison.
type nameForm struct {
	han           bool   // written in characters
	folded        string // simplified, lower case, nothing but letters
	family, given string // folded
	sound         string // toneless pinyin of the whole name, or its letters
	soundFamily   string
	soundGiven    string
	near          string // sound with the mergers of south-western Mandarin
	familyIsKnown bool
}

// turned says whether a name is that of another with the given name first.
func (f *nameForm) turned(name string) bool { return isTwo(name, f.given, f.family) }

// turnedSound is turned for how names sound.
func (f *nameForm) turnedSound(sound string) bool { return isTwo(sound, f.soundGiven, f.soundFamily) }

// isTwo says whether a text is two others behind each other.
func isTwo(text, a, b string) bool {
	return len(text) == len(a)+len(b) && text[:len(a)] == a && text[len(a):] == b
}

// plain folds width, case, accents and traditional characters.
func (s *speller) plain(text string) string {
	if isASCII(text) {
		return strings.ToLower(text)
	}
	if isPlainHan(text) {
		return s.simplified(text)
	}
	text = norm.NFKD.String(strings.ToValidUTF8(text, ""))
	var b strings.Builder
	b.Grow(len(text))
	for _, r := range text {
		if unicode.Is(unicode.Mn, r) {
			continue
		}
		if f, ok := s.fold[r]; ok {
			r = f
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// simplified folds traditional characters in a text of the common block; mostly there are none.
func (s *speller) simplified(text string) string {
	for i, r := range text {
		if s.simple[r-firstHan] == 0 {
			continue
		}
		var b strings.Builder
		b.Grow(len(text))
		b.WriteString(text[:i])
		for _, r := range text[i:] {
			if f := s.simple[r-firstHan]; f != 0 {
				r = f
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	return text
}

// isPlainHan says whether the text has only characters of the block in which nearly all names are written, none of which is
// made of others, an accent, or a letter with two cases.
func isPlainHan(text string) bool {
	for _, r := range text {
		if r < firstHan || r > lastHan {
			return false
		}
	}
	return true
}

// isASCII says whether the text has only 7-bit bytes.
func isASCII(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// words splits folded text into runs of letters and digits.
func words(plain string) []string {
	return strings.FieldsFunc(plain, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '\'' })
}

// letters drops everything but letters and digits.
func letters(plain string) string {
	if isPlainHan(plain) {
		return plain
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, plain)
}

// isHan says whether a text is written in Chinese characters, wholly or in part.
func isHan(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r >= firstHan && r <= lastHan || r >= 0x80 && unicode.Is(unicode.Han, r) })
}

// name takes a name apart. family and given may be empty; so may spelled, the pinyin that was recorded with it.
func (s *speller) name(full, family, given, spelled string) nameForm {
	p := s.plain(full)
	f := nameForm{folded: letters(p), han: isHan(p)}
	f.family, f.given = s.divide(p, f.folded, f.han, family, given)
	if !f.han || !f.spell(s, s.plain(spelled)) {
		f.soundFamily, f.soundGiven = s.sound(f.family, true), s.sound(f.given, false)
		f.sound = f.soundFamily + f.soundGiven
	}
	f.near = dialect(f.sound)
	f.familyIsKnown = f.family != ""
	return f
}

// spell takes how a name sounds from the pinyin that was recorded with it, if there is any.
func (f *nameForm) spell(s *speller, spelled string) bool {
	w := words(spelled)
	all := strings.Join(w, "")
	heard := syllables(all)
	if len(w) == 0 || isHan(heard) {
		return false
	}
	f.sound = heard
	if len(w) > 1 {
		f.soundFamily, f.soundGiven = syllables(w[0]), syllables(all[len(w[0]):])
		return true
	}
	f.soundFamily, f.soundGiven = s.sound(f.family, true), s.sound(f.given, false)
	if strings.HasPrefix(heard, f.soundFamily) {
		f.soundGiven = heard[len(f.soundFamily):]
	}
	return true
}

// divide tells family and given name apart, by what is told or by how the name is written.
func (s *speller) divide(plain, folded string, han bool, family, given string) (string, string) {
	family, given = letters(s.plain(family)), letters(s.plain(given))
	switch {
	case family != "" && given != "":
		return family, given
	case han:
		return s.split(folded)
	}
	if w := words(plain); len(w) > 1 {
		return w[0], letters(strings.Join(w[1:], ""))
	}
	return "", folded
}

// surname is the soundFamily of name, without the rest.
func (s *speller) surname(full, family, given, spelled string) string {
	if spelled != "" {
		return s.name(full, family, given, spelled).soundFamily
	}
	p := s.plain(full)
	family, _ = s.divide(p, letters(p), isHan(p), family, given)
	return s.sound(family, true)
}

// split divides a name in characters into family and given name.
func (s *speller) split(name string) (family, given string) {
	_, one := utf8.DecodeRuneInString(name)
	_, two := utf8.DecodeRuneInString(name[one:])
	switch {
	case two == 0:
		return "", name
	case len(name) > one+two && s.compound[name[:one+two]]:
		return name[:one+two], name[one+two:]
	}
	return name[:one], name[one:]
}

// sound gives the toneless pinyin of folded text; letters stay.
func (s *speller) sound(folded string, isFamily bool) string {
	if isASCII(folded) {
		return syllables(folded)
	}
	if !isFamily {
		return s.syllables(folded)
	}
	if r, ok := s.reading[folded]; ok {
		return r
	}
	if known, ok := s.families.Load(folded); ok {
		return known.(string)
	}
	sound := s.syllables(folded)
	if len(folded) <= 32 && s.held.Load() < maxFamilies {
		s.families.Store(folded, sound)
		s.held.Add(1)
	}
	return sound
}

// syllables gives the toneless pinyin of text that is not all letters.
func (s *speller) syllables(folded string) string {
	var b strings.Builder
	for _, r := range folded {
		b.WriteString(s.syllable(r))
	}
	return syllables(b.String())
}

// syllable gives the toneless pinyin of a character; others stay. Those of the common block are looked up once.
func (s *speller) syllable(r rune) string {
	at := int(r) - firstHan
	if at >= 0 && at < len(s.heard) {
		if p := s.heard[at].Load(); p != nil {
			return *p
		}
	}
	out := string(r)
	if py := pinyin.SinglePinyin(r, s.args); len(py) > 0 {
		out = py[0]
	}
	if at >= 0 && at < len(s.heard) {
		s.heard[at].Store(&out)
	}
	return out
}

var oneWay = strings.NewReplacer("'", "", "’", "", "u:", "u", "lyu", "lu", "nyu", "nu", "lv", "lu", "nv", "nu")

// syllables brings the ways to write ü to one, and drops apostrophes.
func syllables(letters string) string {
	if !strings.ContainsAny(letters, "v'’:") && !strings.Contains(letters, "lyu") && !strings.Contains(letters, "nyu") {
		return letters
	}
	return oneWay.Replace(letters)
}

// dialect merges the sounds that south-western Mandarin does not tell apart: zh z, ch c, sh s, n l, in ing, en eng, an ang.
// In pinyin the letter l stands only at the start of a syllable, so that it may be replaced wherever it is.
func dialect(sound string) string {
	out := make([]byte, 0, 64)
	for i := 0; i < len(sound); i++ {
		c, next := sound[i], byte(0)
		if i+1 < len(sound) {
			next = sound[i+1]
		}
		switch c {
		case 'l':
			c = 'n'
		case 'z', 'c', 's':
			if next == 'h' {
				i++
			}
		case 'n':
			if next == 'g' {
				i++
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// digitsOf keeps the ASCII digits of a text, full-width ones folded.
func digitsOf(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '０' && r <= '９' {
			r = r - '０' + '0'
		}
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
}

// phoneOf normalises a telephone number: digits only, without the country code of China or a leading zero.
func phoneOf(text string) string {
	d := digitsOf(text)
	for _, prefix := range []string{"0086", "86"} {
		if rest, ok := strings.CutPrefix(d, prefix); ok && len(rest) >= 10 {
			d = rest
			break
		}
	}
	if len(d) > 8 {
		d = strings.TrimPrefix(d, "0")
	}
	return d
}

// residentOf normalises a resident identity number of 18 characters, of 15 (the old form), or the last four alone; other
// texts give nothing.
func residentOf(text string) string {
	d := strings.Map(func(r rune) rune {
		switch {
		case r >= '０' && r <= '９':
			return r - '０' + '0'
		case r >= '0' && r <= '9':
			return r
		case r == 'x' || r == 'X' || r == 'Ｘ' || r == 'ｘ':
			return 'X'
		}
		return -1
	}, text)
	if at := strings.IndexByte(d, 'X'); at >= 0 && at != len(d)-1 {
		return ""
	}
	switch len(d) {
	case 4, 15, 18:
		return d
	}
	return ""
}

// residentChecks says whether 18 characters end in the check character that GB 11643 asks for (ISO 7064 MOD 11-2).
func residentChecks(id string) bool {
	if len(id) != 18 {
		return false
	}
	weights := [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
		sum += int(id[i]-'0') * w
	}
	return id[17] == "10X98765432"[sum%11]
}

// provinces lists the first two digits that a division code may have.
const provinces = "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82"

// placeOf keeps a division code of 2, 4, 6, 9 or 12 digits; other texts give nothing. Trailing zeros that only fill a code
// up are cut.
func placeOf(text string) string {
	d := digitsOf(text)
	if len(d) != len(strings.TrimSpace(text)) || len(d) < 2 || !slices.Contains(strings.Fields(provinces), d[:2]) {
		return ""
	}
	for _, n := range []int{9, 6, 4, 2} {
		if len(d) > n && strings.Trim(d[n:], "0") == "" && (len(d) == 12 || len(d) == 9 || len(d) == 6) {
			d = d[:n]
		}
	}
	switch len(d) {
	case 2, 4, 6, 9, 12:
		return today(d)
	}
	return ""
}
