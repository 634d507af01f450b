package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/hearth-survey/hearth/"

// goFile is a parsed source file of the tree.
type goFile struct {
	path string // relative to the root
	ast  *ast.File
	set  *token.FileSet
	src  string
}

func (f goFile) generated() bool { return strings.HasSuffix(f.path, ".pb.go") }
func (f goFile) test() bool      { return strings.HasSuffix(f.path, "_test.go") }
func (f goFile) dir() string     { return filepath.ToSlash(filepath.Dir(f.path)) }

// parseTree reads every Go file below the root, once.
func parseTree(t *testing.T) []goFile {
	t.Helper()
	files, err := tree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 40 {
		t.Fatalf("found only %d Go files: the walk does not see the tree", len(files))
	}
	return files
}

var tree = sync.OnceValues(func() ([]goFile, error) {
	root := filepath.Join("..", "..")
	var files []goFile
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && rel != "." || d.Name() == "node_modules" || rel == "bin" || rel == "demo") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path, src, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, goFile{path: filepath.ToSlash(rel), ast: parsed, set: set, src: string(src)})
		return nil
	})
	return files, err
})

// floor is how high a package stands; imports point down, or sideways within proto.
func floor(dir string) int {
	switch {
	case strings.HasPrefix(dir, "proto"), strings.HasPrefix(dir, "server/export/"), // file formats know nothing of Hearth
		dir == "syncer/faultdisk", dir == "syncer/plant", dir == "syncer/failpoint", dir == "syncer/durable", dir == "syncer/prepared": // empty functions, marks in every package
		return 0
	case dir == "syncer", dir == "server/dedup", dir == "server/referral", dir == "server/monitor", dir == "server/export", dir == "server/projection", dir == "server/qr":
		return 1
	case dir == "syncer/tablet", dir == "server/store", dir == "server/store/blobs", dir == "server/linkage":
		return 2
	case dir == "syncer/syncertest", dir == "server/store/storetest", dir == "server/store/sqlite", dir == "server", dir == "server/relay", dir == "study":
		return 3
	case dir == "syncer/syncertest/sim": // a whole field team, headquarters too, in one process
		return 4
	case strings.HasPrefix(dir, "cmd/"):
		return 5
	}
	return -1
}

// sideways are the imports within one floor that are meant.
var sideways = map[[2]string]bool{
	{"server/projection", "syncer"}:                   true, // which revision is shown is the syncer's rule, the same everywhere
	{"server/referral", "server/qr"}:                  true, // coupons carry QR pictures
	{"server/linkage", "server/store"}:                true, // what it keeps stands in the store's index
	{"server/store/sqlite", "server/store/storetest"}: true,
}

func TestImportsPointDown(t *testing.T) {
	for _, f := range parseTree(t) {
		from := floor(f.dir())
		if from < 0 {
			t.Errorf("%s is in a package that has no floor: put it where the house says, or give it one here with a reason", f.path)
			continue
		}
		for _, imp := range f.ast.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if !strings.HasPrefix(path, module) || f.test() {
				continue
			}
			to := strings.TrimPrefix(path, module)
			if floor(to) > from || floor(to) == from && from != 0 && !sideways[[2]string{f.dir(), to}] {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports point down", f.path, from, to, floor(to))
			}
		}
	}
}

// The pure packages take messages and return messages: no SQL, no gRPC, no network, no clock.
func TestPurePackagesStayPure(t *testing.T) {
	banned := map[string]string{
		"database/sql": "no SQL", "net": "no network", "net/http": "no network", "google.golang.org/grpc": "no gRPC",
		"os/exec": "no processes", "modernc.org/sqlite": "no SQL",
	}
	seen := 0
	for _, f := range parseTree(t) {
		if floor(f.dir()) != 1 || f.test() {
			continue
		}
		seen++
		for _, imp := range f.ast.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			if why, bad := banned[path]; bad {
				t.Errorf("%s imports %s: %s in a pure package", f.path, path, why)
			}
		}
		if strings.Contains(f.src, "time.Now(") {
			t.Errorf("%s reads the clock: take the time as an argument", f.path)
		}
	}
	if seen < 10 {
		t.Fatalf("found only %d files in pure packages", seen)
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	docs := map[string][]string{}
	for _, f := range parseTree(t) {
		if f.test() || strings.HasPrefix(f.dir(), "proto/hearth") {
			continue
		}
		if _, ok := docs[f.dir()]; !ok {
			docs[f.dir()] = nil
		}
		if f.ast.Doc != nil {
			docs[f.dir()] = append(docs[f.dir()], f.ast.Doc.Text())
		}
	}
	if len(docs) < 10 {
		t.Fatalf("found only %d packages", len(docs))
	}
	for dir, texts := range docs {
		if len(texts) != 1 {
			t.Errorf("package %s has %d doc comments, want 1", dir, len(texts))
			continue
		}
		if len(texts[0]) < 120 || !strings.Contains(texts[0], "not") && !strings.Contains(texts[0], " no ") {
			t.Errorf("the doc of package %s does not say what it is, for whom, and what it will not do", dir)
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	for _, f := range parseTree(t) {
		if f.test() || f.generated() {
			continue
		}
		for _, decl := range f.ast.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					t.Errorf("%s: %s has no doc comment", f.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				checkSpecs(t, f, d)
			}
		}
	}
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch x := typ.(type) {
		case *ast.StarExpr:
			typ = x.X
		case *ast.IndexExpr:
			typ = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}

func checkSpecs(t *testing.T, f goFile, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
				t.Errorf("%s: type %s has no doc comment", f.set.Position(s.Pos()), s.Name.Name)
			}
		case *ast.ValueSpec:
			for _, n := range s.Names {
				if n.IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					t.Errorf("%s: %s has no doc comment", f.set.Position(s.Pos()), n.Name)
				}
			}
		}
	}
}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, f := range parseTree(t) {
		if f.generated() || f.test() {
			continue
		}
		if n := strings.Count(f.src, "\n"); n > 600 {
			t.Errorf("%s has %d lines, the limit is 600", f.path, n)
		}
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Body != nil {
				lines := f.set.Position(d.End()).Line - f.set.Position(d.Pos()).Line + 1
				if lines > 80 {
					t.Errorf("%s: %s has %d lines, the limit is 80", f.set.Position(d.Pos()), d.Name.Name, lines)
				}
			}
		}
	}
}

func TestNoInitAndNoExit(t *testing.T) {
	for _, f := range parseTree(t) {
		if f.generated() || f.test() {
			continue
		}
		for _, decl := range f.ast.Decls {
			if d, ok := decl.(*ast.FuncDecl); ok && d.Name.Name == "init" && d.Recv == nil {
				t.Errorf("%s: init work hides wiring; do it in cmd/hearth", f.set.Position(d.Pos()))
			}
		}
		if strings.Contains(f.src, "os.Exit(") && f.path != "cmd/hearth/main.go" {
			t.Errorf("%s calls os.Exit; only main may", f.path)
		}
	}
}

// The top level holds what the house names, and what stands here with its reason.
func TestTopLevel(t *testing.T) {
	want := []string{
		".ci", ".git", ".gitignore", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "cmd", "go.mod", "go.sum",
		"clients", "proto", "server", "syncer",
		"study",     // the bundled study, in a folder of its own
		"tools.mod", // tools that would move the product's versions if they stood in go.mod
		"tools.sum",
	}
	untracked := []string{"bin", "demo", "hearth", "node_modules"} // made by make, ignored by git
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) && !slices.Contains(untracked, e.Name()) {
			t.Errorf("%s stands at the top level: it belongs into one of the folders there", e.Name())
		}
	}
	for _, name := range want {
		if _, err := os.Stat(filepath.Join("..", "..", name)); err != nil && name != ".git" {
			t.Errorf("%s is missing", name)
		}
	}
}

// A reason given must stand in the catalogue, where it says what to do; only errors of the machine have none.
func TestReasonsComeFromTheCatalogue(t *testing.T) {
	seen := 0
	for _, f := range parseTree(t) {
		if f.test() || f.generated() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "New" {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "fault" {
				return true
			}
			seen++
			if lit, ok := call.Args[1].(*ast.BasicLit); ok && lit.Value != `""` {
				t.Errorf("%s: reason %s is not of the catalogue in proto/fault", f.set.Position(call.Pos()), lit.Value)
			}
			return true
		})
	}
	if seen < 50 {
		t.Fatalf("found only %d errors made", seen)
	}
}
