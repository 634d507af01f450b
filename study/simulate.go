package study

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// SimulateOptions say how large a study is to be made and from which seed.
type SimulateOptions struct {
	// Households is how many different households there are. Interviews are a few more: some households and people are
	// met twice.
	Households int
	// Tablets is how many devices, with one enumerator each, conduct the interviews. It changes who meets whom and when,
	// never the people.
	Tablets int
	// Seed decides everything that is left to chance: the same seed makes the same bytes.
	Seed uint64
	// Start is the first day of fieldwork; unset, 1 July 2015. Fieldwork takes at most four months and should stay within
	// the year.
	Start time.Time
	// DuplicateRate is the share of households that are met again, whole or one person of it, by another tablet and
	// with errors. 0 means 3 %; less than 0 means none.
	DuplicateRate float64
	// Study is the code of the study; unset, "simulated".
	Study string
}

// fill puts the defaults where nothing is said.
func (o SimulateOptions) fill() (SimulateOptions, error) {
	if o.Households < 1 || o.Households > 20_000_000 {
		return o, fault.New(fault.Invalid, fault.BadRequest, "cannot simulate %d households: ask for 1 to 20,000,000", o.Households)
	}
	if o.Tablets == 0 {
		o.Tablets = 1
	}
	if o.Tablets < 1 || o.Tablets > 10_000 {
		return o, fault.New(fault.Invalid, fault.BadRequest, "cannot simulate %d tablets: ask for 1 to 10,000", o.Tablets)
	}
	if math.IsNaN(o.DuplicateRate) || o.DuplicateRate > 0.5 {
		return o, fault.New(fault.Invalid, fault.BadRequest, "cannot simulate that many duplicates: the rate is at most 0.5")
	}
	if o.DuplicateRate == 0 {
		o.DuplicateRate = 0.03
	}
	o.DuplicateRate = max(0, o.DuplicateRate)
	if o.Start.IsZero() {
		o.Start = time.Date(2015, 7, 1, 0, 0, 0, 0, chinaTime)
	}
	o.Start = o.Start.In(chinaTime)
	if o.Study == "" {
		o.Study = "simulated"
	}
	return o, nil
}

// chinaTime is the one time zone of China.
var chinaTime = time.FixedZone("CST", 8*3600)

// Simulate makes a study of households that follow the margins of the published survey, and hands each interview to
// sink with the number of the tablet that conducted it, counted from 0, in the order of time. The message belongs to
// the sink. What is true about the study, who was met twice and who referred whom, comes back as Truth; it keeps about
// 20 bytes per household. An error of the sink ends the simulation and is returned.
func Simulate(opts SimulateOptions, sink func(tablet int, iv *surveyv1.Interview) error) (*Truth, error) {
	opts, err := opts.fill()
	if err != nil {
		return nil, err
	}
	s := newSimulation(opts)
	s.plantForest()
	var h draft
	var waiting []meeting
	for i := range opts.Households {
		s.household(i, &h)
		s.truth.sizes[i] = uint8(h.n)
		if err := sink(s.tablet(i), s.interview(i, &h)); err != nil {
			return nil, fmt.Errorf("simulate: hand on interview %d: %w", i, err)
		}
		if m, ok := s.meetAgain(i); ok {
			waiting = append(waiting, m)
		}
		if i+1 < opts.Households && (i+1)/s.width == i/s.width {
			continue
		}
		if err := s.meet(waiting, &h, sink); err != nil {
			return nil, err
		}
		waiting = waiting[:0]
	}
	return s.truth, nil
}

// meet holds the second interviews that fall into one time: after the first ones, and those of one tablet one after the
// other.
func (s *simulation) meet(waiting []meeting, h *draft, sink func(tablet int, iv *surveyv1.Interview) error) error {
	load, done := map[int]int{}, map[int]int{}
	for _, m := range waiting {
		load[m.tablet]++
	}
	for _, m := range waiting {
		s.household(m.first, h)
		m = s.distort(m, h)
		s.truth.again = append(s.truth.again, m)
		space := time.Duration(s.space) * time.Minute
		start := s.at(m.after).Add(space*3/5 + space*2/5*time.Duration(done[m.tablet])/time.Duration(load[m.tablet]))
		done[m.tablet]++
		if err := sink(m.tablet, s.secondInterview(m, h, start, max(1, s.space/3/load[m.tablet]))); err != nil {
			return fmt.Errorf("simulate: hand on a second interview after %d: %w", m.after, err)
		}
	}
	return nil
}

// SimulatedStudy returns the study that Simulate with the same options makes interviews of.
func SimulatedStudy(opts SimulateOptions) *surveyv1.Study {
	o, err := opts.fill()
	if err != nil {
		return &surveyv1.Study{}
	}
	s := newSimulation(o)
	days := (s.slots(o.Households) + s.perDay - 1) / s.perDay
	out := &surveyv1.Study{
		Study: proto.String(o.Study), TitleEn: proto.String("Simulated study of rural migrant households"),
		TitleZh:    proto.String("乡城流动家庭模拟调查"),
		SurveyCity: place("520100"),
		Note: proto.String("Simulated: nobody in these data exists. The households follow the margins of a published survey of rural " +
			"migrants. 模拟数据，其中人物均不存在；家庭特征依照已发表调查的边际分布生成。"),
		Rounds: []*surveyv1.Round{{
			Round: proto.Uint32(1), Name: proto.String("1"),
			StartTime: timestamppb.New(o.Start), EndTime: timestamppb.New(o.Start.AddDate(0, 0, days)),
		}},
		Targets: []*surveyv1.Target{{
			Questionnaire: proto.String("hearth.survey.v1.Household"), Round: proto.Uint32(1), Interviews: proto.Int64(int64(o.Households)),
		}},
	}
	for k := range s.sites {
		d := surveyDistricts[k%len(surveyDistricts)]
		out.Sites = append(out.Sites, &surveyv1.Site{
			SiteId: proto.String(siteID(k)), Name: proto.String(siteName(k)), Kind: surveyv1.SiteKind_SITE_KIND_COMMUNITY.Enum(),
			Place: place(d),
		})
	}
	for t := range o.Tablets {
		r := rand.New(rand.NewPCG(o.Seed^streamEnumerator, uint64(t)))
		family, given := s.names.surname(r), s.names.given(r, t%2 == 0, "")
		out.Enumerators = append(out.Enumerators, &surveyv1.Enumerator{
			Enumerator: proto.String(enumeratorCode(t)), Name: proto.String(family + given),
		})
	}
	return out
}

// Streams of chance: each question of the simulation has its own, so that a change in one leaves the others alone.
const (
	streamHousehold  = 0x9e3779b97f4a7c15
	streamPeople     = 0xbf58476d1ce4e5b9
	streamForest     = 0x94d049bb133111eb
	streamAgain      = 0xd6e8feb86659fd93
	streamDistort    = 0xa0761d6478bd642f
	streamInterview  = 0xe7037ed1a0b428db
	streamEnumerator = 0x8ebc6af09c88c6e3
)

// simulation is one run.
type simulation struct {
	SimulateOptions
	truth  *Truth
	names  *nameTable
	shift  [variables]float64
	sites  int
	gap    int // households between a recruiter and whom he recruits, and between two meetings of a household
	width  int // interviews at the same time
	perDay int // interviews of one tablet on one day
	space  int // minutes from one to the next

	firstRecruit, nextRecruit []int32 // the recruits of a household as a list
}

func newSimulation(o SimulateOptions) *simulation {
	n := o.Households
	s := &simulation{SimulateOptions: o, sites: min(400, max(8, n/100)), gap: min(256, max(8, n/16)), names: readTables()}
	s.width = min(o.Tablets, s.gap)
	s.perDay = max(8, (s.slots(n)+119)/120)
	s.space = max(1, 600/s.perDay)
	r := rand.New(rand.NewPCG(o.Seed, streamHousehold))
	for v := range s.shift {
		s.shift[v] = r.Float64()
	}
	s.truth = &Truth{seed: o.Seed, sizes: make([]uint8, n), recruiter: make([]int32, n), wave: make([]uint16, n), mode: make([]uint8, n)}
	return s
}

// slots is how many times one after the other the field team as a whole interviews.
func (s *simulation) slots(n int) int {
	w := max(1, s.width)
	return (n + w - 1) / w
}

func (s *simulation) tablet(i int) int { return i % s.Tablets }

// at is when the i-th household is interviewed: later ones never earlier, and those more than the gap apart strictly
// one after the other.
func (s *simulation) at(i int) time.Time {
	slot := i / s.width
	return s.Start.AddDate(0, 0, slot/s.perDay).Add(time.Duration(8*60+30+slot%s.perDay*s.space) * time.Minute)
}

// meeting is a second interview of a household or of one of its people.
type meeting struct {
	first  int // the household met before
	after  int // the household after which it is met again
	tablet int
	slot   int8   // the person met again alone, or -1: the whole household
	kept   uint16 // the slots of those who were listed again
}

// meetAgain says whether somebody is met again after the i-th interview, and who.
func (s *simulation) meetAgain(i int) (meeting, bool) {
	r := rand.New(rand.NewPCG(s.Seed^streamAgain, uint64(i)))
	u, lag, other, alone := r.Float64(), r.IntN(4000), r.Uint64(), r.Float64()
	if u >= s.DuplicateRate || i < s.gap {
		return meeting{}, false
	}
	m := meeting{first: i - s.gap - lag%(i-s.gap+1), after: i, slot: -1}
	m.tablet = s.tablet(m.first)
	if s.Tablets > 1 {
		m.tablet = (m.tablet + 1 + int(other%uint64(s.Tablets-1))) % s.Tablets
	}
	if alone < 0.4 {
		m.slot = 0
	}
	return m, true
}

func siteID(k int) string { return fmt.Sprintf("community-%03d", k+1) }

func siteName(k int) string {
	return fmt.Sprintf("%s第%d社区", countyNames[surveyDistricts[k%len(surveyDistricts)]].county, k/len(surveyDistricts)+1)
}

func enumeratorCode(t int) string { return fmt.Sprintf("E%03d", t+1) }
