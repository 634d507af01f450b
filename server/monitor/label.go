package monitor

import (
	"cmp"
	"strconv"
	"strings"

	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// label is a wording in both languages.
type label struct{ en, zh string }

var noKey = label{"(none)", "（无）"}

// dimensionTitle is the header of a dimension's column.
func dimensionTitle(d servicev1.Dimension) label {
	switch d {
	case servicev1.Dimension_DIMENSION_QUESTIONNAIRE:
		return label{"Questionnaire", "问卷"}
	case servicev1.Dimension_DIMENSION_ENUMERATOR:
		return label{"Enumerator", "访问员"}
	case servicev1.Dimension_DIMENSION_SITE:
		return label{"Site", "调查点"}
	case servicev1.Dimension_DIMENSION_DAY:
		return label{"Day", "日期"}
	case servicev1.Dimension_DIMENSION_RESULT:
		return label{"Result", "访问结果"}
	case servicev1.Dimension_DIMENSION_ROUND:
		return label{"Round", "轮次"}
	case servicev1.Dimension_DIMENSION_REVIEW_STATE:
		return label{"Review state", "审核状态"}
	default:
		return label{"?", "?"}
	}
}

// reviewLabel words a review state.
func reviewLabel(s servicev1.ReviewState) (label, bool) {
	switch s {
	case servicev1.ReviewState_REVIEW_STATE_UNSPECIFIED:
		return label{"not known", "未知"}, true
	case servicev1.ReviewState_REVIEW_STATE_IN_PROGRESS:
		return label{"in progress", "进行中"}, true
	case servicev1.ReviewState_REVIEW_STATE_COMPLETED:
		return label{"completed by the enumerator", "访问员已完成"}, true
	case servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_SUPERVISOR:
		return label{"rejected by supervisor", "督导员退回"}, true
	case servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_SUPERVISOR:
		return label{"approved by supervisor", "督导员通过"}, true
	case servicev1.ReviewState_REVIEW_STATE_REJECTED_BY_HEADQUARTERS:
		return label{"rejected by headquarters", "总部退回"}, true
	case servicev1.ReviewState_REVIEW_STATE_APPROVED_BY_HEADQUARTERS:
		return label{"approved by headquarters", "总部通过"}, true
	default:
		return label{}, false
	}
}

// names words the keys of a study's tables, each key once.
type names struct {
	sites, enumerators, rounds, questionnaires map[string]label
}

func newNames(study *surveyv1.Study) *names {
	n := &names{
		sites: map[string]label{}, enumerators: map[string]label{}, rounds: map[string]label{},
		questionnaires: map[string]label{},
	}
	for _, s := range study.GetSites() {
		n.sites[s.GetSiteId()] = label{cmp.Or(s.GetNameEn(), s.GetName()), cmp.Or(s.GetName(), s.GetNameEn())}
	}
	for _, e := range study.GetEnumerators() {
		both := strings.TrimSpace(e.GetEnumerator() + " " + e.GetName()) // the code tells two of one name apart
		n.enumerators[e.GetEnumerator()] = label{both, both}
	}
	for _, r := range study.GetRounds() {
		n.rounds[strconv.FormatUint(uint64(r.GetRound()), 10)] = label{r.GetName(), r.GetName()}
	}
	return n
}

// label words a key; a key without wording is its own label.
func (n *names) label(d servicev1.Dimension, key string) label {
	if key == "" {
		return noKey
	}
	var l label
	switch d {
	case servicev1.Dimension_DIMENSION_SITE:
		l = n.sites[key]
	case servicev1.Dimension_DIMENSION_ENUMERATOR:
		l = n.enumerators[key]
	case servicev1.Dimension_DIMENSION_ROUND:
		l = n.rounds[key]
	case servicev1.Dimension_DIMENSION_QUESTIONNAIRE:
		var ok bool
		if l, ok = n.questionnaires[key]; !ok {
			l = questionnaireLabel(key)
			n.questionnaires[key] = l
		}
	case servicev1.Dimension_DIMENSION_RESULT:
		l = resultLabel(key)
	case servicev1.Dimension_DIMENSION_REVIEW_STATE:
		if v, ok := servicev1.ReviewState_value[key]; ok {
			l, _ = reviewLabel(servicev1.ReviewState(v))
		}
	}
	return l.or(key)
}

// or fills what is not worded.
func (l label) or(key string) label {
	if l.en == "" {
		l.en = l.zh
	}
	if l.en == "" {
		l.en = key
	}
	if l.zh == "" {
		l.zh = l.en
	}
	return l
}

// questionnaireLabel is the title of the questionnaire's top message; of one that is not built in, the last part of its
// name.
func questionnaireLabel(name string) label {
	short := name[strings.LastIndexByte(name, '.')+1:]
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return label{short, short}
	}
	m, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return label{short, short}
	}
	mod := formv1.ModuleOf(m.Options())
	return label{mod.GetTitle().GetEn(), mod.GetTitle().GetZh()}.or(short)
}

func resultLabel(key string) label {
	v := surveyv1.ResultCode(0).Descriptor().Values().ByName(protoreflect.Name(key))
	if v == nil {
		return label{}
	}
	c := formv1.ChoiceOf(v.Options())
	return label{c.GetLabel().GetEn(), c.GetLabel().GetZh()}
}
