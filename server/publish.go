package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"path"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"github.com/hearth-survey/hearth/syncer"
	"github.com/hearth-survey/hearth/syncer/failpoint"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// maxPublication is how much of a publication goes into one record; what a record needs beside it is far below the rest.
const maxPublication = syncer.MaxRecordBytes - 64<<10

// maxTold is how many changes the message of a refusal names.
const maxTold = 3

// form is a questionnaire that somebody brings, compiled.
type form struct {
	q       *questionnaire.Questionnaire
	lock    []byte
	remarks []string
	name    string
	source  []byte
}

// PublishQuestionnaire compares a questionnaire with its last version and publishes it. Everything that can be wrong with it
// is found here, so that nothing is when a tablet syncs.
func (s *studyService) PublishQuestionnaire(ctx context.Context, req *servicev1.PublishQuestionnaireRequest) (*servicev1.PublishQuestionnaireResponse, error) {
	if !shortText(req.GetPublishedBy()) {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the name of who publishes has more than %d bytes", maxNameBytes)
	}
	asked, err := formOf(req)
	if err != nil {
		return nil, err
	}
	s.forms.mu.Lock()
	defer s.forms.mu.Unlock()
	if _, err := s.readQuestionnaires(ctx); err != nil {
		return nil, err
	}
	f, last, changes, err := s.prepare(ctx, asked)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.PublishQuestionnaireResponse{Changes: changes, Lock: f.lock, Remarks: f.remarks}
	fresh, pieces, err := s.publicationOf(f, last)
	if err != nil {
		return nil, err
	}
	p := fresh.QuestionnairePublication
	p.PublishedBy, p.Accepted = proto.String(cmp.Or(req.GetPublishedBy(), headquarters)), req.GetAccept()
	p.PublishedMs = proto.Int64(s.nowMS())
	resp.Questionnaire = fresh.versionOf()
	if blocking := questionnaire.Blocking(changes, req.GetAccept()); len(blocking) > 0 {
		if resp.Refused = proto.Bool(true); !req.GetDryRun() {
			return nil, breaking(f.q, blocking)
		}
	}
	if last != nil && len(changes) == 0 && last.GetVersion() == p.GetVersion() && bytes.Equal(last.content.GetFiles(), f.files()) {
		resp.Questionnaire = last.versionOf()
		return resp, nil // exactly this is published
	}
	if req.GetDryRun() {
		resp.Waiting, err = s.waiting(ctx, f.q)
		return resp, err
	}
	for i, piece := range pieces {
		p := proto.CloneOf(p)
		p.Piece, p.Content = proto.Uint32(uint32(i)), piece
		failpoint.Hit("publish.before-piece")
		err := s.author.write(ctx, draft{
			kind: servicev1.RecordKind_RECORD_KIND_QUESTIONNAIRE, subject: questionnairesSubject, study: everyStudy, author: p.GetPublishedBy(), payload: p,
		})
		if err != nil {
			return nil, err
		}
	}
	failpoint.Hit("publish.after-records")
	s.forms.fresh = fresh
	_, err = s.readQuestionnaires(ctx)
	if s.forms.fresh = nil; err != nil {
		return nil, err
	}
	resp.Published = proto.Bool(true)
	if resp.ToReevaluate, err = s.interviewsOf(ctx, f.q.Name()); err != nil {
		return nil, err
	}
	if resp.Waiting, err = s.waiting(ctx, f.q); err != nil {
		return nil, err
	}
	s.projector.wake()
	return resp, nil
}

// formOf is what is to be published, unpacked.
func formOf(req *servicev1.PublishQuestionnaireRequest) (*servicev1.QuestionnaireForm, error) {
	if len(req.GetFormZstd()) == 0 {
		return req.GetForm(), nil
	}
	raw, err := syncer.UnpackQuestionnaire(req.GetFormZstd())
	if err != nil {
		return nil, err
	}
	f := &servicev1.QuestionnaireForm{}
	if err := proto.Unmarshal(raw, f); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the packed form: %w", err)
	}
	return f, nil
}

// prepare compiles a form and compares it with the last publication, which is nil for a new questionnaire.
func (s *Server) prepare(ctx context.Context, asked *servicev1.QuestionnaireForm) (*form, *publication, []*servicev1.QuestionnaireChange, error) {
	f, err := s.compileForm(asked, nil, 0, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	name := f.q.Name()
	if err := s.nameIsFree(name); err != nil {
		return nil, nil, nil, err
	}
	last := s.forms.state.Load().newest[name]
	if last == nil {
		return f, nil, nil, nil
	}
	before, err := s.forms.compiledOf(last)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the last version of %s: %w", name, err)
	}
	changes, err := s.succeed(ctx, asked, f, last, before)
	return f, last, changes, err
}

// succeed makes a form the next version of what was published, and compares the two.
func (s *Server) succeed(_ context.Context, asked *servicev1.QuestionnaireForm, f *form, last *publication, before *questionnaire.Questionnaire) ([]*servicev1.QuestionnaireChange, error) {
	if isSpreadsheet(asked.GetName()) && len(asked.GetFiles()) == 0 {
		next, err := s.compileForm(asked, last.content.GetLock(), last.GetVersion(), before)
		if err != nil {
			return nil, err
		}
		*f = *next
		if changes := questionnaire.Compare(before, f.q); !onlyWords(changes) { // a spreadsheet does not count its versions
			if next, err = s.compileForm(asked, last.content.GetLock(), last.GetVersion()+1, before); err != nil {
				return nil, err
			}
			*f = *next
		}
	}
	if files, dated := questionnaire.DateAdditions(f.q.Files(), before, f.q.Descriptor()); dated {
		q, err := questionnaire.Load(files, f.q.Name())
		if err != nil {
			return nil, err
		}
		f.q = q
	}
	return questionnaire.Compare(before, f.q), nil
}

// onlyWords says whether nothing but words, pictures and order has changed.
func onlyWords(changes []*servicev1.QuestionnaireChange) bool {
	for _, c := range changes {
		if !c.GetWording() && c.GetKind() != questionnaire.ChangeVersion {
			return false
		}
	}
	return true
}

func isSpreadsheet(name string) bool { return strings.EqualFold(path.Ext(name), ".xlsx") }

// compileForm compiles .proto text, descriptors, or a spreadsheet; before is what was published last, if anything.
func (s *Server) compileForm(asked *servicev1.QuestionnaireForm, lock []byte, version uint32, before *questionnaire.Questionnaire) (*form, error) {
	if len(asked.GetLock()) > 0 {
		lock = asked.GetLock()
	}
	f := &form{name: path.Base(asked.GetName()), source: asked.GetSource(), lock: lock}
	if asked.GetName() == "" {
		f.name = ""
	}
	var err error
	switch {
	case len(asked.GetFiles()) > 0:
		files := &descriptorpb.FileDescriptorSet{}
		if err := proto.Unmarshal(asked.GetFiles(), files); err != nil {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "the descriptors: %w", err)
		}
		if files, err = questionnaire.Closed(files); err != nil {
			return nil, err
		}
		f.q, err = questionnaire.Load(files, asked.GetTop())
		return f, err
	case len(asked.GetSource()) == 0:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "no questionnaire is given: its file is empty")
	case isSpreadsheet(f.name):
		return f, f.importSheet(lock, version, before)
	}
	if !strings.HasSuffix(f.name, ".proto") {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%.128q is neither a .proto nor an .xlsx", f.name)
	}
	files, err := questionnaire.CompileProto(map[string]string{f.name: string(asked.GetSource())}, f.name)
	if err != nil {
		return nil, err
	}
	f.q, err = questionnaire.Load(files, asked.GetTop())
	return f, err
}

// importSheet reads an XLSForm.
func (f *form) importSheet(lock []byte, version uint32, before *questionnaire.Questionnaire) error {
	o := xlsform.Options{Name: f.name, Version: version}
	var err error
	if len(lock) > 0 {
		if o.Lock, err = xlsform.ReadLock(lock); err != nil {
			return err
		}
	}
	if before != nil {
		o.Previous = before.Files()
	}
	r, err := xlsform.Import(f.source, o)
	if err != nil {
		return err
	}
	if n := r.Report.Errors(); n > 0 {
		return fault.New(fault.Invalid, fault.BadForm, "%s has %d wrong expressions: hearth form check lists them", f.name, n)
	}
	f.lock, f.remarks = r.Lock.Bytes(), strings.Split(strings.TrimRight(r.Report.Text(), "\n"), "\n")
	f.q, err = questionnaire.Load(r.Files, r.Top)
	return err
}

// files is the schema of a form as it is kept.
func (f *form) files() []byte {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.WithoutPlaces(f.q.Files()))
	if err != nil {
		return nil // cannot happen: it was just read
	}
	return raw
}

// nameIsFree refuses a questionnaire that would be taken for another one.
func (s *Server) nameIsFree(name string) error {
	if len(name) > 128 {
		return fault.New(fault.Invalid, fault.QuestionnaireNameTaken, "the full name of the top message has %d bytes, the limit is 128", len(name))
	}
	if strings.HasPrefix(name, "hearth.") {
		return fault.New(fault.Conflict, fault.QuestionnaireNameTaken, "%s is in a package of Hearth itself: its questionnaires come with the program", name)
	}
	last := func(full string) string { return strings.ToLower(full[strings.LastIndexByte(full, '.')+1:]) }
	for _, q := range s.known().All() {
		if q.Name() != name && last(q.Name()) == last(name) {
			return fault.New(fault.Conflict, fault.QuestionnaireNameTaken, "there is a questionnaire %s already, and %s could not be told from it by its last word", q.Name(), name)
		}
	}
	return nil
}

// breaking is the refusal of a version that old interviews cannot be read under.
func breaking(q *questionnaire.Questionnaire, blocking []*servicev1.QuestionnaireChange) error {
	var told []string
	for _, c := range blocking[:min(len(blocking), maxTold)] {
		told = append(told, c.GetWhat().GetEn()+" "+c.GetWhatToDo().GetEn())
	}
	more := ""
	if n := len(blocking) - len(told); n > 0 {
		more = fmt.Sprintf(" And %d more.", n)
	}
	return fault.New(fault.Conflict, fault.QuestionnaireBreaking, "version %d of %s cannot be published: %s%s", q.Version(), q.Name(), strings.Join(told, " "), more)
}

// publicationOf is what the records of a publication say, and its content in pieces.
func (s *Server) publicationOf(f *form, last *publication) (*publication, [][]byte, error) {
	tablet, _, err := packForTablets(f.q.Files())
	if err != nil {
		return nil, nil, err
	}
	if n := len(tablet) * syncer.QuestionnairePiece; n > syncer.MaxQuestionnairePacked {
		return nil, nil, fault.New(fault.TooLarge, fault.QuestionnaireTooLarge, "%s has %d MB packed, and tablets are sent %d at most", f.q.Name(), n>>20, syncer.MaxQuestionnairePacked>>20)
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(&servicev1.QuestionnaireContent{
		Files: f.files(), Lock: f.lock, SourceName: proto.String(f.name), Source: f.source,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("write %s: %w", f.q.Name(), err)
	}
	packed, err := syncer.PackQuestionnaire(raw)
	if err != nil {
		return nil, nil, err
	}
	sum := sha256.Sum256(packed)
	pieces := syncer.CutPieces(packed, maxPublication)
	revision := uint32(1)
	if last != nil && last.GetVersion() == f.q.Version() {
		revision = last.GetTextRevision() + 1
	}
	p := &servicev1.QuestionnairePublication{
		Questionnaire: proto.String(f.q.Name()), Version: proto.Uint32(f.q.Version()), TextRevision: proto.Uint32(revision),
		Fingerprint: f.q.Fingerprint(f.q.Version()), Sha256: sum[:], Pieces: proto.Uint32(uint32(len(pieces))), TabletPieces: proto.Uint32(uint32(len(tablet))),
		TitleEn: proto.String(f.q.Title().GetEn()), TitleZh: proto.String(f.q.Title().GetZh()), Questions: proto.Uint32(uint32(f.q.Questions())),
	}
	return &publication{QuestionnairePublication: p, compiled: f.q, pieces: tablet}, pieces, nil
}

// waiting counts the interviews in quarantine that a questionnaire would let out.
func (s *Server) waiting(ctx context.Context, q *questionnaire.Questionnaire) (*uint32, error) {
	n := uint32(0)
	for after := int64(0); ; {
		page, err := s.store.Quarantine(ctx, after, replayPage)
		if err != nil {
			return nil, err
		}
		for _, item := range page {
			after = item.GetId()
			if r := fault.Reason(item.GetReason()); r != fault.UnknownQuestionnaire && r != fault.UnknownVersion {
				continue
			}
			_, raw, err := s.store.QuarantineItem(ctx, item.GetId())
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
			if rec, err := syncer.Open(raw); err == nil && rec.GetQuestionnaire() == q.Name() && q.Knows(rec.GetQuestionnaireVersion()) {
				n++
			}
		}
		if len(page) < replayPage {
			return &n, nil
		}
	}
}

// GetQuestionnaire returns a version of a questionnaire with its files.
func (s *studyService) GetQuestionnaire(ctx context.Context, req *servicev1.GetQuestionnaireRequest) (*servicev1.GetQuestionnaireResponse, error) {
	q, p, err := s.versionNamed(ctx, req)
	if err != nil {
		return nil, err
	}
	resp := &servicev1.GetQuestionnaireResponse{}
	if p != nil {
		resp.Questionnaire, resp.Files = p.versionOf(), p.content.GetFiles()
		resp.Lock, resp.SourceName, resp.Source = p.content.GetLock(), p.content.SourceName, p.content.GetSource()
		return resp, nil
	}
	for _, v := range s.questionnaireVersions() {
		if v.GetQuestionnaire() == q.Name() && v.GetVersion() == cmp.Or(req.GetVersion(), q.Version()) {
			resp.Questionnaire = v
		}
	}
	resp.Files, err = proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.WithoutPlaces(q.Files()))
	return resp, err
}

// versionNamed finds a version of a questionnaire: compiled, and as it was published; the latter is nil for what is built in.
func (s *Server) versionNamed(ctx context.Context, req *servicev1.GetQuestionnaireRequest) (*questionnaire.Questionnaire, *publication, error) {
	name := req.GetQuestionnaire()
	q, ok := s.known().Find(name)
	if !ok {
		var names []string
		for _, q := range s.known().All() {
			names = append(names, q.Name())
		}
		return nil, nil, fault.New(fault.NotFound, fault.UnknownQuestionnaire, "there is no questionnaire %.128q, only %s", name, strings.Join(names, ", "))
	}
	if _, builtin := s.forms.builtin.Find(q.Name()); builtin {
		if v := req.GetVersion(); v != 0 && !q.Knows(v) {
			return nil, nil, fault.New(fault.NotFound, fault.UnknownVersion, "%s has no version %d; %d is the newest", q.Name(), v, q.Version())
		}
		return q, nil, nil
	}
	p, err := s.findPublication(ctx, q.Name(), req.GetVersion())
	switch {
	case err != nil:
		return nil, nil, err
	case p == nil:
		return nil, nil, fault.New(fault.NotFound, fault.UnknownVersion, "version %d of %s was not published here; %d is the newest", req.GetVersion(), q.Name(), q.Version())
	case p.GetVersion() == q.Version():
		return q, p, nil
	}
	q, err = p.load()
	return q, p, err
}

// CompareQuestionnaires says what has changed between two versions.
func (s *studyService) CompareQuestionnaires(ctx context.Context, req *servicev1.CompareQuestionnairesRequest) (*servicev1.CompareQuestionnairesResponse, error) {
	before, last, err := s.versionNamed(ctx, req.GetOld())
	if err != nil {
		return nil, err
	}
	if req.GetNewForm() == nil {
		after, _, err := s.versionNamed(ctx, req.GetNew())
		if err != nil {
			return nil, err
		}
		return &servicev1.CompareQuestionnairesResponse{Changes: questionnaire.Compare(before, after)}, nil
	}
	f, err := s.compileForm(req.GetNewForm(), nil, 0, nil)
	if err != nil {
		return nil, err
	}
	if last == nil || f.q.Name() != before.Name() {
		return &servicev1.CompareQuestionnairesResponse{Changes: questionnaire.Compare(before, f.q)}, nil
	}
	changes, err := s.succeed(ctx, req.GetNewForm(), f, last, before)
	return &servicev1.CompareQuestionnairesResponse{Changes: changes}, err
}
