package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/plant"
	"google.golang.org/protobuf/proto"
)

// Limits of what travels down in one answer: small pages, as each that arrived on a bad link is kept.
const (
	maxBuckets  = 256
	maxDownRows = 500
	maxDownPage = 64 << 10
)

// ownerAge is how long it may be remembered who carries a device without asking the store.
const ownerAge = time.Minute

// downlink is what a server remembers to answer a Hello quickly.
type downlink struct {
	mu      sync.Mutex
	owners  map[syncer.ID]aged[store.Owner]
	records map[string]uint64 // sums of the records that define studies, by the study asked for; nil: ask again
	same    map[string]uint64 // sums of what stands in the program itself, by kind and study
	changed uint64            // counts changes of those records: what was read before one is not kept after it
}

// forget drops who carries a device.
func (d *downlink) forget(device syncer.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.owners, device)
}

// changedStudies drops the sums of the records that define studies.
func (d *downlink) changedStudies() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = nil
	d.changed++
}

// owner is who carries a device, as far as is known.
func (s *Server) owner(ctx context.Context, device syncer.ID) (store.Owner, error) {
	d := &s.down
	now := s.rights.clock()
	d.mu.Lock()
	known, ok := d.owners[device]
	d.mu.Unlock()
	if ok && now.Sub(known.since) < ownerAge {
		return known.value, nil
	}
	o, err := s.store.Owner(ctx, device)
	if fault.ReasonOf(err) == fault.DeviceUnknown {
		return store.Owner{}, nil
	}
	if err != nil {
		return o, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.owners == nil || len(d.owners) >= maxKeys {
		d.owners = map[syncer.ID]aged[store.Owner]{}
	}
	d.owners[device] = aged[store.Owner]{o, now}
	return o, nil
}

// scopeOf is for which study and enumerator a device may ask: those of its enrolment, whatever it says. One that became
// known without an enrolment is believed what it says of its study.
func (s *Server) scopeOf(ctx context.Context, device syncer.ID, study string) (store.Owner, error) {
	o, err := s.owner(ctx, device)
	if err == nil && o.Study == "" {
		o.Study = study
	}
	return o, err
}

// hintKey is the key of a study's hints, which tablets of the study hold.
func (s *Server) hintKey(study string) []byte { return syncer.HintKey(s.key.Seed(), study) }

// answerDown says in the answer to a Hello whether there is anything to pull.
func (s *Server) answerDown(ctx context.Context, device syncer.ID, req *servicev1.HelloRequest, resp *servicev1.HelloResponse) error {
	var err error
	if resp.Notice, err = s.noticeFor(ctx, device); err != nil || resp.Notice != nil || req.DownSum == nil {
		return err
	}
	if !plant.In(plant.HalfProjected) && !s.projector.awaitWhole(ctx) {
		resp.DownSum = proto.Uint64(req.GetDownSum()) // the tablet keeps what it has until it is known what there is
		return nil
	}
	o, err := s.scopeOf(ctx, device, req.GetStudy())
	if err != nil {
		return err
	}
	states, err := s.bucketStates(ctx, o)
	if err != nil {
		return err
	}
	sum := syncer.DownSum(states)
	if resp.DownSum = proto.Uint64(sum); sum != req.GetDownSum() {
		resp.Buckets = states
	}
	return nil
}

// bucketStates are all buckets that a tablet should hold.
func (s *Server) bucketStates(ctx context.Context, o store.Owner) ([]*servicev1.BucketState, error) {
	all, err := s.store.Buckets(ctx, o.Study, o.Enumerator)
	if err != nil {
		return nil, err
	}
	var out []*servicev1.BucketState
	add := func(kind servicev1.BucketKind, scope string, sum uint64) {
		out = append(out, &servicev1.BucketState{Kind: kind.Enum(), Scope: proto.String(scope), Sum: proto.Uint64(sum)})
	}
	for _, b := range all {
		add(b.Kind, b.Scope, b.Sum)
	}
	add(servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES, "", s.forms.state.Load().sum)
	add(servicev1.BucketKind_BUCKET_KIND_STUDY, "", s.standingSum(servicev1.BucketKind_BUCKET_KIND_STUDY, o.Study))
	records, err := s.recordsSum(ctx, o.Study)
	if err != nil {
		return nil, err
	}
	add(servicev1.BucketKind_BUCKET_KIND_RECORDS, "", records)
	return out, nil
}

// standing are the rows of a bucket that is the same for all tablets of a study and stands in the program itself.
func (s *Server) standing(kind servicev1.BucketKind, study string) []*servicev1.Row {
	var out []*servicev1.Row
	add := func(key string, body proto.Message) {
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(body)
		if err != nil {
			return // cannot happen: the texts are valid
		}
		out = append(out, &servicev1.Row{Key: proto.String(key), Op: servicev1.RowOp_ROW_OP_PUT.Enum(), Body: raw})
	}
	if kind == servicev1.BucketKind_BUCKET_KIND_STUDY && study != "" {
		add(study, &servicev1.StudyRow{Study: proto.String(study), HintKey: s.hintKey(study)})
	}
	return out
}

// standingSum is the sum of such a bucket. It stays as long as the process runs.
func (s *Server) standingSum(kind servicev1.BucketKind, study string) uint64 {
	d := &s.down
	key := fmt.Sprint(int32(kind), " ", study)
	d.mu.Lock()
	sum, ok := d.same[key]
	d.mu.Unlock()
	if ok {
		return sum
	}
	for _, r := range s.standing(kind, study) {
		sum += syncer.RowFingerprint(kind, r.GetKey(), r.GetBody())
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.same == nil || len(d.same) >= maxKeys {
		d.same = map[string]uint64{}
	}
	d.same[key] = sum
	return sum
}

// recordsSum is the sum of the records that Pull brings a tablet of a study.
func (s *Server) recordsSum(ctx context.Context, study string) (uint64, error) {
	d := &s.down
	d.mu.Lock()
	sum, ok := d.records[study]
	changed := d.changed
	d.mu.Unlock()
	if ok {
		return sum, nil
	}
	all, err := s.studyRecords(ctx, syncer.Cursor{}, study)
	if err != nil {
		return 0, err
	}
	sum = syncer.RecordsSum(func(yield func(syncer.Digest) bool) {
		for _, st := range all {
			if !yield(st.Digest) {
				return
			}
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.changed == changed {
		if d.records == nil || len(d.records) >= maxKeys {
			d.records = map[string]uint64{}
		}
		d.records[study] = sum
	}
	return sum, nil
}

// pullBuckets brings what is new in buckets, or lists them.
func (s *Server) pullBuckets(ctx context.Context, device syncer.ID, req *servicev1.PullRequest) (*servicev1.PullResponse, error) {
	if len(req.GetBuckets()) > maxBuckets {
		return nil, fault.New(fault.TooLarge, fault.BadRequest, "%d buckets are asked for, the limit is %d", len(req.GetBuckets()), maxBuckets)
	}
	if err := s.Project(ctx); err != nil {
		return nil, err
	}
	o, err := s.scopeOf(ctx, device, req.GetStudy())
	if err != nil {
		return nil, err
	}
	states, err := s.bucketStates(ctx, o)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.PullResponse{}
	if req.GetListBuckets() {
		resp.Buckets = states
	}
	mine := map[store.Bucket]bool{}
	for _, m := range states {
		mine[store.Bucket{Kind: m.GetKind(), Study: o.Study, Scope: m.GetScope()}] = true
	}
	rows, left := maxDownRows, maxDownPage
	if n := int(req.GetPageSize()); n > 0 && n < rows {
		rows = n
	}
	for _, asked := range req.GetBuckets() {
		b := store.Bucket{Kind: asked.GetKind(), Study: o.Study, Scope: asked.GetScope()}
		page := &servicev1.BucketPage{Kind: asked.Kind, Scope: asked.Scope}
		if !mine[b] {
			page.Gone = proto.Bool(true)
		} else if err := s.fill(ctx, page, b, asked, rows, left); err != nil {
			return nil, err
		}
		for _, r := range page.GetRows() {
			left -= proto.Size(r)
		}
		rows -= len(page.GetRows())
		if page.GetMore() {
			resp.More = proto.Bool(true)
		}
		resp.Pages = append(resp.Pages, page)
	}
	return resp, nil
}

// fill writes one page: at most some rows and bytes, but one row if nothing is on the answer yet.
func (s *Server) fill(ctx context.Context, page *servicev1.BucketPage, b store.Bucket, asked *servicev1.BucketCursor, rows, left int) error {
	switch b.Kind {
	case servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES:
		s.fillQuestionnaires(page, asked, rows, left)
		return nil
	case servicev1.BucketKind_BUCKET_KIND_STUDY:
		page.Whole, page.Rows = proto.Bool(true), s.standing(b.Kind, b.Study)
		page.Sum, page.Cursor = proto.Uint64(s.standingSum(b.Kind, b.Study)), &servicev1.Cursor{}
		return nil
	case servicev1.BucketKind_BUCKET_KIND_RECORDS:
		return fault.New(fault.Invalid, fault.BadRequest, "the records are pulled by themselves, without naming buckets")
	}
	cursor, err := syncer.ParseCursor(asked.GetCursor(), s.store.Epoch())
	if err != nil || len(cursor.Parts) == 0 { // another log, or the beginning
		page.Whole = proto.Bool(true)
		cursor = syncer.Cursor{Epoch: s.store.Epoch(), Parts: map[uint64]uint64{}}
	}
	if rows <= 0 || left <= 0 {
		page.Cursor, page.More = cursor.Proto(), proto.Bool(true)
		if page.GetWhole() {
			page.Cursor = &servicev1.Cursor{}
		}
		return nil
	}
	got, err := s.store.RowsAfter(ctx, b, cursor, rows)
	if err != nil {
		return err
	}
	if got.Behind {
		page.Behind, page.Cursor = proto.Bool(true), asked.GetCursor()
		return nil
	}
	trim(&got, cursor, left)
	for _, r := range got.Rows {
		m := &servicev1.Row{Key: proto.String(r.Key), Op: servicev1.RowOp_ROW_OP_PUT.Enum(), Part: proto.Uint64(r.Part), Counter: proto.Uint64(r.Counter), Body: r.Body}
		if r.Body == nil {
			m.Op = servicev1.RowOp_ROW_OP_REMOVE.Enum()
		}
		page.Rows = append(page.Rows, m)
	}
	page.Cursor = got.Cursor.Proto()
	if got.More {
		page.More = proto.Bool(true)
	} else {
		page.Sum = proto.Uint64(got.Sum)
	}
	return nil
}

// trim leaves rows out that do not fit, never some of one counter alone, and never all.
func trim(page *store.RowPage, from syncer.Cursor, most int) {
	size := 0
	for i, r := range page.Rows {
		size += len(r.Key) + len(r.Body) + 32
		if i == 0 || size <= most {
			continue
		}
		for i > 0 && page.Rows[i-1].Part == r.Part && page.Rows[i-1].Counter == r.Counter {
			i--
		}
		if i == 0 {
			continue
		}
		last := page.Rows[i-1]
		for _, dropped := range page.Rows[i:] {
			if page.Cursor.Parts[dropped.Part] = from.Parts[dropped.Part]; dropped.Part == last.Part {
				page.Cursor.Parts[dropped.Part] = last.Counter
			}
		}
		page.Rows, page.More = page.Rows[:i], true
		return
	}
}
