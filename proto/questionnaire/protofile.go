package questionnaire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/reporter"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/hearth-survey/hearth/proto/fault"
)

// Bounds on the text of a questionnaire. The largest real one has 40,000 lines and nests four deep.
const (
	maxSourceBytes = 32 << 20
	maxNesting     = 100
	maxErrors      = 20
)

// CompileProto compiles the text of .proto files, by path, into a set of descriptors that is closed: main and all that it
// imports, each after what it needs. The options of questionnaires, the survey's own messages, buf.validate and protobuf's
// own files come from the program itself and need not be among the files; where they are, those of the program stand for
// them. The error names file, line and column of up to 20 mistakes.
func CompileProto(files map[string]string, main string) (*descriptorpb.FileDescriptorSet, error) {
	if _, ok := files[main]; !ok {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "file %s is not among those to compile", main)
	}
	size := 0
	for path, source := range files {
		if size += len(source); size > maxSourceBytes {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "the files to compile have more than %d MB of text", maxSourceBytes>>20)
		}
		if line, column, deep := tooDeep(source); deep {
			return nil, fault.New(fault.Invalid, fault.BadSchema, "%s:%d:%d: brackets are nested more than %d deep", path, line, column, maxNesting)
		}
	}
	var mistakes []string
	collect := func(err reporter.ErrorWithPos) error {
		mistakes = append(mistakes, err.Error())
		if len(mistakes) >= maxErrors {
			return errors.New("too many mistakes")
		}
		return nil
	}
	c := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			protocompile.ResolverFunc(linkedIn),
			&protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(files)},
		},
		Reporter:       reporter.NewReporter(collect, nil),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	compiled, err := c.Compile(context.Background(), main)
	if len(mistakes) > 0 {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "%s", strings.Join(mistakes, "\n"))
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "compile %s: %w", main, err)
	}
	return closedSet(compiled[0])
}

// linkedIn finds the files that belong to the program.
func linkedIn(path string) (protocompile.SearchResult, error) {
	for _, own := range []string{"google/protobuf/", "buf/validate/", "hearth/form/", "hearth/survey/"} {
		if strings.HasPrefix(path, own) {
			d, err := protoregistry.GlobalFiles.FindFileByPath(path)
			return protocompile.SearchResult{Desc: d}, err
		}
	}
	return protocompile.SearchResult{}, fs.ErrNotExist
}

// closedSet is a file and all that it imports, each once and after what it imports itself.
func closedSet(main linker.File) (*descriptorpb.FileDescriptorSet, error) {
	set := &descriptorpb.FileDescriptorSet{}
	importsFirst(main, func(f protoreflect.FileDescriptor) {
		if r, ok := f.(linker.Result); ok {
			set.File = append(set.File, r.FileDescriptorProto())
			return
		}
		if im, ok := f.(protoreflect.FileImport); ok {
			f = im.FileDescriptor
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	})
	// Written and read again, the options are those of generated Go.
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "write the descriptors of %s: %w", main.Path(), err)
	}
	set = &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, set); err != nil {
		return nil, fault.New(fault.Invalid, fault.BadSchema, "read the descriptors of %s: %w", main.Path(), err)
	}
	return set, nil
}

// tooDeep tells where the text of a file first nests brackets too deep for programs that read it by recursion.
func tooDeep(source string) (line, column int, deep bool) {
	line, column = 1, 0
	depth, quote := 0, byte(0)
	for i := 0; i < len(source); i++ {
		c := source[i]
		column++
		switch {
		case c == '\n':
			line, column, quote = line+1, 0, 0
		case quote != 0:
			if c == '\\' {
				i, column = i+1, column+1
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case strings.HasPrefix(source[i:], "//"):
			n := strings.IndexByte(source[i:], '\n')
			if n < 0 {
				return 0, 0, false
			}
			i += n - 1
		case strings.HasPrefix(source[i:], "/*"):
			n := strings.Index(source[i+2:], "*/")
			if n < 0 {
				return 0, 0, false
			}
			skipped := source[i : i+2+n+2]
			if at := strings.LastIndexByte(skipped, '\n'); at >= 0 {
				line, column = line+strings.Count(skipped, "\n"), len(skipped)-at-1
			} else {
				column += len(skipped) - 1
			}
			i += len(skipped) - 1
		case c == '{' || c == '[' || c == '(' || c == '<':
			if depth++; depth > maxNesting {
				return line, column, true
			}
		case c == '}' || c == ']' || c == ')' || c == '>':
			depth = max(depth-1, 0)
		}
	}
	return 0, 0, false
}

// placeIn says where a descriptor stands in its file, "school.proto:12:3: ", or nothing where the descriptors do not say.
// The option, where it is known at which place it stands, is more exact than the field.
func placeIn(d protoreflect.Descriptor, option ...int32) string {
	file := d.ParentFile()
	if file == nil {
		return ""
	}
	at := file.SourceLocations().ByDescriptor(d)
	if at.Path == nil {
		return ""
	}
	for n := len(option); n > 0; n-- {
		path := append(append(protoreflect.SourcePath(nil), at.Path...), option[:n]...)
		if exact := file.SourceLocations().ByPath(path); exact.Path != nil {
			at = exact
			break
		}
	}
	return fmt.Sprintf("%s:%d:%d: ", file.Path(), at.StartLine+1, at.StartColumn+1)
}
