package export

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Privacy is how an export protects those who answered, beyond leaving out what identifies directly. In the research
// profile ids become pseudonyms, keys such as GY-19 are issued anew, sites and staff have codes of their own, places end
// at the county, dates at the month, positions and texts are left out. In the public profile no text is kept, places end
// at the prefecture and dates at the year, ages are in bands of five, the highest values are lowered until k share them,
// and no combination of what could identify may belong to fewer than k.
type Privacy struct {
	// Key makes the pseudonyms. It belongs to the study, and stays where the answers are.
	Key []byte
	// FreeText keeps, in the research profile, texts of which nobody has said whether they identify.
	FreeText bool
	// K is how many must share a combination in a public export. 0: defaultK.
	K int
	// Quasi are the variables that are kept and looked at together: "person.sex". Others that the schema marks are left
	// out then. Empty: all that are marked.
	Quasi []string
	// Suppress blanks what singles somebody out; otherwise such an export is refused.
	Suppress bool
}

// defaultK is five: at three, whoever knows one or two of a group finds the third; statistical offices and the
// publishers of survey data ask for three to ten, and five is where most of them are.
const defaultK = 5

// oldest is the age that stands for all above it in a public export, as in the public files of censuses; ages below are
// in bands of ageBand years.
const (
	oldest  = 85
	ageBand = 5
)

// treatment is what the privacy profile does with a column.
type treatment uint8

const (
	asItIs treatment = iota
	leftOut
	idPseudonym  // a UUID again
	idsPseudonym // several, with a semicolon between
	keyReissued
	siteCode
	staffCode
	unitCode
	unitCodes
	couponCode
	couponCodes
	divisionCut
	dateCut
	timeCut
	ageBanded
	topCoded
)

// privacy is the stage that carries a profile out. It is the last of all stages.
type privacy struct {
	public  bool
	opts    Privacy
	names   *pseudonyms
	rules   map[*Table][]treatment
	left    map[string]int // columns left out, by why
	gates   map[*Table]*gate
	order   []*gate
	tops    map[*Table][]*topValues
	settled bool
	pass    *extractor        // of the pass at hand
	counts  map[*Table]uint32 // rows so far in it
	scratch []cell
	notices []string

	interview *surveyv1.Interview // at hand, and whom it is of, by a number
	subject   uint32
	subjects  map[uint64]uint32 // by the hash of the id
	seed      maphash.Seed
}

func newPrivacy(j *job) (*privacy, error) {
	p := &privacy{
		public: j.opts.Profile == servicev1.PrivacyProfile_PRIVACY_PROFILE_PUBLIC, opts: *j.opts.Privacy,
		rules: map[*Table][]treatment{}, left: map[string]int{}, counts: map[*Table]uint32{}, gates: map[*Table]*gate{}, tops: map[*Table][]*topValues{},
		subjects: map[uint64]uint32{}, seed: maphash.MakeSeed(),
	}
	if len(p.opts.Key) == 0 {
		return nil, fault.New(fault.Internal, "", "an export of profile %s needs a key for its pseudonyms", ProfileName(j.opts.Profile))
	}
	if p.opts.K == 0 {
		p.opts.K = defaultK
	}
	if p.public && p.opts.K < 2 {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "k is %d: at least 2 people must share what could identify them, %d is usual", p.opts.K, defaultK)
	}
	p.names = newPseudonyms(p.opts.Key, ProfileName(j.opts.Profile))
	return p, nil
}

// layOut decides on every column.
func (p *privacy) layOut(j *job) error {
	for _, t := range j.plan.Tables {
		rules := make([]treatment, len(t.Columns))
		for i, c := range t.Columns {
			why := ""
			if rules[i], why = p.treat(c); rules[i] == leftOut && !c.hidden {
				c.hidden = true
				p.left[why]++
			}
		}
		p.rules[t] = rules
		if p.public && slices.Contains(notPublic, t.Name) {
			t.left = true
		}
	}
	if !p.public {
		return nil
	}
	if err := p.layGates(j.plan); err != nil {
		return err
	}
	for t, rules := range p.rules {
		p.tops[t] = make([]*topValues, len(rules))
		for i, r := range rules {
			if r == topCoded && !t.Columns[i].hidden && !p.gates[t].has(i) {
				p.tops[t][i] = &topValues{k: p.opts.K}
			}
		}
	}
	return nil
}

// notPublic are the tables about how the data came about, which nobody outside needs, and those that say who referred whom and
// who was present: somebody is found by the place in a network though every row looks like others. Graphs are made of them.
var notPublic = []string{"paradata", "flag", "link", "appearance", "presence", "referral", "referral_told", "coupon_event", "referral_node", "referral_edge"}

func (p *privacy) looks() bool { return p.public }

// look counts combinations and finds the highest values.
func (p *privacy) look(x *extractor, r *row) error {
	p.begin(x)
	p.counts[r.table]++
	if g := p.gates[r.table]; g != nil {
		p.scratch = append(p.scratch[:0], r.cells...)
		p.coarsen(r)
		g.meet(r, p.member(x, r.table))
		copy(r.cells, p.scratch)
	}
	for i, top := range p.tops[r.table] {
		if c := &r.cells[i]; top != nil && c.set {
			top.add(amount(r.table.Columns[i], c), p.member(x, r.table))
		}
	}
	return nil
}

// member is to whom a row belongs: the household, the school or the person that was interviewed, who are the same however often
// they are met and under which ids; outside of interviews the row is its own.
func (p *privacy) member(x *extractor, t *Table) uint32 {
	if x.interview == nil {
		return p.counts[t]
	}
	if p.interview != x.interview {
		p.interview = x.interview
		iv := x.interview
		id := x.same(cmp.Or(iv.GetHousehold().GetHouseholdId(), iv.GetSchool().GetSchoolId(), iv.GetMigration().GetPersonId(), iv.GetRespondent().GetPersonId(), iv.GetInterviewId()))
		h := maphash.String(p.seed, id)
		n, met := p.subjects[h]
		if !met {
			n = uint32(len(p.subjects))
			p.subjects[h] = n
		}
		p.subject = n
	}
	return p.subject
}

// begin counts anew in every pass.
func (p *privacy) begin(x *extractor) {
	if p.pass == x {
		return
	}
	p.pass = x
	clear(p.counts)
	for _, g := range p.order {
		clear(g.blanked)
		g.dropped, g.last = 0, ""
	}
	for _, tops := range p.tops {
		for _, top := range tops {
			if top != nil {
				top.lowered = 0
			}
		}
	}
}

// row carries the profile out on a row.
func (p *privacy) row(x *extractor, r *row) (bool, error) {
	p.begin(x)
	if p.public && !x.looking && !p.settled {
		p.settled = true
		if err := p.settle(); err != nil {
			return false, err
		}
	}
	p.coarsen(r)
	if x.looking {
		return true, nil
	}
	for i, top := range p.tops[r.table] {
		if c := &r.cells[i]; top != nil && c.set {
			top.cut(r.table.Columns[i], c)
		}
	}
	if g := p.gates[r.table]; g != nil {
		return g.pass(r), nil
	}
	return true, nil
}

// settle decides what becomes of rare combinations when all have been seen.
func (p *privacy) settle() error {
	for _, g := range p.order {
		if err := g.settle(p.opts.Suppress); err != nil {
			return err
		}
		p.notices = append(p.notices, g.notices...)
	}
	return nil
}

// coarsen does what concerns one cell at a time.
func (p *privacy) coarsen(r *row) {
	for i, rule := range p.rules[r.table] {
		c := &r.cells[i]
		if rule == asItIs || !c.set {
			continue
		}
		switch rule {
		case leftOut:
			*c = cell{}
		case idPseudonym:
			c.s = p.names.id(c.s)
		case idsPseudonym:
			c.s = p.names.each(c.s, p.names.id)
		case keyReissued:
			c.s = p.names.key(c.s)
		case siteCode:
			c.s = p.names.code("S", "site", c.s)
		case staffCode:
			c.s = p.names.code("E", "staff", c.s)
		case unitCode:
			c.s = p.names.code("U", "unit", c.s)
		case unitCodes:
			c.s = p.names.each(c.s, func(s string) string { return p.names.code("U", "unit", s) })
		case couponCode:
			c.s = p.coupon(c.s)
		case couponCodes:
			c.s = p.names.each(c.s, p.coupon)
		case divisionCut:
			c.s = c.s[:min(len(c.s), p.pick(6, 4))]
		case dateCut:
			c.s = c.s[:min(len(c.s), p.pick(len("2016-07"), len("2016")))]
		case timeCut:
			at := time.UnixMilli(c.i).UTC()
			month := at.Month()
			if p.public {
				month = time.January
			}
			c.i = time.Date(at.Year(), month, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		case ageBanded:
			c.i = min(c.i, oldest)
			c.i -= c.i % ageBand
		}
	}
}

// coupon is the pseudonym of a coupon's code, the same for all writings of a code that a tablet made: eight letters and
// digits, with a hyphen in the middle or without.
func (p *privacy) coupon(code string) string {
	written := strings.Map(func(r rune) rune {
		switch {
		case r >= 0xff01 && r <= 0xff5e: // wide
			r -= 0xfee0
		case r == 0x3000:
			return -1
		}
		if strings.ContainsRune(" \t\r\n-_.‐‑‒–—−", r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, code)
	if len(written) == 8 && !strings.ContainsFunc(written, func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') }) {
		code = written[:4] + "-" + written[4:]
	}
	return p.names.code("U", "unit", code)
}

// pick is the first for research and the second for the public.
func (p *privacy) pick(research, public int) int {
	if p.public {
		return public
	}
	return research
}

// finish tells what was done.
func (p *privacy) finish(j *job, _ map[*Table]*layout) error {
	for _, why := range slices.Sorted(maps.Keys(p.left)) {
		j.warnings = append(j.warnings, fmt.Sprintf("%d variables are left out: %s", p.left[why], why))
	}
	for _, n := range p.notices {
		j.opts.notice(n)
	}
	return nil
}

// ManifestPrivacy is how those who answered are protected.
type ManifestPrivacy struct {
	// PseudonymKey names the key of the pseudonyms; exports with the same one can be merged.
	PseudonymKey string         `json:"pseudonym_key"`
	Places       string         `json:"places"`
	Dates        string         `json:"dates"`
	FreeText     bool           `json:"free_text"`
	LeftOut      map[string]int `json:"variables_left_out,omitempty"`
	K            int            `json:"k,omitempty"`
	// QuasiIdentifiers by table; none of their combinations belongs to fewer than K.
	QuasiIdentifiers map[string][]string `json:"quasi_identifiers,omitempty"`
	// Suppressed are blanked cells by variable, and RowsLeftOut rows by table.
	Suppressed  map[string]int64 `json:"suppressed,omitempty"`
	RowsLeftOut map[string]int64 `json:"rows_left_out,omitempty"`
	// TopCodes are the values that stand for all above them.
	TopCodes map[string]float64 `json:"top_codes,omitempty"`
}

func (p *privacy) record(m *Manifest) {
	mp := &ManifestPrivacy{PseudonymKey: p.names.name, Places: "county", Dates: "month", FreeText: p.opts.FreeText && !p.public, LeftOut: p.left}
	m.Privacy = mp
	if !p.public {
		return
	}
	mp.Places, mp.Dates, mp.K = "prefecture", "year", p.opts.K
	mp.QuasiIdentifiers, mp.Suppressed, mp.RowsLeftOut, mp.TopCodes = map[string][]string{}, map[string]int64{}, map[string]int64{}, map[string]float64{}
	for _, g := range p.order {
		for n, i := range g.cols {
			name := g.table.Columns[i].Name
			mp.QuasiIdentifiers[g.table.Name] = append(mp.QuasiIdentifiers[g.table.Name], name)
			if g.blanked[n] > 0 {
				mp.Suppressed[g.table.Name+"."+name] = g.blanked[n]
			}
		}
		if g.dropped > 0 {
			mp.RowsLeftOut[g.table.Name] = g.dropped
		}
	}
	for t, tops := range p.tops {
		for i, top := range tops {
			if top != nil && top.lowered > 0 {
				mp.TopCodes[t.Name+"."+t.Columns[i].Name] = top.value()
			}
		}
	}
}

// treat decides on a column, and says why one is left out.
func (p *privacy) treat(c *Column) (treatment, string) {
	if c.Personal == formv1.PersonalData_PERSONAL_DATA_DIRECT_IDENTIFIER {
		return leftOut, "direct identifiers"
	}
	owner, name := "", c.Name
	if c.field != nil {
		owner, name = string(c.field.Parent().FullName()), string(c.field.Name())
	}
	switch {
	case owner == string(geoPointName):
		return leftOut, "positions"
	case p.public && (name == "coupon_code" || name == "coupons_given" || strings.HasSuffix(name, "_person_id") || strings.HasSuffix(name, "_person_ids")):
		return leftOut, "ties between people"
	case owner == "hearth.survey.v1.Place" && c.Kind == KindText:
		return p.treatPlace(name)
	case c.Personal == formv1.PersonalData_PERSONAL_DATA_UNSPECIFIED && !strings.HasPrefix(owner, "hearth.") && identifies(c, cmp.Or(c.formName, name)):
		return leftOut, "named like a direct identifier"
	}
	switch c.Kind {
	case KindText:
		return p.treatText(c, owner, name)
	case KindDate:
		return dateCut, ""
	case KindTime:
		return timeCut, ""
	case KindInteger, KindNumber:
		return p.treatNumber(c, name)
	}
	return asItIs, ""
}

// treatPlace ends a place at the county, or for the public at the prefecture.
func (p *privacy) treatPlace(name string) (treatment, string) {
	switch {
	case name == "division_code":
		return divisionCut, ""
	case name == "province", name == "prefecture", name == "country", name == "county" && !p.public:
		return asItIs, ""
	}
	return leftOut, "places finer than the profile has"
}

// treatNumber coarsens ages, and takes the days out of dates.
func (p *privacy) treatNumber(c *Column, name string) (treatment, string) {
	isDate := c.field != nil && c.field.Message() != nil && c.field.Message().FullName() == dateName
	switch {
	case isDate && (strings.HasSuffix(c.Name, "_day") || p.public && strings.HasSuffix(c.Name, "_month")):
		return leftOut, "days and months finer than the profile has"
	case isDate, !p.public:
		return asItIs, ""
	case c.Kind == KindInteger && (name == "age" || strings.HasSuffix(name, "_age")):
		return ageBanded, ""
	case c.Unit != "" || c.Measure == formv1.Measure_MEASURE_SCALE || c.Kind == KindNumber:
		return topCoded, ""
	}
	return asItIs, ""
}

// treatText knows the texts that are ids, codes, or words of the schema; all others are free text.
func (p *privacy) treatText(c *Column, owner, name string) (treatment, string) {
	switch {
	case c.field != nil && c.op != opScalar && c.op != opList && c.op != opSpecial && c.op != opMap && c.op != opDateTime:
		return asItIs, "" // the numbers of choices, names of choices, years
	case c.op == opDateTime:
		return leftOut, "times as they were written"
	case name == "site_id" || strings.HasSuffix(name, "_site_id"):
		return siteCode, ""
	case name == "interview_key":
		return keyReissued, ""
	case name == "enumerator", name == "supervisor", name == "decided_by":
		return staffCode, ""
	case name == "psu", name == "ssu", name == "unit_id":
		return unitCode, ""
	case name == "coupon_code", owner == servicePackage+"CouponEvent" && name == "code":
		return couponCode, ""
	case name == "coupons_given":
		return couponCodes, ""
	case strings.HasSuffix(name, "_ids"):
		return idsPseudonym, ""
	case strings.HasSuffix(name, "_id"), name == "undoes" && strings.HasPrefix(owner, servicePackage):
		return idPseudonym, ""
	case schemaWords[cmp.Or(strings.TrimPrefix(owner, "hearth."), "-")+"."+name]:
		return asItIs, ""
	case c.op == opList && c.field.Kind() != protoreflect.StringKind:
		return asItIs, "" // numbers
	case !p.public && (c.Personal == formv1.PersonalData_PERSONAL_DATA_NONE || p.opts.FreeText && c.op != opMap):
		return asItIs, ""
	}
	return leftOut, "free text"
}

// schemaWords are the texts that are words of the program or the schema, or codes of the study as a whole. Columns that
// are no field stand behind "-".
var schemaWords = map[string]bool{
	"survey.v1.Interview.study": true, "survey.v1.SampleOrigin.stratum": true, "survey.v1.SampleStage.unit": true, "survey.v1.Consent.text_version": true,
	"survey.v1.OtherAnswers.questionnaire": true, "survey.v1.Attachment.media_type": true, "survey.v1.NetworkSize.wording": true,
	"service.v1.PersonRecord.study": true, "service.v1.PersonRecord.questionnaire": true, "service.v1.ReferralRecord.study": true,
	"service.v1.ReferralNode.role": true, "service.v1.ReferralNode.kind": true, "service.v1.ReferralNode.status": true, "service.v1.ReferralEdge.mode": true,
	"service.v1.ReferralEdge.relation": true, "service.v1.Flag.path": true, "service.v1.Flag.rule": true, "service.v1.Flag.message": true,
	"service.v1.LinkDecision.study": true,
	"-.questionnaire":               true, "-.table": true, "-.variable": true, "-.question": true, "-.told_in": true,
}

// identifying are words by which a question of a published form is known to ask what identifies directly, whatever its
// type: a telephone number may be an integer, and a village a choice of a list.
var identifying = []string{
	"name", "fullname", "firstname", "lastname", "surname", "nickname", "phone", "telephone", "mobile", "tel", "cell", "cellphone", "phonenumber", "email", "e-mail", "wechat", "qq", "whatsapp",
	"address", "street", "village", "community", "gps", "latitude", "longitude", "location", "passport", "nid", "idnumber", "idcard", "national", "signature",
	"deviceid", "subscriberid", "simserial", "simid", "username", "imei", "barcode", "nombre", "apellido", "telefono", "teléfono", "direccion", "dirección", "correo", "prenom", "prénom", "adresse", "nom",
}

var identifyingHan = []string{"姓名", "名字", "电话", "手机", "微信", "地址", "住址", "门牌", "身份证", "护照", "邮箱", "村名", "小区", "经度", "纬度", "签名"}

// identifyingWords are looked for in the English wording of what is answered by a number.
var identifyingWords = []string{"phone", "mobile number", "id number", "identity", "passport", "latitude", "longitude"}

// identifies says whether the name or the wording of a question names what identifies directly.
func identifies(c *Column, name string) bool {
	for _, w := range strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return r == '_' || r == '-' || r == '.' || (r >= '0' && r <= '9') }) {
		if slices.Contains(identifying, w) {
			return true
		}
	}
	in := func(s string, words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(s, w) })
	}
	number := c.Kind == KindInteger || c.Kind == KindNumber
	return in(name+c.Label.GetZh()+c.Label.GetEn(), identifyingHan) || number && in(strings.ToLower(c.Label.GetEn()), identifyingWords)
}
