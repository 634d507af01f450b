package export

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	formv1 "github.com/hearth-survey/hearth/proto/hearth/form/v1"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"google.golang.org/protobuf/proto"
)

// Manifest says what an export holds and how it was made: enough to make it again and to check that no byte changed.
type Manifest struct {
	Program  string          `json:"program"`
	Study    string          `json:"study"`
	TitleEN  string          `json:"title_en,omitempty"`
	TitleZH  string          `json:"title_zh,omitempty"`
	Note     string          `json:"note,omitempty"`
	Profile  string          `json:"profile"`
	Formats  []string        `json:"formats"`
	Language string          `json:"language"`
	Cursor   *ManifestCursor `json:"cursor"`
	Levels   []ManifestLevel `json:"levels"`
	Files    []ManifestFile  `json:"files"`
	Warnings []string        `json:"warnings,omitempty"`
	// Request is how the export was asked for: the same request gives the same files.
	Request *ManifestRequest `json:"request,omitempty"`
	// Questionnaires are those whose answers stand in the export, with the schema by which they are read.
	Questionnaires []ManifestQuestionnaire `json:"questionnaires,omitempty"`
	Privacy        *ManifestPrivacy        `json:"privacy,omitempty"`
	// Analysis is how the analysis set was made.
	Analysis *ManifestAnalysis `json:"analysis,omitempty"`
}

// ManifestRequest is how an export was asked for.
type ManifestRequest struct {
	// AsOf is the cursor in one word: `hearth export --as-of` makes the export again.
	AsOf           string   `json:"as_of"`
	Sites          []string `json:"sites,omitempty"`
	Enumerators    []string `json:"enumerators,omitempty"`
	Results        []string `json:"results,omitempty"`
	Rounds         []uint32 `json:"rounds,omitempty"`
	Questionnaires []string `json:"questionnaires,omitempty"`
	From           string   `json:"from,omitempty"`
	Before         string   `json:"before,omitempty"`
	Levels         []string `json:"levels,omitempty"`
}

// ManifestQuestionnaire is one questionnaire.
type ManifestQuestionnaire struct {
	Name    string `json:"name"`
	Version uint32 `json:"version"`
	// SHA256 is over its schema, in deterministic bytes of a google.protobuf.FileDescriptorSet.
	SHA256 string `json:"schema_sha256"`
	// Interviews counts its answers by the version they were given to.
	Interviews map[string]int `json:"interviews_by_version,omitempty"`
}

// ManifestCursor is where in the log the export stands.
type ManifestCursor struct {
	ServerEpoch string         `json:"server_epoch"`
	Parts       []ManifestPart `json:"parts"`
}

// ManifestPart is the position in one part of the log. The part is hexadecimal, because JSON numbers do not hold 64 bits.
type ManifestPart struct {
	Part    string `json:"part"`
	Counter string `json:"counter"`
}

// ManifestLevel is the size of one table.
type ManifestLevel struct {
	Name    string `json:"name"`
	Rows    int64  `json:"rows"`
	Columns int    `json:"columns"`
	// Rounds are the rows by round, of tables whose rows are of interviews.
	Rounds map[uint32]int64 `json:"rows_by_round,omitempty"`
}

// ManifestFile is one file, the manifest itself left out.
type ManifestFile struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// ProfileName is the name of a privacy profile on the command line and in the manifest.
func ProfileName(p servicev1.PrivacyProfile) string {
	return lowerName(p.String(), "PRIVACY_PROFILE_")
}

// FormatName is the name of a format on the command line and in the manifest.
func FormatName(f servicev1.ExportFormat) string { return lowerName(f.String(), "EXPORT_FORMAT_") }

func lowerName(name, prefix string) string { return strings.ToLower(strings.TrimPrefix(name, prefix)) }

func (j *job) writeManifest(layouts map[*Table]*layout) (*Manifest, error) {
	s := j.src.Study
	m := &Manifest{
		Program: j.opts.Program, Study: s.GetStudy(), TitleEN: s.GetTitleEn(), TitleZH: s.GetTitleZh(), Note: s.GetNote(),
		Profile: ProfileName(j.opts.Profile), Language: j.opts.Language, Cursor: cursorOf(j.src.Cursor),
		Files: j.sink.files, Warnings: j.warnings, Request: j.opts.Request, Questionnaires: j.src.Schemas,
	}
	for _, f := range j.opts.Formats {
		m.Formats = append(m.Formats, FormatName(f))
	}
	for _, t := range j.plan.Tables {
		m.Levels = append(m.Levels, ManifestLevel{Name: t.Name, Rows: j.stats[t].rows, Columns: len(layouts[t].slots), Rounds: j.stats[t].rounds})
	}
	for _, st := range j.stages {
		st.record(m)
	}
	slices.SortFunc(m.Files, func(a, b ManifestFile) int { return strings.Compare(a.Path, b.Path) })
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fault.New(fault.Internal, "", "manifest cannot be encoded: %w", err)
	}
	f, err := j.sink.create("manifest.json")
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return nil, err
	}
	return m, f.close()
}

// ResultNamed is the result of a visit by its name, or by its AAPOR code; 0 where there is none. Known are the names there are.
func ResultNamed(name string) (code int32, known []string) {
	values := surveyv1.ResultCode(0).Descriptor().Values()
	for i := range values.Len() {
		v := values.Get(i)
		short := lowerName(string(v.Name()), "RESULT_CODE_")
		if v.Number() == 0 {
			continue
		}
		if strings.EqualFold(name, short) || name == formv1.ChoiceOf(v.Options()).GetAapor() {
			code = int32(v.Number())
		}
		known = append(known, short)
	}
	return code, known
}

// CursorText is a cursor in one word.
func CursorText(c *servicev1.Cursor) string {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(c)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// ParseCursorText reads what CursorText has written.
func ParseCursorText(s string) (*servicev1.Cursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	c := &servicev1.Cursor{}
	if err == nil {
		err = proto.Unmarshal(raw, c)
	}
	if err != nil || len(c.GetServerEpoch()) == 0 {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "%.40q is no cursor: a manifest has one as request.as_of", s)
	}
	return c, nil
}

func cursorOf(c *servicev1.Cursor) *ManifestCursor {
	if c == nil {
		return nil
	}
	m := &ManifestCursor{ServerEpoch: hex.EncodeToString(c.GetServerEpoch()), Parts: []ManifestPart{}}
	for _, p := range c.GetParts() {
		m.Parts = append(m.Parts, ManifestPart{
			Part: strconv.FormatUint(p.GetPart(), 16), Counter: strconv.FormatUint(p.GetCounter(), 10),
		})
	}
	slices.SortFunc(m.Parts, func(a, b ManifestPart) int {
		return strings.Compare(strings.Repeat("0", 16-len(a.Part))+a.Part, strings.Repeat("0", 16-len(b.Part))+b.Part)
	})
	return m
}
