package export

import (
	"archive/zip"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	"github.com/hearth-survey/hearth/proto/paper"
	"github.com/hearth-survey/hearth/proto/questionnaire"
	"github.com/hearth-survey/hearth/proto/xform"
	"github.com/hearth-survey/hearth/proto/xlsform"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// writeForms writes the questionnaires that were answered: their schemas as .proto text and as descriptors, which is what they
// are, a page of each to be read or printed, and an XLSForm, which other programs read.
func (j *job) writeForms() error {
	texts := map[string]string{}
	for _, q := range j.src.Questionnaires {
		name := clean(string(q.Descriptor().Name()))
		raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(questionnaire.WithoutPlaces(q.Files()))
		if err != nil {
			return fault.New(fault.Internal, "", "the schema of %s cannot be encoded: %w", q.Name(), err)
		}
		if err := j.writeFile("questionnaires/"+name+".binpb", raw); err != nil {
			return err
		}
		if err := protoTexts(q, texts); err != nil {
			return err
		}
		var page bytes.Buffer
		if err := paper.Write(&page, q.Descriptor(), paper.Options{}); err != nil {
			return fault.New(fault.Internal, "", "the page of %s: %w", q.Name(), err)
		}
		if err := j.writeFile("questionnaires/"+name+".html", page.Bytes()); err != nil {
			return err
		}
		var book bytes.Buffer
		left, err := xlsform.Write(q, &book, xform.Options{})
		if err == nil {
			raw, err = sameZip(book.Bytes())
		}
		if err != nil {
			j.warnings = append(j.warnings, fmt.Sprintf("there is no XLSForm of %s: %v", q.Name(), err))
			continue
		}
		if len(left) > 0 {
			j.warnings = append(j.warnings, fmt.Sprintf("the XLSForm of %s leaves out %d rules that XPath cannot say; the .proto has them, and hearth form export --as xlsform names them", q.Name(), len(left)))
		}
		if err := j.writeFile("questionnaires/"+name+".xlsx", raw); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := j.writeFile("questionnaires/proto/"+name, []byte(texts[name])); err != nil {
			return err
		}
	}
	return nil
}

// protoTexts adds the text of each file of a questionnaire's schema, but for those of protobuf itself and of protovalidate.
func protoTexts(q *questionnaire.Questionnaire, texts map[string]string) error {
	files, err := protodesc.NewFiles(q.Files())
	if err != nil {
		return fault.New(fault.Internal, "", "the schema of %s cannot be read: %w", q.Name(), err)
	}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "google/") || strings.HasPrefix(f.Path(), "buf/") {
			return true
		}
		name := f.Path()
		if !fs.ValidPath(name) || strings.ContainsAny(name, `\:`) {
			name = path.Base(strings.NewReplacer(`\`, "/", ":", "/").Replace(name))
		}
		texts[name] = xlsform.ProtoText(f)
		return true
	})
	return nil
}

func (j *job) writeFile(name string, content []byte) error {
	f, err := j.sink.create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	return f.close()
}

// sameZip puts the parts of a workbook in order and takes their times away, so that the same form has the same bytes.
func sameZip(b []byte) ([]byte, error) {
	in, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(in.File, func(a, b *zip.File) int { return cmp.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range in.File {
		part, err := f.OpenRaw()
		if err != nil {
			return nil, err
		}
		to, err := w.CreateRaw(&zip.FileHeader{
			Name: f.Name, Method: f.Method, CRC32: f.CRC32, CompressedSize64: f.CompressedSize64, UncompressedSize64: f.UncompressedSize64,
		})
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(to, part); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
