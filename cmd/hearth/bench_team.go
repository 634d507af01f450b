package main

import (
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"encoding/xml"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/study"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// benchTeam is a field team whose batches are ready to send.
type benchTeam struct {
	tablets []*benchTablet
	rows    []rawRow // the records in the order in which they come, for the bare write
	records int
	bytes   int
	sample  []*surveyv1.Interview
}

// rawRow is a record as the bare write keeps it.
type rawRow struct {
	lane, id, digest, body []byte
	seq                    int64
}

type benchTablet struct {
	key     ed25519.PrivateKey
	lane    syncer.LaneID
	hello   *servicev1.HelloRequest
	batches []*servicev1.Batch
	raws    [][][]byte // of each batch
	digests [][]syncer.Digest
}

// newBenchTeam makes households by simulation, repeats them under new ids up to n, and packs them into batches.
func newBenchTeam(n, tablets, batch int) (*benchTeam, error) {
	team := &benchTeam{}
	var pool []*surveyv1.Interview
	_, err := study.Simulate(study.SimulateOptions{Households: min(n, 4000), Tablets: 1, Seed: 7}, func(_ int, iv *surveyv1.Interview) error {
		pool = append(pool, iv)
		return nil
	})
	if err != nil {
		return nil, err
	}
	team.sample = pool[:min(len(pool), 500)]
	fingerprint, err := fingerprints()
	if err != nil {
		return nil, err
	}
	per := n / tablets / batch * batch
	for t := range tablets {
		tab, err := newBenchTablet(t)
		if err != nil {
			return nil, err
		}
		var head syncer.Head
		for first := 0; first < per; first += batch {
			digests, raws := make([]syncer.Digest, batch), make([][]byte, batch)
			for i := range batch {
				iv := pool[(t*per+first+i)%len(pool)]
				if raws[i], digests[i], err = sealInterview(renamed(iv), tab, fingerprint); err != nil {
					return nil, err
				}
				team.bytes += len(raws[i])
			}
			tab.batches = append(tab.batches, syncer.NewBatch(tab.key, tab.lane, head.Seq+1, head.Chain, digests, raws, true))
			tab.raws, tab.digests = append(tab.raws, raws), append(tab.digests, digests)
			head = syncer.Run{First: head.Seq + 1, Prev: head.Chain, Digests: digests}.Head(tab.lane)
		}
		team.tablets = append(team.tablets, tab)
	}
	return team, team.lineUp()
}

// lineUp puts the records into the order in which a server gets them: a batch of every tablet in turn.
func (t *benchTeam) lineUp() error {
	for k := range t.tablets[0].batches {
		for _, tab := range t.tablets {
			b := tab.batches[k]
			raws, digests := tab.raws[k], tab.digests[k]
			for i := range raws {
				rec, err := syncer.Open(raws[i])
				if err != nil {
					return err
				}
				t.rows = append(t.rows, rawRow{
					lane: b.GetLane().GetDevice(), seq: int64(k*len(raws) + i + 1), id: rec.GetId(), digest: digests[i][:], body: raws[i],
				})
			}
		}
	}
	t.records = len(t.rows)
	return nil
}

func newBenchTablet(n int) (*benchTablet, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	tab := &benchTablet{key: key, lane: syncer.LaneID{Device: syncer.ID(uuid.New()), Epoch: syncer.ID(uuid.New())}}
	tab.hello = &servicev1.HelloRequest{
		Protocol: proto.Uint32(syncer.Protocol), Device: tab.lane.Device[:], DeviceName: proto.String(fmt.Sprintf("bench-%02d", n)),
		Enumerator: proto.String(fmt.Sprintf("B%02d", n)), PublicKey: key.Public().(ed25519.PublicKey), WallTimeMs: proto.Int64(time.Now().UnixMilli()),
	}
	return tab, nil
}

// renamed is the interview under new ids, as another household would have.
func renamed(iv *surveyv1.Interview) *surveyv1.Interview {
	c := proto.CloneOf(iv)
	c.InterviewId = proto.String(uuid.NewString())
	c.GetHousehold().HouseholdId = proto.String(uuid.NewString())
	for _, m := range c.GetHousehold().GetMembers() {
		id := uuid.NewString()
		if m.GetPersonId() == c.GetRespondent().GetPersonId() {
			c.Respondent.PersonId = &id
		}
		m.PersonId = &id
	}
	return c
}

func sealInterview(iv *surveyv1.Interview, tab *benchTablet, fingerprint func(string, uint32) []byte) ([]byte, syncer.Digest, error) {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(iv)
	if err != nil {
		return nil, syncer.Digest{}, err
	}
	return sealPayload(iv, iv.GetInterviewId(), payload, tab, fingerprint)
}

// sealPayload makes the record of an interview that stands in payload under the id subject.
func sealPayload(iv *surveyv1.Interview, subject string, payload []byte, tab *benchTablet, fingerprint func(string, uint32) []byte) ([]byte, syncer.Digest, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, syncer.Digest{}, err
	}
	name := "hearth.survey.v1.Household"
	return syncer.Seal(&servicev1.Record{
		Id: id[:], Kind: servicev1.RecordKind_RECORD_KIND_INTERVIEW.Enum(), Subject: &subject, Study: iv.Study, Round: iv.Round,
		Part: proto.Uint64(syncer.Part(iv.GetStudy(), iv.GetSiteId())), Author: iv.Enumerator, Device: tab.lane.Device[:],
		Questionnaire: &name, QuestionnaireVersion: iv.QuestionnaireVersion, SchemaFingerprint: fingerprint(name, iv.GetQuestionnaireVersion()),
		WallTimeMs: proto.Int64(time.Now().UnixMilli()), Payload: payload,
	})
}

// wireSize is how many bytes an interview takes on the wire in one way of sending.
type wireSize struct {
	How      string `json:"how"`
	Alone    int    `json:"alone"`
	Batch20  int    `json:"batch_of_20"`
	Batch100 int    `json:"batch_of_100"`
}

// wireSizes measures the same interviews as a Hearth batch (records with digests, chained and signed, zstd), and as
// gzip'd JSON and XML of the answers alone.
func wireSizes(ivs []*surveyv1.Interview) ([]wireSize, error) {
	fingerprint, err := fingerprints()
	if err != nil {
		return nil, err
	}
	tab, err := newBenchTablet(0)
	if err != nil {
		return nil, err
	}
	packed := func(dictionaries []uint32) func([]*surveyv1.Interview) (int, error) {
		return func(group []*surveyv1.Interview) (int, error) {
			digests, raws := make([]syncer.Digest, len(group)), make([][]byte, len(group))
			for i, iv := range group {
				if raws[i], digests[i], err = sealInterview(iv, tab, fingerprint); err != nil {
					return 0, err
				}
			}
			return proto.Size(syncer.PackBatch(tab.key, tab.lane, 7, syncer.Chain{}, digests, raws, syncer.PackOptions{Dictionaries: dictionaries, KnownHead: true})), nil
		}
	}
	hearth := func(compress bool) func([]*surveyv1.Interview) (int, error) {
		return func(group []*surveyv1.Interview) (int, error) {
			digests, raws := make([]syncer.Digest, len(group)), make([][]byte, len(group))
			for i, iv := range group {
				if raws[i], digests[i], err = sealInterview(iv, tab, fingerprint); err != nil {
					return 0, err
				}
			}
			return proto.Size(syncer.NewBatch(tab.key, tab.lane, 1, syncer.Chain{}, digests, raws, compress)), nil
		}
	}
	ways := []struct {
		how  string
		size func([]*surveyv1.Interview) (int, error)
	}{
		{"Hearth batch, packed, with the dictionary", packed(syncer.Dictionaries())},
		{"Hearth batch, packed, without dictionary", packed(nil)},
		{"Hearth batch (zstd, digests, signature)", hearth(true)},
		{"Hearth batch, not compressed", hearth(false)},
		{"gzip of JSON", gzipped(jsonOf)},
		{"gzip of XML, as an XForm instance", gzipped(xmlOf)},
	}
	var out []wireSize
	for _, w := range ways {
		row := wireSize{How: w.how}
		for _, g := range []struct {
			n  int
			to *int
		}{{1, &row.Alone}, {20, &row.Batch20}, {100, &row.Batch100}} {
			total, count := 0, 0
			for i := 0; i+g.n <= len(ivs) && count < 200; i += g.n {
				n, err := w.size(ivs[i : i+g.n])
				if err != nil {
					return nil, err
				}
				total, count = total+n, count+g.n
			}
			if count > 0 {
				*g.to = total / count
			}
		}
		out = append(out, row)
	}
	return out, nil
}

func gzipped(encode func(io.Writer, *surveyv1.Interview) error) func([]*surveyv1.Interview) (int, error) {
	return func(group []*surveyv1.Interview) (int, error) {
		var buf bytes.Buffer
		zw := gzip.NewWriter(&buf)
		for _, iv := range group {
			if err := encode(zw, iv); err != nil {
				return 0, err
			}
		}
		err := zw.Close()
		return buf.Len(), err
	}
}

func jsonOf(w io.Writer, iv *surveyv1.Interview) error {
	raw, err := protojson.Marshal(iv)
	if err == nil {
		_, err = w.Write(append(compact(raw), '\n'))
	}
	return err
}

// xmlOf writes an interview as an XForm instance would: one element per answer, named as the question.
func xmlOf(w io.Writer, iv *surveyv1.Interview) error {
	enc := xml.NewEncoder(w)
	if err := xmlMessage(enc, "data", iv.ProtoReflect()); err != nil {
		return err
	}
	return enc.Flush()
}

func xmlMessage(enc *xml.Encoder, name string, m protoreflect.Message) error {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	if err := enc.EncodeToken(start); err != nil {
		return err
	}
	var err error
	fields := m.Descriptor().Fields()
	for i := 0; i < fields.Len() && err == nil; i++ {
		fd := fields.Get(i)
		if !m.Has(fd) || fd.IsMap() {
			continue
		}
		if fd.IsList() {
			list := m.Get(fd).List()
			for j := 0; j < list.Len() && err == nil; j++ {
				err = xmlValue(enc, fd, list.Get(j))
			}
			continue
		}
		err = xmlValue(enc, fd, m.Get(fd))
	}
	if err != nil {
		return err
	}
	return enc.EncodeToken(start.End())
}

func xmlValue(enc *xml.Encoder, fd protoreflect.FieldDescriptor, v protoreflect.Value) error {
	if fd.Message() != nil {
		return xmlMessage(enc, string(fd.Name()), v.Message())
	}
	return enc.EncodeElement(fmt.Sprint(v.Interface()), xml.StartElement{Name: xml.Name{Local: string(fd.Name())}})
}

func printWire(w io.Writer, sizes []wireSize) error {
	rows := [][]string{{"bytes per household interview", "alone", "in a batch of 20", "of 100", "times the first"}}
	for _, s := range sizes {
		rows = append(rows, []string{s.How, fmt.Sprint(s.Alone), fmt.Sprint(s.Batch20), fmt.Sprint(s.Batch100),
			fmt.Sprintf("%.2f  %.2f  %.2f", float64(s.Alone)/float64(sizes[0].Alone), float64(s.Batch20)/float64(sizes[0].Batch20), float64(s.Batch100)/float64(sizes[0].Batch100))})
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return table(w, rows)
}
