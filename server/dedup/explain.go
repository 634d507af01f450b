package dedup

import (
	"fmt"
	"strings"
	"unicode"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// className is a match class in small letters, without its prefix.
func className(c servicev1.MatchClass) string {
	return strings.ToLower(strings.TrimPrefix(c.String(), "MATCH_CLASS_"))
}

// FieldLabel names a compared field for a reader, in English and in Simplified Chinese. Fields without a label, such as
// the columns of a table, are returned as they are.
func FieldLabel(field string) (en, zh string) {
	switch field {
	case fieldName:
		return "name", "姓名"
	case fieldBirth:
		return "date of birth", "出生日期"
	case fieldSex:
		return "sex", "性别"
	case fieldPhone:
		return "telephone", "电话"
	case fieldResident:
		return "resident id", "身份证号"
	case fieldHukou:
		return "place of hukou", "户口登记地"
	case fieldHukouType:
		return "type of hukou", "户口类型"
	case fieldEducation:
		return "education", "文化程度"
	case fieldSite:
		return "site", "调查点"
	case fieldAddress:
		return "address", "住址"
	case fieldHousehold:
		return "household", "家庭其他成员"
	case fieldRoster:
		return "roster", "家庭成员表"
	case fieldTogether:
		return "what goes together", "相关性修正"
	case fieldMember:
		return "member", "家庭成员"
	case fieldUnmatched:
		return "members not matched", "未匹配成员"
	case fieldPlace:
		return "place", "地点"
	case fieldRivals:
		return "other partners", "其他候选"
	}
	return field, field
}

// LevelLabel is the Simplified Chinese of a level of agreement, as it stands in Evidence.level; levels without one are
// returned as they are.
func LevelLabel(name string) string {
	switch name {
	case "missing":
		return "缺失"
	case "correction":
		return "修正"
	case "listed in the same interview":
		return "在同一次访问中列出"
	case "same person id":
		return "人员编号相同"
	case "linked by decision":
		return "已判定为同一人"
	case "not met again":
		return "未再遇到"
	case "on one roster":
		return "在同一张成员表上"
	case "shared out among all partners":
		return "在所有候选中分摊"
	case "households compared whole":
		return "整户比较"
	case "likely":
		return "很可能"
	case "possible":
		return "可能"
	}
	for k := range kinds {
		for _, l := range scaleOf(k) {
			if l.name == name {
				return l.zh
			}
		}
	}
	return name
}

// Text explains a pair for a terminal: what was told on either side, how well it agrees, and what that weighs. Columns
// line up in a terminal that gives Chinese characters two cells.
func Text(p *servicev1.MatchPair) string {
	rows := [][]string{{"field 项目", cellOr(p.GetAKey(), p.GetAId()), cellOr(p.GetBKey(), p.GetBId()), "agreement 一致程度", "bits"}}
	add := func(field, a, b, level string, w float64) {
		rows = append(rows, []string{field, cell(a), cell(b), level, fmt.Sprintf("%+.1f", w)})
	}
	add("prior 先验", "", "", "", p.GetPriorWeight())
	for _, e := range p.GetEvidence() {
		en, zh := FieldLabel(e.GetField())
		label, level := cell(en), e.GetLevel()
		if zh != en {
			label += " " + zh
		}
		if zh := LevelLabel(level); zh != level {
			level += " " + zh
		}
		add(label, e.GetValueA(), e.GetValueB(), level, e.GetWeight())
	}
	add("sum 合计", "", "", "", p.GetWeight())
	var widths [4]int
	for _, r := range rows {
		for i := range widths {
			widths[i] = max(widths[i], displayWidth(r[i]))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: probability %.4f\n", strings.ToUpper(className(p.GetMatchClass())), p.GetProbability())
	for _, r := range rows {
		for i, w := range widths {
			b.WriteString(r[i])
			b.WriteString(strings.Repeat(" ", w-displayWidth(r[i])+2))
		}
		fmt.Fprintf(&b, "%6s\n", r[4])
	}
	if k := p.GetDecision(); k != servicev1.DecisionKind_DECISION_KIND_UNSPECIFIED {
		fmt.Fprintf(&b, "decided: %s\n", strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(k.String(), "DECISION_KIND_"), "_", " ")))
	}
	return b.String()
}

// cellOr is the first text that is not empty, as a cell.
func cellOr(a, b string) string {
	if a != "" {
		return cell(a)
	}
	return cell(b)
}

// cell makes a value fit for one cell of a terminal: no control characters, not longer than 40 cells.
func cell(s string) string {
	var b strings.Builder
	w := 0
	for _, r := range s {
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if w += runeWidth(r); w > 39 {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// displayWidth is how many cells of a terminal a text takes.
func displayWidth(s string) int {
	w := 0
	for _, r := range s {
		w += runeWidth(r)
	}
	return w
}

// runeWidth is two for the wide characters of East Asia, none for marks that sit on others, one for the rest.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && r <= 0x115F, r >= 0x2E80 && r <= 0x303E, r >= 0x3041 && r <= 0x33FF, r >= 0x3400 && r <= 0x4DBF,
		r >= 0x4E00 && r <= 0x9FFF, r >= 0xA000 && r <= 0xA4CF, r >= 0xAC00 && r <= 0xD7A3, r >= 0xF900 && r <= 0xFAFF,
		r >= 0xFE30 && r <= 0xFE6F, r >= 0xFF00 && r <= 0xFF60, r >= 0xFFE0 && r <= 0xFFE6, r >= 0x20000 && r <= 0x3FFFD:
		return 2
	}
	return 1
}
