package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
)

// exportCmd makes data files.
type exportCmd struct {
	target
	Study   string   `help:"Only this study."`
	Format  []string `help:"csv, parquet, xlsx, dta (Stata), sav (SPSS), zsav (SPSS, packed), jsonl (JSON lines), geojson and gpkg (places, where the profile has coordinates), graphml (referrals and kin)." default:"csv,parquet,xlsx,dta,sav"`
	Profile string   `help:"research leaves out direct identifiers; identified keeps them." enum:"research,identified" default:"research"`
	Lang    string   `help:"Language of labels: en, zh, or another that questionnaires of the study have wordings in: fr, pt-BR." default:"en" env:"HEARTH_LANG"`
	Out     string   `short:"o" help:"Folder to write to." required:"" type:"path"`
}

// Run writes the files below the folder.
func (c *exportCmd) Run(e *env) error {
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	files, err := exportTo(e, cc, c)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintln(e.stdout, f)
	}
	return nil
}

// exportTo receives the files and returns their paths.
func exportTo(e *env, cc *conn, c *exportCmd) ([]string, error) {
	req := &servicev1.ExportRequest{Study: &c.Study, Language: &c.Lang}
	for _, f := range c.Format {
		n, ok := servicev1.ExportFormat_value["EXPORT_FORMAT_"+strings.ToUpper(f)]
		if !ok || n == 0 {
			return nil, fmt.Errorf("%w: --format %s: the formats are %s", errUsage, f, strings.Join(export.FormatNames(), ", "))
		}
		req.Formats = append(req.Formats, servicev1.ExportFormat(n))
	}
	profile := servicev1.PrivacyProfile(servicev1.PrivacyProfile_value["PRIVACY_PROFILE_"+strings.ToUpper(c.Profile)])
	req.Profile = &profile
	stream, err := servicev1.NewExportServiceClient(cc).Export(e.ctx, req)
	if err != nil {
		return nil, err
	}
	rx := &receiver{dir: c.Out}
	for {
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return rx.paths, rx.finish()
		}
		if err == nil && piece.GetPath() != "" {
			err = rx.take(piece)
		}
		if err != nil {
			return nil, errors.Join(err, rx.abandon())
		}
	}
}

// receiver puts the pieces of an export together: each file under a temporary name until it is whole.
type receiver struct {
	dir   string
	path  string // of the file under way
	file  *os.File
	paths []string
}

func (r *receiver) take(piece *servicev1.ExportResponse) error {
	if piece.GetPath() != r.path {
		if err := r.finish(); err != nil {
			return err
		}
		if !filepath.IsLocal(piece.GetPath()) {
			return fault.New(fault.Invalid, fault.BadRequest, "the server sent the path %q, which leaves the folder", piece.GetPath())
		}
		full := filepath.Join(r.dir, filepath.FromSlash(piece.GetPath()))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		f, err := os.Create(full + ".part")
		if err != nil {
			return err
		}
		r.path, r.file = piece.GetPath(), f
	}
	_, err := r.file.Write(piece.GetContent())
	return err
}

func (r *receiver) finish() error {
	if r.file == nil {
		return nil
	}
	part := r.file.Name()
	err := r.file.Close()
	r.file = nil
	full := strings.TrimSuffix(part, ".part")
	if err == nil {
		err = os.Rename(part, full)
	}
	r.paths = append(r.paths, full)
	return err
}

func (r *receiver) abandon() error {
	if r.file == nil {
		return nil
	}
	return errors.Join(r.file.Close(), os.Remove(r.file.Name()))
}
