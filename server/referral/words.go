package referral

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// Chinese is the language option for Simplified Chinese; any other is English.
const Chinese = "zh"

// words are the texts of the picture in one language.
type words struct {
	chinese                                              bool
	seed, otherRoot, wave, notInterviewed, site, primary string
	other, unresolved, empty, title                      string
}

func wordsIn(language string) words {
	if language == Chinese || strings.HasPrefix(language, Chinese+"-") {
		return words{
			chinese: true, seed: "种子", otherRoot: "起点（未标记为种子）", wave: "受访者，颜色随波次加深", notInterviewed: "未受访",
			site: "机构（介绍人）", primary: "主要介绍", other: "其他介绍", unresolved: "介绍人尚未确定", empty: "尚无介绍关系",
			title: "谁介绍了谁",
		}
	}
	return words{
		seed: "seed", otherRoot: "start, not marked as a seed", wave: "respondent, darker by wave",
		notInterviewed: "never interviewed", site: "institution that referred", primary: "primary referral",
		other: "other referral", unresolved: "recruiter not known yet", empty: "no referrals yet", title: "Who referred whom",
	}
}

func (w words) pick(english, chinese string) string {
	if w.chinese {
		return chinese
	}
	return english
}

func (w words) waveLabel(n int) string { return fmt.Sprintf(w.pick("wave %d", "第%d波"), n) }

// summary is the line under the title.
func (w words) summary(people, seeds, maxWave int) string {
	if w.chinese {
		return fmt.Sprintf("%d人 · %d个种子 · 最深第%d波", people, seeds, maxWave)
	}
	return counted(people, "person", "people") + " · " + counted(seeds, "seed", "seeds") + " · deepest wave " + fmt.Sprint(maxWave)
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n, " ", many)
}

// state names what became of a referral.
func (w words) state(s servicev1.EdgeState) string {
	switch s {
	case servicev1.EdgeState_EDGE_STATE_RESOLVED:
		return w.pick("both ends known", "双方均已知")
	case servicev1.EdgeState_EDGE_STATE_UNRESOLVED:
		return w.pick("recruiter or coupon not known yet", "介绍人或推荐券来源尚未确定")
	case servicev1.EdgeState_EDGE_STATE_SELF:
		return w.pick("referred by himself", "自己介绍自己")
	case servicev1.EdgeState_EDGE_STATE_CYCLE_BROKEN:
		return w.pick("left out, it would close a circle", "构成循环，未计入")
	case servicev1.EdgeState_EDGE_STATE_REUSED:
		return w.pick("coupon used before", "推荐券已被使用")
	case servicev1.EdgeState_EDGE_STATE_TIME_CONFLICT:
		return w.pick("times contradict each other", "时间矛盾")
	case servicev1.EdgeState_EDGE_STATE_NEVER_ISSUED:
		return w.pick("coupon was never given out", "推荐券从未发出")
	case servicev1.EdgeState_EDGE_STATE_VOIDED:
		return w.pick("coupon is void", "推荐券已作废")
	case servicev1.EdgeState_EDGE_STATE_EXPIRED:
		return w.pick("coupon handed in after its last day", "推荐券已过期")
	}
	return w.pick("not decided", "未判定")
}

// tooltip is all that is known of a node, a line each.
func (w words) tooltip(n *servicev1.ReferralNode, label string) string {
	lines := []string{label}
	add := func(english, chinese string, args ...any) {
		lines = append(lines, fmt.Sprintf(w.pick(english, chinese), args...))
	}
	if key := n.GetInterviewKey(); key != "" && key != label {
		add("interview %s", "访问编号 %s", key)
	}
	site := n.GetKind() == KindSite
	switch {
	case site:
		lines = append(lines, w.site)
	case n.GetSeed():
		lines = append(lines, w.seed)
	case n.GetRootId() == n.GetPersonId() && n.GetInterviewed():
		lines = append(lines, w.otherRoot)
	}
	if !site && !n.GetInterviewed() {
		lines = append(lines, w.notInterviewed)
	}
	lines = append(lines, w.waveLabel(int(n.GetWave())))
	add("recruits %d, descendants %d", "直接介绍%d人，后代共%d人", n.GetRecruits(), n.GetDescendants())
	if n.NetworkSize != nil {
		add("network size %d", "社会网络规模 %d", n.GetNetworkSize())
	}
	if n.GetSiteId() != "" {
		add("site %s", "调查点 %s", n.GetSiteId())
	}
	if role := n.GetRole(); role != "" {
		kind, prefix := surveyv1.PersonRole(0).Descriptor(), "PERSON_ROLE_"
		if site {
			kind, prefix = surveyv1.SiteKind(0).Descriptor(), "SITE_KIND_"
		}
		lines = append(lines, w.choice(kind, prefix, role))
	}
	if len(n.GetMergedIds()) > 0 {
		add("%d records merged", "已合并%d条记录", len(n.GetMergedIds())+1)
	}
	return strings.Join(lines, "\n")
}

// choice is the label that the questionnaire gives an answer; the word itself if it has none.
func (w words) choice(list protoreflect.EnumDescriptor, prefix, word string) string {
	value := list.Values().ByName(protoreflect.Name(prefix + strings.ToUpper(word)))
	if value == nil {
		return word
	}
	choice, ok := proto.GetExtension(value.Options(), formv1.E_Choice).(*formv1.Choice)
	if !ok {
		return word
	}
	if s := w.pick(choice.GetLabel().GetEn(), choice.GetLabel().GetZh()); s != "" {
		return s
	}
	return word
}
