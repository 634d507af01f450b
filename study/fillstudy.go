package study

import (
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// FilledStudy is the definition of the study that interviews filled with the same options belong to.
func FilledStudy(opts FillOptions) *surveyv1.Study {
	opts.fill()
	title := opts.Questionnaire.Title()
	en, zh := title.GetEn(), title.GetZh()
	if en == "" {
		en = opts.Questionnaire.Name()
	}
	s := &surveyv1.Study{
		Study: proto.String(opts.Study), TitleEn: proto.String("Made up answers: " + en), TitleZh: proto.String("模拟答案：" + zh),
		Note:   proto.String("Simulated: nobody in these data exists. 模拟数据，其中人物均不存在。"),
		Rounds: []*surveyv1.Round{{Round: proto.Uint32(1), Name: proto.String("1"), StartTime: timestamppb.New(opts.Start)}},
	}
	for t := range opts.Tablets {
		s.Enumerators = append(s.Enumerators, &surveyv1.Enumerator{Enumerator: proto.String(enumeratorCode(t)), Name: proto.String(enumeratorCode(t))})
	}
	return s
}
