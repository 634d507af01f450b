package server

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/export"
)

// The feed that Excel ("From OData Feed") and Power BI read: OData 4.0, minimal conformance, JSON, read only. There is a
// service per study at /odata/STUDY/, and an entity set for each table. The options of an export stand in the query and go
// on into the links of further pages, which are all of one state, whatever arrives meanwhile.

const (
	// feedPage is how many rows a page has unless the client asks for fewer or more, and feedPageMost how many at most.
	feedPage     = 1000
	feedPageMost = 10_000
	edmNamespace = "Hearth"
)

// asked is a request of the feed.
type asked struct {
	root    string // of the service, with a / at the end
	set     string
	rest    string     // behind the set
	options url.Values // those of the export
	system  url.Values // those that begin with $
	req     *servicev1.ExportRequest
	strings bool // whole numbers of 64 bits are written as strings
	meta    string
}

func notImplemented(format string, args ...any) error {
	return fault.New(fault.Invalid, fault.NotInFeed, format, args...)
}

// odata answers a request of the feed.
func (s *Server) odata(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("OData-Version", "4.0")
	w.Header().Set("Cache-Control", "no-store")
	a, err := readAsked(r, s.projector.builder.Zone)
	if err != nil {
		return err
	}
	if a.req.GetProfile() == servicev1.PrivacyProfile_PRIVACY_PROFILE_IDENTIFIED {
		return fault.New(fault.Permission, fault.ExportsOnly, "direct identifiers are in no feed: use hearth export")
	}
	for name := range a.system {
		if !slices.Contains([]string{"$top", "$skip", "$count", "$select", "$filter", "$format", "$skiptoken"}, name) {
			return notImplemented("%.40s is not supported: there are $top, $skip, $count, $select and $filter", name)
		}
	}
	if a.set == "$metadata" {
		if !accepts(r, "application/xml") {
			return notAcceptable("application/xml")
		}
		return s.odataSchema(ctx, w, a)
	}
	if !accepts(r, "application/json") || !slices.Contains([]string{"", "json", "application/json"}, strings.SplitN(a.system.Get("$format"), ";", 2)[0]) {
		return notAcceptable("application/json")
	}
	if a.set == "" {
		return s.odataService(ctx, w, a)
	}
	return s.odataSet(ctx, w, r, a)
}

// readAsked takes a URL and its headers apart.
func readAsked(r *http.Request, zone *time.Location) (*asked, error) {
	study, rest, slash := strings.Cut(strings.TrimPrefix(r.URL.Path, "/odata/"), "/")
	if study == "" {
		return nil, fault.New(fault.NotFound, fault.UnknownStudy, "name a study: /odata/STUDY/")
	}
	if v := r.Header.Get("OData-MaxVersion"); v != "" && v != "4.0" && v != "4.01" && !strings.HasPrefix(v, "4.") {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "this feed is OData 4.0, and at most %.10s is understood", v)
	}
	scheme := "http"
	if p := r.Header.Get("X-Forwarded-Proto"); p == "https" || r.TLS != nil {
		scheme = "https"
	}
	a := &asked{root: scheme + "://" + r.Host + "/odata/" + url.PathEscape(study) + "/", options: url.Values{}, system: url.Values{}}
	if slash {
		a.set, a.rest, _ = strings.Cut(rest, "/")
	}
	if at := strings.IndexByte(a.set, '('); at > 0 {
		a.set, a.rest = a.set[:at], a.set[at:]+strings.TrimPrefix("/"+a.rest, "/")
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fault.New(fault.Invalid, fault.BadRequest, "the query of the URL cannot be read: %w", err)
	}
	for name, v := range q {
		switch {
		case strings.HasPrefix(name, "$"):
			if len(v) > 1 {
				return nil, fault.New(fault.Invalid, fault.BadRequest, "%.40s stands twice in the URL", name)
			}
			a.system[name] = v
		default:
			a.options[name] = v
		}
	}
	if a.req, err = requestFrom(a.options, zone); err != nil {
		return nil, err
	}
	a.req.Study = &study
	accept := r.Header.Get("Accept") + ";" + a.system.Get("$format")
	a.strings = strings.Contains(accept, "IEEE754Compatible=true")
	a.meta = "minimal"
	if strings.Contains(accept, "odata.metadata=none") {
		a.meta = "none"
	}
	return a, nil
}

// accepts says whether a client takes a type.
func accepts(r *http.Request, want string) bool {
	given := r.Header.Get("Accept")
	if given == "" {
		return true
	}
	family, _, _ := strings.Cut(want, "/")
	for t := range strings.SplitSeq(given, ",") {
		t, rest, _ := strings.Cut(strings.TrimSpace(t), ";")
		if (t == want || t == "*/*" || t == family+"/*") && !strings.Contains(strings.ReplaceAll(rest, " ", ""), "q=0;") && strings.TrimSpace(rest) != "q=0" {
			return true
		}
	}
	return false
}

// notAcceptable is told as such: see odataError.
func notAcceptable(have string) error {
	return fault.New(fault.Invalid, fault.NotAcceptable, "this is there as %s alone", have)
}

// odataError says what is wrong as OData does.
func odataError(w http.ResponseWriter, code int, reason, said string) {
	switch fault.Reason(reason) {
	case fault.NotInFeed:
		code = http.StatusNotImplemented
	case fault.NotAcceptable:
		code = http.StatusNotAcceptable
	}
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": reason, "message": said}}) // the client has gone if this fails
}

func (a *asked) contentType() string {
	t := "application/json;odata.metadata=" + a.meta
	if a.strings {
		t += ";IEEE754Compatible=true"
	}
	return t
}

// link is a URL of the service with the options of the export, and system options behind.
func (a *asked) link(to string, system url.Values) string {
	q := url.Values{}
	for name, v := range a.options {
		q[name] = v
	}
	for name, v := range system {
		q[name] = v
	}
	if len(q) == 0 {
		return a.root + to
	}
	return a.root + to + "?" + strings.ReplaceAll(q.Encode(), "%24", "$")
}

// odataService is the service document: which sets there are.
func (s *Server) odataService(ctx context.Context, w http.ResponseWriter, a *asked) error {
	names, _, err := s.feedColumns(ctx, a.req)
	if err != nil {
		return err
	}
	type entry struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
		URL  string `json:"url"`
	}
	doc := struct {
		Context string  `json:"@odata.context,omitempty"`
		Value   []entry `json:"value"`
	}{Value: []entry{}}
	if a.meta != "none" {
		doc.Context = a.link("$metadata", nil)
	}
	for _, n := range names {
		doc.Value = append(doc.Value, entry{n, "EntitySet", strings.TrimPrefix(a.link(n, nil), a.root)})
	}
	w.Header().Set("Content-Type", a.contentType())
	return json.NewEncoder(w).Encode(doc)
}

// edmType is the type of a column.
func edmType(k export.Kind) string {
	switch k {
	case export.KindInteger:
		return "Edm.Int64"
	case export.KindCode, export.KindYesNo:
		return "Edm.Int32"
	case export.KindNumber:
		return "Edm.Double"
	case export.KindTime:
		return "Edm.DateTimeOffset"
	}
	return "Edm.String"
}

// odataSchema is $metadata: the sets and their columns, in the words of CSDL.
func (s *Server) odataSchema(ctx context.Context, w http.ResponseWriter, a *asked) error {
	names, columns, err := s.feedColumns(ctx, a.req)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(xml.Header + `<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>` +
		`<Schema Namespace="` + edmNamespace + `" xmlns="http://docs.oasis-open.org/odata/ns/edm">` + "\n")
	for _, n := range names {
		fmt.Fprintf(&b, `<EntityType Name="%s"><Key><PropertyRef Name="%s"/></Key>`+"\n", n, export.FeedRow)
		for _, c := range columns[n] {
			null := ""
			if c.Name == export.FeedRow {
				null = ` Nullable="false"`
			}
			fmt.Fprintf(&b, `<Property Name="%s" Type="%s"%s%s/>`+"\n", c.Name, edmType(c.Kind), null, map[bool]string{true: ` Precision="3"`}[c.Kind == export.KindTime])
		}
		b.WriteString("</EntityType>\n")
	}
	b.WriteString(`<EntityContainer Name="Container">` + "\n")
	for _, n := range names {
		fmt.Fprintf(&b, `<EntitySet Name="%s" EntityType="%s.%s"/>`+"\n", n, edmNamespace, n)
	}
	b.WriteString("</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>\n")
	w.Header().Set("Content-Type", "application/xml")
	_, err = w.Write([]byte(b.String()))
	return err
}

// odataSet answers with rows of a set, one row, or their number.
func (s *Server) odataSet(ctx context.Context, w http.ResponseWriter, r *http.Request, a *asked) error {
	f, err := s.feedOf(ctx, a)
	if err != nil {
		return err
	}
	q, err := readPage(a, r, f)
	if err != nil {
		return err
	}
	switch {
	case a.rest == "":
		return q.rows(w)
	case a.rest == "$count":
		n, err := q.count()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/plain")
		_, err = fmt.Fprint(w, n)
		return err
	case strings.HasPrefix(a.rest, "(") && strings.HasSuffix(a.rest, ")"):
		key := strings.TrimPrefix(strings.Trim(a.rest, "()"), export.FeedRow+"=")
		n, err := strconv.ParseInt(key, 10, 64)
		if err != nil || n < 1 || n > int64(len(f.starts)) {
			return fault.New(fault.NotFound, fault.BadRequest, "there is no row %.40s in %s", key, a.set)
		}
		return q.one(w, int(n-1))
	}
	return notImplemented("%.80s is not supported: ask for the set, a row as %s(1), or %s/$count", a.rest, a.set, a.set)
}

// page is which rows and columns are asked for.
type page struct {
	*asked
	feed    *feed
	columns []string // nil: all
	filter  predicate
	from    int // first row to look at
	skip    int
	top     int // -1: all
	size    int // of the page
	counted bool
	applied bool // the client's wish for the size of the page
}

func readPage(a *asked, r *http.Request, f *feed) (*page, error) {
	q := &page{asked: a, feed: f, top: -1, size: feedPage}
	number := func(name string, to *int) error {
		v := a.system.Get(name)
		if v == "" && !a.system.Has(name) {
			return nil
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return fault.New(fault.Invalid, fault.BadRequest, "%s=%.40s: it must be a whole number from 0", name, v)
		}
		*to = n
		return nil
	}
	if err := cmp.Or(number("$top", &q.top), number("$skip", &q.skip)); err != nil {
		return nil, err
	}
	if v := a.system.Get("$skiptoken"); v != "" {
		_, at, _ := strings.Cut(v, ".")
		n, err := strconv.Atoi(at)
		if err != nil || n < 0 || n > len(f.starts) {
			return nil, fault.New(fault.Invalid, fault.BadRequest, "$skiptoken=%.60s was not made here", v)
		}
		q.from, q.skip = n, 0
	}
	switch v := a.system.Get("$count"); v {
	case "", "false":
	case "true":
		q.counted = true
	default:
		return nil, fault.New(fault.Invalid, fault.BadRequest, "$count=%.40s: it must be true or false", v)
	}
	for p := range strings.SplitSeq(r.Header.Get("Prefer"), ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if n, err := strconv.Atoi(v); err == nil && n > 0 && strings.TrimPrefix(name, "odata.") == "maxpagesize" {
			q.size, q.applied = min(n, feedPageMost), true
		}
	}
	if v := a.system.Get("$select"); v != "" && v != "*" {
		for c := range strings.SplitSeq(v, ",") {
			if c = strings.TrimSpace(c); f.column(c) == nil {
				return nil, fault.New(fault.Invalid, fault.BadRequest, "$select: %s has no property %.40q", a.set, c)
			}
			q.columns = append(q.columns, c)
		}
	}
	if v := a.system.Get("$filter"); v != "" {
		var err error
		if q.filter, err = parseFilter(v, f); err != nil {
			return nil, err
		}
	}
	return q, nil
}
