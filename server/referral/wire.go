package referral

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
)

// AddInterview takes in one interview from the bytes of its hearth.service.v1.InterviewProjection, without making messages
// of it: of a million interviews that takes most of the time. Where it is lean, what is listed leaves out that of which
// interview it is, which then is as the summary says.
func (in *Intake) AddInterview(body []byte, lean bool) error {
	var s summary
	err := eachField(body, func(f *field) error {
		if f.number == 1 {
			return readSummary(f.data, &s)
		}
		return nil
	})
	if err == nil {
		in.g.addSummary(&s)
		err = eachField(body, func(f *field) error {
			switch f.number {
			case 2:
				return in.readPerson(f.data, &s, lean)
			case 4:
				return in.readReferral(f.data, &s, lean)
			case 5:
				return in.readRecruitment(f.data, &s, lean)
			}
			return nil
		})
	}
	if err != nil {
		return fault.New(fault.Invalid, fault.BadRequest, "an interview's projection cannot be read: %w", err)
	}
	return nil
}

// field is one field of a message: its number, and what it holds.
type field struct {
	number protowire.Number
	value  uint64
	data   []byte
}

// eachField reads the fields of a message.
func eachField(b []byte, read func(*field) error) error {
	var f field
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		f.number, f.value, f.data = number, 0, nil
		switch kind {
		case protowire.VarintType:
			f.value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			f.data, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		if err := read(&f); err != nil {
			return err
		}
	}
	return nil
}

// milliseconds reads a time; not positive means that it is not known.
func (f *field) milliseconds() int64 {
	if ms := int64(f.value); ms > 0 {
		return ms
	}
	return never
}

func (f *field) flag() *bool {
	v := f.value != 0
	return &v
}

func readSummary(b []byte, s *summary) error {
	s.start = never
	return eachField(b, func(f *field) error {
		switch f.number {
		case 1:
			s.id = f.data
		case 2:
			s.key = f.data
		case 9:
			s.site = f.data
		case 11:
			s.result = surveyv1.ResultCode(int32(f.value))
		case 13:
			s.group = surveyv1.InterviewKind(int32(f.value)) == surveyv1.InterviewKind_INTERVIEW_KIND_GROUP
		case 16:
			s.start = f.milliseconds()
		case 18:
			s.respondent = f.data
		case 23:
			s.introduced = surveyv1.YesNo(int32(f.value)) == surveyv1.YesNo_YES_NO_YES
		}
		return nil
	})
}

func (in *Intake) readPerson(b []byte, s *summary, lean bool) error {
	p := met{time: never}
	in.person.said = answers{}
	if lean {
		p.interview, p.key, p.site, p.time = s.id, s.key, s.site, s.start
	}
	err := eachField(b, func(f *field) error {
		switch f.number {
		case 1:
			p.person = f.data
		case 2:
			p.interview = f.data
		case 3:
			p.key = f.data
		case 9:
			p.role = surveyv1.PersonRole(int32(f.value))
		case 10:
			p.presence = surveyv1.PresenceRole(int32(f.value))
		case 18:
			p.site = f.data
		case 20:
			p.time = f.milliseconds()
		case 22:
			p.interviewed = f.flag()
		default:
			if in.asked != nil {
				return in.person.read(f)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	raw := in.g.addPerson(&p)
	for _, a := range in.asked {
		a.hear(raw, in.person.of(&p))
	}
	return nil
}

// person is what variables need of a person, in a message that is used again and again.
type person struct {
	said    answers
	born    surveyv1.PartialDate
	message servicev1.PersonRecord
	time    int64
	role    surveyv1.PersonRole
	site    string
}

type answers struct {
	age, year int32
	aged      bool
	sex       surveyv1.Sex
	education surveyv1.EducationLevel
	hukou     surveyv1.HukouType
}

func (p *person) read(f *field) error {
	switch f.number {
	case 12:
		p.said.sex = surveyv1.Sex(int32(f.value))
	case 13:
		return eachField(f.data, func(f *field) error {
			if f.number == 1 {
				p.said.year = int32(f.value)
			}
			return nil
		})
	case 14:
		p.said.age, p.said.aged = int32(f.value), true
	case 15:
		p.said.education = surveyv1.EducationLevel(int32(f.value))
	case 16:
		p.said.hukou = surveyv1.HukouType(int32(f.value))
	}
	return nil
}

// of is the message of the person read last.
func (p *person) of(m *met) *servicev1.PersonRecord {
	if p.site != string(m.site) {
		p.site = string(m.site)
	}
	p.time, p.role = m.time, m.role
	r := &p.message
	r.Sex, r.Education, r.HukouType, r.Role, r.SiteId = &p.said.sex, &p.said.education, &p.said.hukou, &p.role, &p.site
	r.BirthDate, p.born.Year = &p.born, &p.said.year
	r.Age, r.InterviewTimeMs = nil, nil
	if p.said.aged {
		r.Age = &p.said.age
	}
	if p.time != never {
		r.InterviewTimeMs = &p.time
	}
	return r
}

func (in *Intake) readReferral(b []byte, s *summary, lean bool) error {
	r := toldReferral{made: never}
	if lean {
		r.interview = s.id
	}
	err := eachField(b, func(f *field) error {
		switch f.number {
		case 1:
			r.id = f.data
		case 2:
			r.interview = f.data
		case 5:
			r.from = f.data
		case 6:
			r.site = f.data
		case 7:
			r.to = f.data
		case 8:
			r.mode = surveyv1.ReferralMode(int32(f.value))
		case 9:
			r.relation = surveyv1.ReferralRelation(int32(f.value))
		case 11:
			r.main = f.value != 0
		case 12:
			r.coupon = f.data
		case 13:
			r.made = f.milliseconds()
		case 14:
			r.byRecruit = f.flag()
		}
		return nil
	})
	if err == nil {
		in.g.addReferral(&r)
	}
	return err
}

func (in *Intake) readRecruitment(b []byte, s *summary, lean bool) error {
	r := reached{coupons: in.given[:0]}
	if lean {
		r.interview = s.id
	}
	err := eachField(b, func(f *field) error {
		switch f.number {
		case 1:
			r.interview = f.data
		case 4:
			r.person = f.data
		case 5:
			r.mode = surveyv1.RecruitmentMode(int32(f.value))
		case 6:
			r.seed = f.flag()
		case 7:
			r.coupons = append(r.coupons, f.data)
		case 8:
			size := int32(f.value)
			r.size = &size
		case 12:
			r.site = f.data
		}
		return nil
	})
	if err == nil {
		in.g.addRecruitment(&r)
	}
	in.given = r.coupons
	return err
}
