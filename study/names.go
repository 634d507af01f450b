package study

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// surnames are common family names, each with its weight per thousand, an estimate for the south-west.
const surnames = "王65 李68 张62 刘48 陈46 杨58 黄28 吴30 赵20 周24 徐10 孙9 马12 朱11 胡15 林10 郭10 何18 高9 罗22 郑8 梁8 谢12 宋9 唐13 许7 邓13 " +
	"冯10 韩5 曹6 曾9 彭11 萧3 蔡5 潘12 田11 董5 袁8 于4 余9 叶6 蒋10 杜7 苏7 魏7 程6 吕5 丁5 沈3 任7 姚6 卢8 傅4 钟6 姜4 崔3 谭7 廖7 范6 汪5 陆7 " +
	"金4 石11 戴4 贾4 韦16 夏5 邱5 方6 侯4 邹6 熊9 孟4 秦5 白4 江5 阎2 薛2 尹4 段4 雷6 黎6 史4 龙15 陶6 贺4 顾3 毛3 郝2 龚5 邵3 万3 钱2 严3 覃6 " +
	"岑4 莫5 蒙5 禄2 安5 穆2 吉2 欧5 冉5 申4 令狐1 欧阳1 司马1 上官1"

// The characters of given names, by their place in a name of two; one that stands twice is twice as common.
const (
	maleFirst   = "国国建建志志文文明正正光光永世大大小小天德兴家家俊思子子浩宇泽开启昌昌成胜荣贵中春红忠学先朝廷登绍祖秀庆"
	maleLast    = "华华明明军军平平强强伟伟勇勇刚辉斌波涛超龙飞鹏杰林海生贵富荣祥云兵松峰洋东辰轩豪涵宇浩学才江权发元友民成文"
	femaleFirst = "小小秀秀桂玉玉春春美丽丽海红红晓晓雪雨雨思思梦佳佳欣欣子文文明金银正光国开启昌光素淑永德兴慧婷"
	femaleLast  = "英英芳芳兰兰花琴琴梅梅珍珍红丽丽艳艳燕霞霞娟萍萍敏静静玲玲芬秀琼群菊莲香云凤婷婷雪怡涵欣洁琪妍蕾慧美"
)

// soundAlike are characters that are easily written for one another: the same sound, or nearly the same in the speech of
// the south-west.
const soundAlike = "英瑛莹颖|丽莉力立|华花桦|明名铭|晓小筱|燕艳雁|桂贵|秀绣|芳方|梅美枚|珍贞|平萍|林琳临|军君|建健|志智|国果|文闻|玉裕|红洪宏|" +
	"海涵|思诗|雨宇羽|佳家嘉|欣新鑫|春椿|正政|光广|永勇咏|德得|兴星|学雪|成程诚|胜盛|忠中|强祥|辉晖|超朝|龙隆|飞菲|杰洁|生声|云芸|波博|涛韬|" +
	"兰蓝|琴芹勤|霞夏|娟涓|敏明|静净|玲林|芬分|琼穷|群裙|菊举|莲连|香湘|凤奉|婷亭|怡宜|琪奇|妍言|子紫|天添|金今|启起|昌常"

// familyAlike are family names that sound alike.
const familyAlike = "张章|王汪|陈程|吴伍|李黎|杨阳|何贺|罗骆|徐许|周邹|马麻|余于俞|石史|田天|付傅|肖萧|闫阎严|覃秦|卢鲁|姚尧"

// nameTable draws names by weight.
type nameTable struct {
	families []string
	upTo     []int
	total    int
	first    [2][]rune // men, women
	last     [2][]rune
	sound    map[rune][]rune
	family   map[string][]string
}

// readTables reads the lists above.
func readTables() *nameTable {
	t := &nameTable{
		first: [2][]rune{[]rune(maleFirst), []rune(femaleFirst)}, last: [2][]rune{[]rune(maleLast), []rune(femaleLast)},
		sound: map[rune][]rune{}, family: map[string][]string{},
	}
	for _, f := range strings.Fields(surnames) {
		name := strings.TrimRight(f, "0123456789")
		w := 0
		for _, c := range f[len(name):] {
			w = 10*w + int(c-'0')
		}
		t.total += w
		t.families, t.upTo = append(t.families, name), append(t.upTo, t.total)
	}
	for _, group := range strings.Split(soundAlike, "|") {
		chars := []rune(group)
		for i, c := range chars {
			others := append(append([]rune{}, chars[:i]...), chars[i+1:]...)
			t.sound[c] = append(t.sound[c], others...)
		}
	}
	for _, group := range strings.Split(familyAlike, "|") {
		chars := []rune(group)
		for i, c := range chars {
			for j, o := range chars {
				if i != j {
					t.family[string(c)] = append(t.family[string(c)], string(o))
				}
			}
		}
	}
	return t
}

// surname draws a family name.
func (t *nameTable) surname(r *rand.Rand) string {
	x := r.IntN(t.total)
	lo, hi := 0, len(t.upTo)
	for lo < hi {
		mid := (lo + hi) / 2
		if t.upTo[mid] > x {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return t.families[lo]
}

// given draws a given name; generation, where set, is the character that brothers and sisters share.
func (t *nameTable) given(r *rand.Rand, female bool, generation string) string {
	k := 0
	if female {
		k = 1
	}
	last := string(t.last[k][r.IntN(len(t.last[k]))])
	switch {
	case generation != "":
		return generation + last
	case r.Float64() < 0.13:
		return last
	}
	return string(t.first[k][r.IntN(len(t.first[k]))]) + last
}

// misheard replaces one character of a given name by one that sounds alike; it returns the name as it is where none does.
func (t *nameTable) misheard(r *rand.Rand, given string) string {
	chars := []rune(given)
	at := r.IntN(len(chars))
	for range chars {
		if others := t.sound[chars[at]]; len(others) > 0 {
			chars[at] = others[r.IntN(len(others))]
			return string(chars)
		}
		at = (at + 1) % len(chars)
	}
	return given
}

// phonePrefixes are numbers that no network of China had in use.
var phonePrefixes = []string{"142", "143", "154", "160", "161", "163", "164", "168", "169"}

// phone draws a telephone number.
func (t *nameTable) phone(r *rand.Rand) string {
	return fmt.Sprintf("%s%08d", phonePrefixes[r.IntN(len(phonePrefixes))], r.IntN(100_000_000))
}

// residentID makes a resident identity number by GB 11643: address, birth date, sequence (odd for men), check character.
func residentID(area string, year, month, day, sequence int) string {
	b := []byte(fmt.Sprintf("%s%04d%02d%02d%03d", area, year, month, day, sequence))
	return string(append(b, residentCheck(b)))
}

// residentCheck is the check character of ISO 7064 MOD 11-2 over seventeen digits.
func residentCheck(digits []byte) byte {
	weights := [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2}
	sum := 0
	for i, w := range weights {
		sum += int(digits[i]-'0') * w
	}
	return "10X98765432"[sum%11]
}
