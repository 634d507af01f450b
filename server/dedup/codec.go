package dedup

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"

	"github.com/hearth-survey/hearth/proto/fault"
)

// modelVersion is the form in which models are written. Models of another form are learnt again.
const modelVersion = 2

// savedModel is a model as it is written: JSON, so that it can be looked at. Fields are in order and maps sorted, so that
// equal models are equal bytes.
type savedModel struct {
	Version int              `json:"version"`
	Options Options          `json:"options"`
	Columns []savedColumn    `json:"columns"`
	Prior   float64          `json:"prior"`
	Shift   float64          `json:"shift"`
	Sorts   []savedComponent `json:"sorts"`
	Share   float64          `json:"share"`
	Others  []savedComponent `json:"others"`
	House   *[4]float64      `json:"house"`
	Keys    []keySpec        `json:"keys"`
	Recall  float64          `json:"recall"`
}

// savedColumn is what is known of one column.
type savedColumn struct {
	Field       string           `json:"field"`
	Kind        string           `json:"kind"`
	Same        []float64        `json:"same"`
	Different   []float64        `json:"different"`
	Total       int              `json:"total"`
	Values      int              `json:"values"`
	Chance      float64          `json:"chance"`
	SoundChance float64          `json:"sound_chance"`
	Canons      map[string]int32 `json:"canons"`
	Sounds      map[string]int32 `json:"sounds"`
}

// savedComponent is one kind of non-match.
type savedComponent struct {
	Share   float64     `json:"share"`
	P       [][]float64 `json:"p"`
	Blocked []int       `json:"blocked"`
}

// MarshalBinary writes a model of people so that UnmarshalModel gives one that scores to the bit as this one does. Equal models are
// equal bytes. What households had in common in the search is not part of it: Score asks for that.
func (m *Model) MarshalBinary() ([]byte, error) {
	s := savedModel{Version: modelVersion, Options: m.opts, Prior: m.prior, Shift: m.shift, Share: m.share, Keys: m.keys, Recall: m.recall}
	for k, c := range m.columns {
		canons, sounds := c.counted()
		s.Columns = append(s.Columns, savedColumn{
			c.field, kindName(c.kind), m.m[k], m.u[k], c.total, c.values, c.chance, c.soundChance, canons, sounds,
		})
	}
	for _, c := range m.others {
		s.Others = append(s.Others, savedComponent{c.share, c.p, c.blocked})
	}
	for _, q := range m.qualities {
		s.Sorts = append(s.Sorts, savedComponent{Share: q.share, P: q.m})
	}
	if m.house.on {
		s.House = &m.house.bits
	}
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fault.New(fault.Internal, fault.ModelUnreadable, "the model of the linkage could not be written: %w", err)
	}
	return data, nil
}

// UnmarshalModel reads a model of people. A model that this version of the engine would not have written is refused; the
// answer is to learn it again.
func UnmarshalModel(data []byte) (*Model, error) {
	refuse := func(why string, err error) (*Model, error) {
		return nil, fault.New(fault.Invalid, fault.ModelUnreadable, "the model of the linkage cannot be used, learn it again: %s %w", why, err)
	}
	var s savedModel
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return refuse("it is not well-formed:", err)
	}
	if s.Version != modelVersion {
		return refuse("it is of another version", nil)
	}
	if why := s.wrong(); why != "" {
		return refuse(why, nil)
	}
	m := &Model{opts: s.Options.withDefaults(), prior: s.Prior, shift: s.Shift, share: s.Share, keys: s.Keys, recall: s.Recall}
	for _, c := range s.Columns {
		k := kindOf(c.Kind)
		m.m, m.u = append(m.m, c.Same), append(m.u, c.Different)
		m.columns = append(m.columns, &terms{
			field: c.Field, kind: k, scale: scaleOf(k), total: c.Total, values: c.Values, chance: c.Chance, soundChance: c.SoundChance,
			held: func() (canons, sounds map[string]int32) { return c.Canons, c.Sounds },
		})
	}
	for _, c := range s.Others {
		m.others = append(m.others, component{c.Share, c.P, c.Blocked})
	}
	for _, q := range s.Sorts {
		m.qualities = append(m.qualities, quality{q.Share, q.P})
	}
	if s.House != nil {
		m.house = houseModel{on: true, bits: *s.House}
	}
	m.fast = newScorer(m)
	return m, nil
}

// wrong says what of a model does not fit together; "" is nothing.
func (s *savedModel) wrong() string {
	if len(s.Columns) != len(personFields) {
		return "it has other columns than people have"
	}
	fits := func(p [][]float64) bool {
		if len(p) != len(s.Columns) {
			return false
		}
		for k, field := range personFields {
			if len(p[k]) != len(scaleOf(field.kind)) {
				return false
			}
			for _, x := range p[k] {
				if !(x >= 0 && x <= 1) {
					return false
				}
			}
		}
		return true
	}
	var same, different [][]float64
	for k, c := range s.Columns {
		if c.Field != personFields[k].name || c.Kind != kindName(personFields[k].kind) {
			return "it has other columns than people have"
		}
		if c.Total < 0 || c.Values < 0 || !(c.Chance > 0 && c.Chance <= 1) || !(c.SoundChance > 0 && c.SoundChance <= 1) || !positive(c.Canons) || !positive(c.Sounds) {
			return "a count of values makes no sense"
		}
		same, different = append(same, c.Same), append(different, c.Different)
	}
	ok := fits(same) && fits(different) && math.Abs(s.Prior) < 1e3 && math.Abs(s.Shift) < 1e3 && (len(s.Others) == 0 || s.Share > 0 && s.Share < 1) && len(s.Others) <= mostKinds && (len(s.Sorts) == 0 || len(s.Sorts) == 2)
	for _, c := range append(slices.Clone(s.Others), s.Sorts...) {
		ok = ok && fits(c.P) && c.Share > 0 && c.Share <= 1
	}
	if s.House != nil {
		for _, b := range s.House {
			ok = ok && math.Abs(b) < 1e3
		}
	}
	if !ok {
		return "a probability makes no sense"
	}
	for _, spec := range s.Keys {
		if len(spec) == 0 || len(spec) > 3 {
			return "a blocking key makes no sense"
		}
		for _, p := range spec {
			if p.Column < 0 || p.Column >= len(s.Columns) || p.Transform < 0 || p.Transform >= len(transformsOf(personFields[p.Column].kind)) {
				return "a blocking key makes no sense"
			}
		}
	}
	return ""
}

// positive says whether all counts are.
func positive(counts map[string]int32) bool {
	for _, n := range counts {
		if n < 1 {
			return false
		}
	}
	return true
}

// kindOf is the kind of a name; kinds if there is none.
func kindOf(name string) kind {
	for k := range kinds {
		if kindName(k) == name {
			return k
		}
	}
	return kinds
}
