package export

import (
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The records that the server makes of interviews are no questionnaires and carry no options; their wording, and what
// of them stays out of an export, is kept here.

const servicePackage = "hearth.service.v1."

// wordedField is the wording of a field of a service message, without the package.
type wordedField struct {
	name, en, zh string
	personal     formv1.PersonalData
}

const (
	directPerson = formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER
	quasiPerson  = formv1.PersonalData_PERSONAL_DATA_QUASI_IDENTIFIER
)

func wordedFields() []wordedField {
	return append(wordedReferrals(), []wordedField{
		{"PersonRecord.person_id", "Person id (UUID)", "人员编号（UUID）", 0},
		{"PersonRecord.interview_id", "Interview id (UUID)", "访问编号（UUID）", 0},
		{"PersonRecord.interview_key", "Interview key", "访问代号", quasiPerson},
		{"PersonRecord.study", "Study", "调查项目", 0},
		{"PersonRecord.round", "Round", "调查轮次", 0},
		{"PersonRecord.household_id", "Household id (UUID)", "住户编号（UUID）", 0},
		{"PersonRecord.line_number", "Line number", "序号", 0},
		{"PersonRecord.role", "Role in the study", "在研究中的身份", 0},
		{"PersonRecord.presence", "Role at the interview", "在访问中的角色", 0},
		{"PersonRecord.identity", "Identity", "身份信息", 0},
		{"PersonRecord.sex", "Sex", "性别", quasiPerson},
		{"PersonRecord.birth_date", "Date of birth", "出生日期", quasiPerson},
		{"PersonRecord.age", "Age in completed years", "周岁年龄", quasiPerson},
		{"PersonRecord.education", "Level of education", "文化程度", 0},
		{"PersonRecord.hukou_type", "Type of hukou", "户口类型", 0},
		{"PersonRecord.hukou_place", "Place of hukou registration", "户口登记地", 0},
		{"PersonRecord.site_id", "Site", "调查点", 0},
		{"PersonRecord.enumerator", "Enumerator", "访问员", 0},
		{"PersonRecord.interview_time_ms", "Start of the interview", "访问开始时间", 0},
		{"PersonRecord.relation_to_head", "Relation to the head of the household (code)", "与户主的关系（代码）", quasiPerson},
		{"PersonRecord.interviewed", "Was interviewed", "接受了访问", 0},
		{"PersonRecord.questionnaire", "Questionnaire", "问卷", 0},
		{"Flag.interview_id", "Interview id (UUID)", "访问编号（UUID）", 0},
		{"Flag.path", "Answer that is doubted", "存疑的答案", 0},
		{"Flag.rule", "Check that fails", "未通过的检查", 0},
		{"Flag.severity", "Severity", "严重程度", 0},
		{"Flag.message", "What the check says", "检查说明", 0},
		{"LinkDecision.decision_id", "Decision id (UUID)", "判定编号（UUID）", 0},
		{"LinkDecision.kind", "Decision", "判定", 0},
		{"LinkDecision.subject", "About people or households", "对象（人员或住户）", 0},
		{"LinkDecision.a_id", "One of the two", "甲方编号", 0},
		{"LinkDecision.b_id", "The other", "乙方编号", 0},
		{"LinkDecision.undoes", "Decision taken back", "撤销的判定", 0},
		{"LinkDecision.decided_by", "Who decided", "判定人", 0},
		{"LinkDecision.time_ms", "When", "判定时间", 0},
		{"LinkDecision.reason", "Reason", "理由", directPerson},
		{"LinkDecision.study", "Study", "调查项目", 0},
		{"LinkDecision.field", "What was decided about, where it is one value", "判定所涉字段", 0},
		{"LinkDecision.interview_id", "Interview whose value stands", "取其值的访问", 0},
	}...)
}

// wordedReferrals are the fields of referrals, coupons and their graph.
func wordedReferrals() []wordedField {
	return []wordedField{
		{"ReferralRecord.referral_id", "Referral id (UUID)", "介绍编号（UUID）", 0},
		{"ReferralRecord.interview_id", "Interview that told it", "提到该介绍的访问", 0},
		{"ReferralRecord.study", "Study", "调查项目", 0},
		{"ReferralRecord.from_person_id", "Recruiter (person id)", "介绍人（人员编号）", 0},
		{"ReferralRecord.from_site_id", "Site that referred", "介绍机构（调查点）", 0},
		{"ReferralRecord.to_person_id", "Recruit (person id)", "被介绍人（人员编号）", 0},
		{"ReferralRecord.mode", "Way of referral", "介绍方式", 0},
		{"ReferralRecord.relation", "What the recruiter is to the recruit", "介绍人是被介绍人的什么人", 0},
		{"ReferralRecord.outcome", "Outcome of the referral", "介绍结果", 0},
		{"ReferralRecord.main", "The main referral", "主要介绍", 0},
		{"ReferralRecord.coupon_code", "Coupon code", "推荐券号码", quasiPerson},
		{"ReferralRecord.made_time_ms", "When it was made", "介绍时间", 0},
		{"ReferralRecord.told_by_recruit", "Told by the recruit", "由被介绍人提到", 0},
		{"CouponEvent.code", "Coupon code", "推荐券号码", quasiPerson},
		{"CouponEvent.kind", "What happened to the coupon", "推荐券事件", 0},
		{"CouponEvent.time_ms", "When", "时间", 0},
		{"CouponEvent.expires_time_ms", "End of its last day (given out only)", "有效期末（仅发出时）", 0},
		{"CouponEvent.interview_id", "Interview of who was given it, or of who handed it in", "领券人或交券人的访问", 0},
		{"CouponEvent.note", "Why it is void, what was paid", "作废原因或支付内容", 0},
		{"ReferralNode.person_id", "Person id, of several merged ones the earliest", "人员编号（合并后取最早者）", 0},
		{"ReferralNode.interview_key", "Key of the first interview", "首次访问代号", quasiPerson},
		{"ReferralNode.seed", "Seed of a referral chain", "推荐链种子", 0},
		{"ReferralNode.interviewed", "Was interviewed", "接受了访问", 0},
		{"ReferralNode.wave", "Wave: depth in the referral forest", "波次（推荐树中的深度）", 0},
		{"ReferralNode.root_id", "Root of the chain (person id)", "推荐链起点（人员编号）", 0},
		{"ReferralNode.recruits", "Direct recruits", "直接介绍的人数", 0},
		{"ReferralNode.descendants", "All who descend from this person", "全部后代人数", 0},
		{"ReferralNode.network_size", "Network size (degree)", "社会网络规模", 0},
		{"ReferralNode.site_id", "Site", "调查点", 0},
		{"ReferralNode.role", "Role in the study", "在研究中的身份", 0},
		{"ReferralNode.merged_ids", "Person ids merged into this one", "并入此人的人员编号", 0},
		{"ReferralNode.kind", "Person or site", "人员或调查点", 0},
		{"ReferralNode.status", "What is known of who was or was not interviewed", "受访情况", 0},
		{"ReferralEdge.referral_id", "Referral id (UUID)", "介绍编号（UUID）", 0},
		{"ReferralEdge.from_id", "Recruiter", "介绍人", 0},
		{"ReferralEdge.to_id", "Recruit", "被介绍人", 0},
		{"ReferralEdge.state", "What became of it in the graph", "在推荐图中的状态", 0},
		{"ReferralEdge.primary", "Counts for the recruit's wave", "用于计算被介绍人的波次", 0},
		{"ReferralEdge.mode", "Way of referral", "介绍方式", 0},
		{"ReferralEdge.relation", "What the recruiter is to the recruit", "介绍人是被介绍人的什么人", 0},
		{"ReferralEdge.made_time_ms", "When it was made", "介绍时间", 0},
	}
}

func serviceQuestion(name protoreflect.FullName) (*formv1.Question, bool) {
	if !strings.HasPrefix(string(name), servicePackage) {
		return nil, false
	}
	for _, f := range wordedFields() {
		if name == protoreflect.FullName(servicePackage+f.name) {
			return &formv1.Question{Label: text(f.en, f.zh), PersonalData: f.personal.Enum()}, true
		}
	}
	return nil, false
}

// skipped says which fields of the services are the server's own affair.
func skipped(name protoreflect.FullName) bool {
	switch name {
	case servicePackage + "PersonRecord.part", servicePackage + "ReferralRecord.part", servicePackage + "Flag.part":
		return true
	}
	return false
}

// special says which field is not taken from the message: a flag may quote an answer, so its wording is looked up in
// the questionnaire.
func special(name protoreflect.FullName) bool { return name == servicePackage+"Flag.message" }

func serviceTitle(name protoreflect.FullName) *formv1.Text {
	switch name {
	case servicePackage + "PersonRecord":
		return text("Appearance of a person in an interview", "人员在访问中的出现记录")
	case servicePackage + "ReferralRecord":
		return text("Referral as told", "所述介绍关系")
	case servicePackage + "CouponEvent":
		return text("What happened to a coupon", "推荐券事件")
	case servicePackage + "ReferralNode":
		return text("Node of the referral graph", "推荐图节点")
	case servicePackage + "ReferralEdge":
		return text("Edge of the referral graph", "推荐图连线")
	case servicePackage + "Flag":
		return text("Failed check", "未通过的检查")
	case servicePackage + "LinkDecision":
		return text("Linkage decision", "关联判定")
	}
	return text(string(name.Name()), string(name.Name()))
}

// serviceChoice words the values of the services' enums.
func serviceChoice(v protoreflect.EnumValueDescriptor) *formv1.Text {
	switch v.Name() {
	case "REVIEW_STATE_UNSPECIFIED", "EDGE_STATE_UNSPECIFIED", "LINK_SUBJECT_UNSPECIFIED", "DECISION_KIND_UNSPECIFIED", "SEVERITY_UNSPECIFIED", "COUPON_EVENT_KIND_UNSPECIFIED":
		return text("not known", "未知")
	case "REVIEW_STATE_IN_PROGRESS":
		return text("in progress", "进行中")
	case "REVIEW_STATE_COMPLETED":
		return text("completed by the enumerator", "访问员已完成")
	case "REVIEW_STATE_REJECTED_BY_SUPERVISOR":
		return text("rejected by supervisor", "督导员退回")
	case "REVIEW_STATE_APPROVED_BY_SUPERVISOR":
		return text("approved by supervisor", "督导员通过")
	case "REVIEW_STATE_REJECTED_BY_HEADQUARTERS":
		return text("rejected by headquarters", "总部退回")
	case "REVIEW_STATE_APPROVED_BY_HEADQUARTERS":
		return text("approved by headquarters", "总部通过")
	case "EDGE_STATE_RESOLVED":
		return text("both ends known", "两端已知")
	case "EDGE_STATE_UNRESOLVED":
		return text("an end has not arrived", "一端尚未到达")
	case "EDGE_STATE_SELF":
		return text("recruit is the recruiter, after merging", "合并后为同一人")
	case "EDGE_STATE_CYCLE_BROKEN":
		return text("left out, would close a circle", "会形成环，未采用")
	case "EDGE_STATE_REUSED":
		return text("coupon used before", "推荐券已被使用")
	case "EDGE_STATE_TIME_CONFLICT":
		return text("interviewed before being referred", "访问早于介绍")
	case "EDGE_STATE_NEVER_ISSUED":
		return text("coupon was never given out", "推荐券从未发出")
	case "EDGE_STATE_VOIDED":
		return text("coupon is void", "推荐券已作废")
	case "EDGE_STATE_EXPIRED":
		return text("coupon handed in after its last day", "推荐券已过期")
	case "COUPON_EVENT_KIND_ISSUED":
		return text("given out", "发出")
	case "COUPON_EVENT_KIND_REDEEMED":
		return text("handed in", "交回")
	case "COUPON_EVENT_KIND_VOIDED":
		return text("declared void", "作废")
	case "COUPON_EVENT_KIND_PAID":
		return text("paid", "已支付")
	case "LINK_SUBJECT_PERSON":
		return text("person", "人员")
	case "LINK_SUBJECT_HOUSEHOLD":
		return text("household", "住户")
	case "DECISION_KIND_LINK":
		return text("the same", "相同")
	case "DECISION_KIND_CANNOT_LINK":
		return text("not the same", "不相同")
	case "DECISION_KIND_CHOOSE":
		return text("which value stands", "取用哪个值")
	case "DECISION_KIND_UNDO":
		return text("decision taken back", "撤销判定")
	case "SEVERITY_SOFT":
		return text("unlikely", "存疑")
	case "SEVERITY_HARD":
		return text("impossible", "矛盾")
	}
	return text(string(v.Name()), string(v.Name()))
}

// extra is a column that is not an answer.
type extra struct {
	col   int
	value func(x *extractor) cell
}

// addExtras adds what the server knows beside the answers: of an interview its review, of a person the appearances.
func (b *builder) addExtras(t *Table, md protoreflect.MessageDescriptor) {
	add := func(name string, kind Kind, label *formv1.Text, values []ValueLabel, value func(x *extractor) cell) {
		c := &Column{Name: name, Kind: kind, Label: label}
		i := b.fix(t, c)
		b.setValues(c, values)
		c.enum = name
		t.extras = append(t.extras, extra{col: i, value: value})
	}
	switch {
	case md.FullName() == (*surveyv1.Interview)(nil).ProtoReflect().Descriptor().FullName():
		b.summaryColumns(add)
	case b.publishing != nil:
		if md.FullName() == b.publishing.top.FullName() {
			add("questionnaire_version", KindInteger, text("Version of the questionnaire that was answered", "所答问卷版本"), nil, func(x *extractor) cell {
				if x.version == 0 {
					return cell{}
				}
				return intCell(int64(x.version))
			})
		}
	case md.FullName() == servicePackage+"Flag":
		for _, c := range aboutColumns() {
			add(c.name, c.kind, c.label, nil, func(x *extractor) cell { return c.value(x.found) })
		}
	case t.Name == "person":
		add("appearances", KindInteger, text("Household rosters the person stands in, after linkage", "关联后此人出现在多少份住户名单中"), nil,
			func(x *extractor) cell { return x.appearances() })
		add("first_appearance", KindYesNo, text("First of these (keep these rows to have each person once)", "其中第一次（仅保留这些行则每人一行）"), yesNoLabels(),
			func(x *extractor) cell { return x.firstAppearance() })
	}
}

func (b *builder) summaryColumns(add func(string, Kind, *formv1.Text, []ValueLabel, func(x *extractor) cell)) {
	states := choices(servicev1.ReviewState(0).Descriptor())
	add("questionnaire", KindText, text("Questionnaire", "问卷"), nil, func(x *extractor) cell {
		return textCell(x.summary.GetQuestionnaire())
	})
	add("interview_day", KindDate, text("Day of the interview, in the study's time zone", "访问日期（按项目时区）"), nil, func(x *extractor) cell {
		return textCell(x.summary.GetDay())
	})
	add("review_state", KindCode, text("Review state", "审核状态"), states, func(x *extractor) cell {
		if x.summary.GetReviewState() == 0 {
			return cell{}
		}
		return intCell(int64(x.summary.GetReviewState()))
	})
	add("duration_seconds", KindInteger, text("Duration without pauses (seconds)", "访问时长（不含中断，秒）"), nil, func(x *extractor) cell {
		if x.summary == nil || x.summary.DurationSeconds == nil {
			return cell{}
		}
		return intCell(x.summary.GetDurationSeconds())
	})
	count := func(name string, label *formv1.Text, of func(s *servicev1.InterviewSummary) int64) {
		add(name, KindInteger, label, nil, func(x *extractor) cell {
			if x.summary == nil {
				return cell{}
			}
			return intCell(of(x.summary))
		})
	}
	count("revisions", text("Revisions received", "收到的修订数"), func(s *servicev1.InterviewSummary) int64 { return int64(s.GetRevisions()) })
	count("heads", text("Revisions that no other replaces; more than one is a conflict", "未被取代的修订数（大于一表示冲突）"),
		func(s *servicev1.InterviewSummary) int64 { return int64(len(s.GetHeads())) })
	count("soft_flags", text("Unlikely answers", "存疑答案数"), func(s *servicev1.InterviewSummary) int64 { return int64(s.GetSoftFlags()) })
	count("hard_flags", text("Impossible answers", "矛盾答案数"), func(s *servicev1.InterviewSummary) int64 { return int64(s.GetHardFlags()) })
	add("household_id", KindText, text("Household id (UUID)", "住户编号（UUID）"), nil, func(x *extractor) cell {
		return textCell(x.interview.GetHousehold().GetHouseholdId())
	})
}
