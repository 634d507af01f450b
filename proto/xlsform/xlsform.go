// Package xlsform reads questionnaires written as XLSForms, the spreadsheets of ODK, KoboToolbox, Ona, Enketo and
// SurveyCTO, and makes the protobuf schema of each: questions, groups, repeats, choices, wording in several languages, and
// the XPath of relevance, constraints, filters, counts and calculations as CEL.
//
// It is for whoever publishes a form with Hearth. The numbers of questions and choices come from a lock file beside the
// form, so that a form that is edited and read again keeps them. What has no meaning to Hearth is kept by the header of its
// column, so that the form can be written again. Odd forms are read with warnings; an expression that cannot be
// translated is listed with its place, kept as it stands, and has no effect. The package does not evaluate
// expressions, and does not look for the media files and lists that a form names beyond the folder it is given.
package xlsform

import (
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Options of an import.
type Options struct {
	// Name is the file's name; it names the form where its settings do not.
	Name string
	// Lock has the numbers of an earlier import; nil for a form that is new.
	Lock *Lock
	// Media is the folder of the form's files, for lists kept as .csv; "" if there is none.
	Media string
	// Version of the questionnaire; 0 for the lock's version, or 1.
	Version uint32
	// Previous is the version before, if there is one. What it has and the form has no longer stays in the schema, and ends with
	// that version, so that answers given under it can be read for ever.
	Previous *descriptorpb.FileDescriptorSet
}

// Result is what an XLSForm gave.
type Result struct {
	// Files is the form's own file and all that it imports.
	Files *descriptorpb.FileDescriptorSet
	// Top is the full name of the questionnaire's top message: "form.household_survey.HouseholdSurvey".
	Top string
	// ProtoName is the name of the form's own file: "form/household_survey.proto".
	ProtoName string
	// Proto is the form's own file as text. It compiles to the same descriptors.
	Proto string
	// Lock is what the next import of the form must be given.
	Lock *Lock
	// Report says what was translated and what was not.
	Report *Report
}

// MaxFileBytes is the largest .xlsx that is read.
const MaxFileBytes = 64 << 20

// ImportFile reads the XLSForm of a path.
func ImportFile(path string, o Options) (*Result, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "", "read the form: %w: check the path", err)
	}
	if info.Size() > MaxFileBytes {
		return nil, fault.New(fault.TooLarge, fault.BadForm, "%s has %d MB; a form of more than %d MB is not read", filepath.Base(path), info.Size()>>20, MaxFileBytes>>20)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadForm, "read the form: %w", err)
	}
	if o.Name == "" {
		o.Name = filepath.Base(path)
	}
	return Import(data, o)
}

// Import reads the XLSForm in data, the bytes of an .xlsx.
func Import(data []byte, o Options) (*Result, error) {
	book, err := readWorkbook(data, o.Name)
	if err != nil {
		return nil, err
	}
	r, _, err := importBook(book, o)
	return r, err
}

// importBook makes the questionnaire of a workbook.
func importBook(book *workbook, o Options) (*Result, *form, error) {
	report := &Report{Form: o.Name}
	f, err := readForm(book, o, report)
	if err != nil {
		return nil, nil, err
	}
	lock := o.Lock.clone()
	if o.Version != 0 {
		lock.Version = o.Version
	}
	f.nameAll(lock)
	t := newTranslator(f, report)
	t.translateAll()
	t.breakCycles()
	lock.settleTypes(f, report)
	s := &schema{form: f, lock: lock, report: report, previous: o.Previous}
	files, main, err := s.build()
	if err != nil {
		return nil, nil, err
	}
	report.finish(f)
	return &Result{
		Files: files, Top: "form." + f.id + "." + f.top, ProtoName: main.GetName(), Proto: printProto(main), Lock: lock, Report: report,
	}, f, nil
}

// stem is a file's name without its folder and its ending.
func stem(name string) string {
	base := filepath.Base(name)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
