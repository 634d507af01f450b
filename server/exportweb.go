package server

import (
	"archive/zip"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
	"google.golang.org/protobuf/proto"
)

// everything is the name under which all files of an export are downloaded at once.
const everything = "all.zip"

// download answers GET /export/STUDY/csv/person.csv, or any other file of an export, and GET /export/STUDY/all.zip. What is
// asked of `hearth export` by flags is asked here by the query: ?profile=research&site=a&site=b&as_of=... The export is made
// in a temporary file before the first byte is sent: an error is an error then, and not half a file, and whoever reads
// slowly holds up nobody.
func (s *Server) download(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	study, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/export/"), "/")
	if study == "" || file == "" {
		return fault.New(fault.NotFound, fault.BadRequest, "name a study and a file: /export/STUDY/csv/person.csv, stata/person.dta, spss/person.sav, xlsx/study.xlsx, parquet/person.parquet, jsonl/person.jsonl, codebook.html, manifest.json, or all.zip")
	}
	req, err := requestFrom(r.URL.Query(), s.projector.builder.Zone)
	if err != nil {
		return err
	}
	req.Study = &study
	if file != everything {
		if err := narrowTo(req, file); err != nil {
			return err
		}
	}
	if err := s.Project(ctx); err != nil {
		return err
	}
	now, err := s.store.Projected(ctx)
	if err != nil {
		return fmt.Errorf("find how far the projections are: %w", err)
	}
	etag := s.etag(req, file, now.Proto())
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", "private, no-cache") // it may be kept, and is asked for each time whether it is still so
	if slices.Contains(tags(r.Header.Get("If-None-Match")), etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	out, cursor, err := s.exportFile(ctx, req, file)
	if err != nil {
		return err
	}
	defer out.Close()
	h.Set("ETag", s.etag(req, file, cursor))
	h.Set("Content-Type", contentType(file))
	h.Set("Content-Disposition", disposition(study, file))
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, out)
	return nil
}

// exportFile makes one file of an export, or all in a zip, in a temporary file that has no name.
func (s *Server) exportFile(ctx context.Context, req *servicev1.ExportRequest, file string) (*os.File, *servicev1.Cursor, error) {
	job, err := s.prepareExport(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	defer job.close()
	f, err := temporary("hearth-export-*", "make "+file)
	if err != nil {
		return nil, nil, err
	}
	p := &picker{file: file, out: f}
	if file == everything {
		p.zip = zip.NewWriter(f)
	}
	sink := &streamSink{send: p.take}
	defer sink.discard()
	_, err = export.Write(ctx, *job.source, job.options, sink, nil)
	if err == nil && p.zip != nil {
		if err = p.zip.Close(); err != nil {
			err = noRoom("make "+file, err)
		}
	}
	if err == nil && !p.found {
		err = fault.New(fault.NotFound, fault.BadRequest, "an export with these options has no file %.80q: manifest.json lists those there are", file)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, job.source.Cursor, nil
}

// picker takes the files of an export one after the other, and keeps the one that was asked for, or all in a zip.
type picker struct {
	file  string
	out   *os.File
	zip   *zip.Writer
	found bool

	path string
	to   io.Writer
}

// zipTime is the time of all files in a zip, so that the same export has the same bytes.
var zipTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func (p *picker) take(piece *servicev1.ExportResponse) (err error) {
	if piece.GetPath() != p.path {
		p.path, p.to = piece.GetPath(), io.Discard
		switch {
		case p.zip != nil:
			if p.to, err = p.zip.CreateHeader(&zip.FileHeader{Name: p.path, Method: zip.Deflate, Modified: zipTime}); err != nil {
				return noRoom("make "+p.path, err)
			}
			p.found = true
		case p.path == p.file:
			p.to, p.found = p.out, true
		}
	}
	if _, err := p.to.Write(piece.GetContent()); err != nil {
		return noRoom("make "+p.path, err)
	}
	return nil
}

// narrowTo asks for no more than one file needs.
func narrowTo(req *servicev1.ExportRequest, file string) error {
	format, level := export.FormatOfPath(file)
	if format == "" && file == "manifest.json" {
		return nil // it lists the files of all formats asked for
	}
	format = cmp.Or(format, "csv") // a codebook is the same whatever else is made
	n, ok := servicev1.ExportFormat_value["EXPORT_FORMAT_"+strings.ToUpper(format)]
	if !ok || n == 0 {
		return fault.New(fault.NotFound, fault.BadRequest, "no export has a file %.80q", file)
	}
	req.Formats = []servicev1.ExportFormat{servicev1.ExportFormat(n)}
	if level != "" {
		req.Filter.Levels = []string{level}
	}
	return nil
}

// etag names the bytes of a file: of the state, the options, and the program that writes it.
func (s *Server) etag(req *servicev1.ExportRequest, file string, cursor *servicev1.Cursor) string {
	req = proto.CloneOf(req)
	req.Reason, req.RequestedBy = nil, nil // they change no byte
	if req.AsOf != nil {
		cursor = req.AsOf
	}
	h := sha256.New()
	for _, m := range []proto.Message{req, cursor} {
		raw, _ := proto.MarshalOptions{Deterministic: true}.Marshal(m) // what came as a message can be written as one
		fmt.Fprintln(h, len(raw))
		h.Write(raw)
	}
	fmt.Fprint(h, file, "\x00", s.version)
	return `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// tags are those of a header.
func tags(header string) (out []string) {
	for t := range strings.SplitSeq(header, ",") {
		out = append(out, strings.TrimPrefix(strings.TrimSpace(t), "W/"))
	}
	return out
}

// contentType is by the ending of a name.
func contentType(file string) string {
	switch path.Ext(file) {
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".json":
		return "application/json"
	case ".jsonl":
		return "application/jsonl"
	case ".geojson":
		return "application/geo+json"
	case ".xml", ".graphml":
		return "application/xml"
	case ".zip":
		return "application/zip"
	case ".xlsx":
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case ".parquet":
		return "application/vnd.apache.parquet"
	case ".gpkg":
		return "application/geopackage+sqlite3"
	}
	return "application/octet-stream"
}

// disposition is the name under which a browser keeps a file.
func disposition(study, file string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": study + "-" + path.Base(file)})
}

// requestFrom reads the query of a URL. Days begin at midnight of a zone.
func requestFrom(q url.Values, zone *time.Location) (*servicev1.ExportRequest, error) {
	req := &servicev1.ExportRequest{Filter: &servicev1.ExportFilter{}, Anonymity: &servicev1.Anonymity{}, Weights: proto.Bool(true)}
	f := req.Filter
	for name, values := range q {
		last := values[len(values)-1]
		bad := func(want string) error {
			return fault.New(fault.Invalid, fault.BadRequest, "%s=%.80s in the URL: %s", name, last, want)
		}
		switch name {
		case "profile":
			n, ok := servicev1.PrivacyProfile_value["PRIVACY_PROFILE_"+strings.ToUpper(last)]
			if !ok || n == 0 {
				return nil, bad("the profiles are research, public and identified")
			}
			req.Profile = servicev1.PrivacyProfile(n).Enum()
		case "format":
			for _, v := range list(values) {
				n, ok := servicev1.ExportFormat_value["EXPORT_FORMAT_"+strings.ToUpper(v)]
				if !ok || n == 0 {
					return nil, bad("the formats are " + strings.Join(export.FormatNames(), ", "))
				}
				req.Formats = append(req.Formats, servicev1.ExportFormat(n))
			}
		case "lang":
			req.Language = &last
		case "reason":
			req.Reason = &last
		case "by":
			req.RequestedBy = &last
		case "site":
			f.Sites = list(values)
		case "enumerator":
			f.Enumerators = list(values)
		case "questionnaire":
			f.Questionnaires = list(values)
		case "level":
			f.Levels = list(values)
		case "quasi":
			req.Anonymity.QuasiIdentifiers = list(values)
		default:
			if err := readOther(req, name, last, list(values), zone, bad); err != nil {
				return nil, err
			}
		}
	}
	return req, nil
}

// readOther reads what is a number, a time or a cursor.
func readOther(req *servicev1.ExportRequest, name, last string, all []string, zone *time.Location, bad func(string) error) error {
	f := req.Filter
	yes := last == "" || last == "1" || last == "true"
	switch name {
	case "include":
		req.Include = &last
	case "duplicates":
		req.Duplicates = &last
	case "conflicts":
		req.Conflicts = &last
	case "left_out":
		req.LeftOut = &last
	case "skipped":
		req.Skipped = &last
	case "weights":
		req.Weights = &yes
	case "suppress":
		req.Anonymity.Suppress = &yes
	case "free_text":
		req.FreeText = &yes
	case "k", "round":
		for _, v := range all {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return bad("it must be a number")
			}
			if name == "k" {
				req.Anonymity.K = proto.Uint32(uint32(n))
			} else {
				f.Rounds = append(f.Rounds, uint32(n))
			}
		}
	case "result":
		for _, v := range all {
			n, known := export.ResultNamed(v)
			if n == 0 {
				return bad("the results are " + strings.Join(known, ", "))
			}
			f.Results = append(f.Results, n)
		}
	case "from", "before", "as_of":
		at, err := time.Parse(time.RFC3339, last)
		if day, e := time.ParseInLocation(time.DateOnly, last, zone); e == nil {
			if at, err = day, nil; name == "as_of" { // its end
				at = day.AddDate(0, 0, 1).Add(-time.Millisecond)
			}
		}
		switch {
		case err == nil && name == "as_of":
			req.AsOfTimeMs = proto.Int64(at.UnixMilli())
		case err == nil && name == "from":
			f.FromTimeMs = proto.Int64(at.UnixMilli())
		case err == nil:
			f.BeforeTimeMs = proto.Int64(at.UnixMilli())
		case name != "as_of":
			return bad("it must be a day such as 2016-07-21, or a time such as 2016-07-21T18:00:00Z")
		default:
			if req.AsOf, err = export.ParseCursorText(last); err != nil {
				return err
			}
		}
	default:
		return bad("there is no such option: there are profile, format, lang, level, site, enumerator, result, round, questionnaire, from, before, as_of, include, duplicates, conflicts, left_out, skipped, weights, quasi, k, suppress, free_text, reason, by")
	}
	return nil
}

// list takes apart values that stand with commas between, or several times.
func list(values []string) (out []string) {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
