package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/server/store"
	"github.com/hearth-survey/hearth/syncer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// The records of publications stand together: what a server knows is one look into the log.
const (
	questionnairesSubject = "questionnaires"
	everyStudy            = "*"
)

// questionnairesPart is where they stand.
func questionnairesPart() uint64 { return syncer.Part(everyStudy, "") }

// publications are the questionnaires a server knows: those of the program, and those published, which are read from the
// log when the server starts and when a record of one is written.
type publications struct {
	builtin *questionnaire.Set
	// mu is held while one is published, or the log is read.
	mu    sync.Mutex
	state atomic.Pointer[published]
	// fresh is what is being published, so that it need not be compiled twice.
	fresh *publication
}

// published is what is known at one moment. Nothing in it changes.
type published struct {
	// last is the counter of the last record read.
	last uint64
	set  *questionnaire.Set
	// all are the publications in the order of the log, without their content.
	all []*publication
	// newest are the last ones, by name.
	newest map[string]*publication
	// rules are hashes of the schemas, by name: flags made by another are made again.
	rules map[string][]byte
	// rows are those of the tablets' bucket, by rising counter; those that are gone have no body.
	rows []store.Row
	sum  uint64
}

// publication is one version of one questionnaire as it was published.
type publication struct {
	*servicev1.QuestionnairePublication
	counter uint64 // of its last record
	content *servicev1.QuestionnaireContent
	// compiled and pieces are what content is compiled to and cut into for tablets, where that was done already.
	compiled *questionnaire.Questionnaire
	pieces   [][]byte
}

func newPublications(builtin *questionnaire.Set) (*publications, error) {
	p := &publications{builtin: builtin}
	st, err := p.build(nil, 0)
	p.state.Store(st)
	return p, err
}

// known are the questionnaires that can be evaluated.
func (s *Server) known() *questionnaire.Set { return s.forms.state.Load().set }

// refresh reads the publications of the log, if there are others than before, and says so.
func (s *Server) refreshQuestionnaires(ctx context.Context) (bool, error) {
	s.forms.mu.Lock()
	defer s.forms.mu.Unlock()
	return s.readQuestionnaires(ctx)
}

// readQuestionnaires is refresh for who holds the lock.
func (s *Server) readQuestionnaires(ctx context.Context) (bool, error) {
	all, last, err := s.publicationsIn(ctx, s.store)
	if err != nil {
		return false, err
	}
	if before := s.forms.state.Load(); before.last == last {
		return false, nil
	}
	st, err := s.forms.build(all, last)
	if err != nil {
		// The others are as they were published; one that this program cannot read must not keep tablets from syncing.
		s.log.ErrorContext(ctx, "a published questionnaire cannot be used by this program", "error", err)
	}
	s.forms.state.Store(st)
	return true, nil
}

// publicationsIn reads all publications that are whole, in the order of the log.
func (s *Server) publicationsIn(ctx context.Context, log store.Log) ([]*publication, uint64, error) {
	stored, err := log.Revisions(ctx, questionnairesPart(), servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE, questionnairesSubject)
	if err != nil {
		return nil, 0, fmt.Errorf("read the published questionnaires: %w", err)
	}
	slices.SortFunc(stored, func(a, b store.Stored) int { return cmp.Compare(a.Counter, b.Counter) })
	open := map[string][][]byte{}
	var out []*publication
	last := uint64(0)
	for _, st := range stored {
		last = max(last, st.Counter)
		rec, err := syncer.Open(st.Raw)
		if err != nil {
			continue // hearth check finds what has become of it
		}
		head := &servicev1.QuestionnairePublication{}
		if proto.Unmarshal(rec.GetPayload(), head) != nil || head.GetPieces() == 0 || head.GetPiece() >= head.GetPieces() {
			continue
		}
		key := string(head.GetSha256()) + fmt.Sprint(head.GetVersion(), head.GetTextRevision())
		if uint32(len(open[key])) != head.GetPiece() {
			delete(open, key) // it was cut short, and begun anew
			if head.GetPiece() != 0 {
				continue
			}
		}
		open[key] = append(open[key], head.GetContent())
		if uint32(len(open[key])) < head.GetPieces() {
			continue
		}
		pieces := open[key]
		delete(open, key)
		content, err := readContent(pieces, head.GetSha256())
		if err != nil {
			s.log.ErrorContext(ctx, "a published questionnaire cannot be read", "questionnaire", head.GetQuestionnaire(), "version", head.GetVersion(), "error", err)
			continue
		}
		head.Content, head.Piece = nil, nil
		out = append(out, &publication{QuestionnairePublication: head, counter: st.Counter, content: content})
	}
	return out, last, nil
}

func readContent(pieces [][]byte, sum []byte) (*servicev1.QuestionnaireContent, error) {
	raw, err := syncer.JoinQuestionnaire(pieces, sum)
	if err != nil {
		return nil, err
	}
	c := &servicev1.QuestionnaireContent{}
	if err := proto.Unmarshal(raw, c); err != nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the content of a published questionnaire: %w", err)
	}
	return c, nil
}

// load compiles a publication.
func (p *publication) load() (*questionnaire.Questionnaire, error) {
	files := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(p.content.GetFiles(), files); err != nil {
		return nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the schema of %s: %w", p.GetQuestionnaire(), err)
	}
	return questionnaire.Load(files, p.GetQuestionnaire())
}

// build makes what is known of publications. What can be used of them is there also with an error.
func (p *publications) build(all []*publication, last uint64) (*published, error) {
	st := &published{last: last, set: p.builtin, all: all, newest: map[string]*publication{}, rules: map[string][]byte{}}
	for _, one := range all {
		if before := st.newest[one.GetQuestionnaire()]; before == nil || before.GetVersion() <= one.GetVersion() {
			st.newest[one.GetQuestionnaire()] = one
		}
	}
	var failed error
	for _, q := range p.builtin.All() {
		sum, err := q.SchemaHash()
		if err != nil {
			return st, fmt.Errorf("write the schema of %s: %w", q.Name(), err)
		}
		st.rules[q.Name()] = sum
	}
	for _, name := range st.names() {
		one := st.newest[name]
		q, err := p.reuse(one)
		if err == nil {
			var set *questionnaire.Set
			if set, err = st.set.With(q); err == nil {
				st.set = set
				sum := sha256.Sum256(one.content.GetFiles())
				st.rules[name] = sum[:]
			}
		}
		if err != nil {
			failed = fmt.Errorf("questionnaire %s, version %d: %w", name, one.GetVersion(), err)
		}
	}
	if err := st.fill(p.builtin); err != nil {
		return st, err
	}
	for _, one := range all {
		if st.newest[one.GetQuestionnaire()] != one {
			one.content, one.compiled, one.pieces = nil, nil, nil // they are read again when somebody asks
		}
	}
	return st, failed
}

// reuse compiles a publication, unless one with the same content was compiled already.
func (p *publications) reuse(one *publication) (*questionnaire.Questionnaire, error) {
	for _, was := range []*publication{p.fresh, p.last(one.GetQuestionnaire())} {
		if was != nil && was.compiled != nil && bytes.Equal(was.GetSha256(), one.GetSha256()) {
			one.compiled, one.pieces = was.compiled, was.pieces
			return one.compiled, nil
		}
	}
	var err error
	one.compiled, err = one.load()
	return one.compiled, err
}

// last is the newest publication of a questionnaire that is known; nil if there is none.
func (p *publications) last(name string) *publication {
	if st := p.state.Load(); st != nil {
		return st.newest[name]
	}
	return nil
}

// names are those of the published questionnaires, in order.
func (p *published) names() []string {
	var out []string
	for name := range p.newest {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// knows says why interviews of a version cannot be used; nil if they can. It must not depend on whether this program can
// compile the questionnaire.
func (s *Server) knowsVersion(name string, version uint32) *fault.Error {
	st := s.forms.state.Load()
	newest := uint32(0)
	if q, ok := st.set.Find(name); ok && q.Name() == name {
		newest = q.Version()
	}
	if one := st.newest[name]; one != nil {
		newest = max(newest, one.GetVersion())
	}
	switch {
	case newest == 0:
		return fault.New(fault.Invalid, fault.UnknownQuestionnaire, "this server does not know the questionnaire %.128q", name)
	case version < 1 || version > newest:
		return fault.New(fault.Invalid, fault.UnknownVersion, "this server does not know version %d of %s", version, name)
	}
	return nil
}

// versionOf is what is told of a publication.
func (p *publication) versionOf() *servicev1.QuestionnaireVersion {
	return &servicev1.QuestionnaireVersion{
		Questionnaire: p.Questionnaire, Version: p.Version, Fingerprint: p.Fingerprint, TitleEn: p.TitleEn, TitleZh: p.TitleZh, Questions: p.Questions,
		TextRevision: p.TextRevision, PublishedBy: p.PublishedBy, PublishedMs: p.PublishedMs,
	}
}

// versions lists every version of every questionnaire: of one that was published with other words the last publication.
func (s *Server) questionnaireVersions() []*servicev1.QuestionnaireVersion {
	return s.forms.state.Load().versions(s.forms.builtin)
}

func (p *published) versions(builtin *questionnaire.Set) []*servicev1.QuestionnaireVersion {
	var out []*servicev1.QuestionnaireVersion
	for _, q := range builtin.All() {
		for v := uint32(1); v <= q.Version(); v++ {
			if !q.Knows(v) {
				continue
			}
			out = append(out, &servicev1.QuestionnaireVersion{
				Questionnaire: proto.String(q.Name()), Version: proto.Uint32(v), Fingerprint: q.Fingerprint(v),
				TitleEn: proto.String(q.Title().GetEn()), TitleZh: proto.String(q.Title().GetZh()), Questions: proto.Uint32(uint32(q.Questions())),
			})
		}
	}
	shown := map[string]int{}
	for _, one := range p.all {
		key := fmt.Sprint(one.GetQuestionnaire(), "/", one.GetVersion())
		if i, ok := shown[key]; ok {
			out[i] = one.versionOf()
			continue
		}
		shown[key] = len(out)
		out = append(out, one.versionOf())
	}
	slices.SortStableFunc(out, func(a, b *servicev1.QuestionnaireVersion) int {
		return cmp.Or(strings.Compare(a.GetQuestionnaire(), b.GetQuestionnaire()), cmp.Compare(a.GetVersion(), b.GetVersion()))
	})
	return out
}

// findPublication returns the last publication of a version with its content, read from the log again where it is not the
// newest; nil if there is none.
func (s *Server) findPublication(ctx context.Context, name string, version uint32) (*publication, error) {
	st := s.forms.state.Load()
	if one := st.newest[name]; one != nil && (version == 0 || one.GetVersion() == version) {
		return one, nil
	}
	all, _, err := s.publicationsIn(ctx, s.store)
	if err != nil {
		return nil, err
	}
	for _, one := range slices.Backward(all) {
		if one.GetQuestionnaire() == name && one.GetVersion() == version {
			return one, nil
		}
	}
	return nil, nil
}

// fill makes the rows of the tablets' bucket: one for each version, and the files of the newest in pieces. The counter of a
// row is that of the record by which it became so, with room for the pieces.
func (p *published) fill(builtin *questionnaire.Set) error {
	const kind = servicev1.BucketKind_BUCKET_KIND_QUESTIONNAIRES
	at := map[string]int{}
	put := func(key string, counter uint64, body []byte) {
		row := store.Row{Bucket: store.Bucket{Kind: kind}, Part: questionnairesPart(), Key: key, Counter: counter, Body: body}
		if i, ok := at[key]; ok {
			p.rows[i] = row
			return
		}
		at[key] = len(p.rows)
		p.rows = append(p.rows, row)
	}
	counters := map[string]uint64{}
	for _, one := range p.all {
		counters[fmt.Sprint(one.GetQuestionnaire(), "/", one.GetVersion())] = one.counter * piecesPerRecord
	}
	for _, v := range p.versions(builtin) {
		key := fmt.Sprintf("%s/%d", v.GetQuestionnaire(), v.GetVersion())
		counter := counters[key]
		one := p.newest[v.GetQuestionnaire()]
		if one != nil && one.GetVersion() == v.GetVersion() {
			files, sum, err := one.tabletFiles()
			if err != nil {
				return err
			}
			v.FilesSha256, v.Pieces = sum, proto.Uint32(uint32(len(files)))
			for i, piece := range files {
				put(fmt.Sprintf("%s/%d", key, i), counter+uint64(i)+1, piece)
			}
		}
		if one != nil { // a version becomes another row when there is a newer one
			counter = max(counter, one.counter*piecesPerRecord)
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(v)
		if err != nil {
			return fmt.Errorf("write the row of %s: %w", key, err)
		}
		put(key, counter, body)
	}
	p.gone(put, at)
	slices.SortFunc(p.rows, func(a, b store.Row) int {
		return cmp.Or(cmp.Compare(a.Counter, b.Counter), strings.Compare(a.Key, b.Key))
	})
	for _, r := range p.rows {
		if r.Body != nil {
			p.sum += syncer.RowFingerprint(kind, r.Key, r.Body)
		}
	}
	return nil
}

// piecesPerRecord is how many rows one record may make.
const piecesPerRecord = 1 << 16

// gone adds that the pieces of earlier publications are no more, since the last of them that had a piece was replaced.
func (p *published) gone(put func(key string, counter uint64, body []byte), at map[string]int) {
	for i, one := range slices.Backward(p.all) {
		newest := p.newest[one.GetQuestionnaire()]
		if one == newest {
			continue
		}
		after := newest.counter
		for _, next := range p.all[i+1:] { // the one that took its place
			if next.GetQuestionnaire() == one.GetQuestionnaire() {
				after = next.counter
				break
			}
		}
		for k := range one.GetTabletPieces() {
			key := fmt.Sprintf("%s/%d/%d", one.GetQuestionnaire(), one.GetVersion(), k)
			if _, there := at[key]; !there {
				put(key, after*piecesPerRecord, nil)
			}
		}
	}
}

// tabletFiles are the files of a publication as they travel to tablets, in pieces, and their hash.
func (p *publication) tabletFiles() ([][]byte, []byte, error) {
	if p.pieces != nil {
		sum := sha256.Sum256(bytes.Join(p.pieces, nil))
		return p.pieces, sum[:], nil
	}
	files := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(p.content.GetFiles(), files); err != nil {
		return nil, nil, fault.New(fault.Invalid, fault.QuestionnaireDamaged, "the schema of %s: %w", p.GetQuestionnaire(), err)
	}
	var sum []byte
	var err error
	p.pieces, sum, err = packForTablets(files)
	return p.pieces, sum, err
}

func packForTablets(files *descriptorpb.FileDescriptorSet) ([][]byte, []byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.Bare(files))
	if err != nil {
		return nil, nil, fmt.Errorf("write a schema for tablets: %w", err)
	}
	packed, err := syncer.PackQuestionnaire(raw)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(packed)
	return syncer.CutPieces(packed, syncer.QuestionnairePiece), bytes.Clone(sum[:]), nil
}

// fillQuestionnaires writes one page of the bucket of questionnaires: what came after the cursor, at most some bytes, but one
// row if nothing is on the page yet.
func (s *Server) fillQuestionnaires(page *servicev1.BucketPage, asked *servicev1.BucketCursor, rows, left int) {
	st := s.forms.state.Load()
	epoch, part := s.store.Epoch(), questionnairesPart()
	cursor, err := syncer.ParseCursor(asked.GetCursor(), epoch)
	from, known := cursor.Parts[part]
	head := uint64(0)
	if n := len(st.rows); n > 0 {
		head = st.rows[n-1].Counter
	}
	if err != nil || !known || from > head {
		page.Whole, from = proto.Bool(true), 0
	}
	at, size := from, 0
	for i, r := range st.rows {
		if r.Counter <= from && (!page.GetWhole() || r.Counter > 0) || page.GetWhole() && r.Body == nil {
			continue
		}
		size += len(r.Key) + len(r.Body) + 32
		full := len(page.Rows) >= rows || len(page.Rows) > 0 && size > left || left <= 0
		if full && (i == 0 || r.Counter != st.rows[i-1].Counter || r.Counter != at) && at > 0 {
			page.More = proto.Bool(true)
			break
		}
		row := &servicev1.Row{Key: proto.String(r.Key), Op: servicev1.RowOp_ROW_OP_PUT.Enum(), Part: proto.Uint64(part), Counter: proto.Uint64(r.Counter), Body: r.Body}
		if r.Body == nil {
			row.Op = servicev1.RowOp_ROW_OP_REMOVE.Enum()
		}
		page.Rows = append(page.Rows, row)
		at = r.Counter
	}
	if !page.GetMore() {
		at, page.Sum = head, proto.Uint64(st.sum)
	}
	if page.Cursor = (&servicev1.Cursor{}); head > 0 {
		page.Cursor = syncer.Cursor{Epoch: epoch, Parts: map[uint64]uint64{part: at}}.Proto()
	}
}

// compiledOf is a publication compiled, where that was not done before.
func (p *publications) compiledOf(one *publication) (*questionnaire.Questionnaire, error) {
	if one.compiled != nil {
		return one.compiled, nil
	}
	return one.load()
}
