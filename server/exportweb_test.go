package server

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// get asks for a page, with headers in pairs.
func get(t *testing.T, d *desk, method, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(raw)
}

// library is a server with interviews at two sites.
func library(t *testing.T, n int) (*desk, *tablet) {
	t.Helper()
	d := newDesk(t, openSQLite(t, t.TempDir()))
	tb := newTablet("library")
	tb.greet(t, d)
	var raws [][]byte
	for i := range n {
		iv := household(i)
		iv.SiteId = proto.String([]string{"school-c", "o'clock"}[i%2])
		raws = append(raws, tb.record(t, iv, nil))
	}
	tb.push(t, d, raws...)
	return d, tb
}

func TestDownload(t *testing.T) {
	d, tb := library(t, 12)
	files, _ := exported(t, d, &servicev1.ExportRequest{Study: proto.String("guiyang"), Weights: proto.Bool(true), Formats: []servicev1.ExportFormat{asCSV, servicev1.ExportFormat_EXPORT_FORMAT_DTA, servicev1.ExportFormat_EXPORT_FORMAT_PARQUET}})
	for path, kind := range map[string]string{"csv/person.csv": "text/csv; charset=utf-8", "stata/person.dta": "application/octet-stream", "codebook.html": "text/html; charset=utf-8", "parquet/household.parquet": "application/vnd.apache.parquet"} {
		resp, body := get(t, d, http.MethodGet, "/export/guiyang/"+path)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != kind {
			t.Fatalf("%s: %s %s %.200s", path, resp.Status, resp.Header.Get("Content-Type"), body)
		}
		if path != "codebook.html" && body != string(files[path]) {
			t.Errorf("%s has %d bytes, that of the export %d", path, len(body), len(files[path]))
		}
		if got := resp.Header.Get("Content-Disposition"); !strings.Contains(got, "guiyang-"+filepath.Base(path)) {
			t.Errorf("%s is called %s", path, got)
		}
	}
	if got := disposition("贵阳", "csv/person.csv"); got != "attachment; filename*=utf-8''%E8%B4%B5%E9%98%B3-person.csv" {
		t.Errorf("a Chinese study is called %s", got)
	}
	resp, body := get(t, d, http.MethodGet, "/export/guiyang/csv/person.csv")
	etag := resp.Header.Get("ETag")
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		code               int
		body               string
	}{
		{"the same again", http.MethodGet, "csv/person.csv", []string{"If-None-Match", `W/"x", ` + etag}, http.StatusNotModified, ""},
		{"other options", http.MethodGet, "csv/person.csv?site=school-c", []string{"If-None-Match", etag}, http.StatusOK, "*"},
		{"head", http.MethodHead, "csv/person.csv", nil, http.StatusOK, ""},
		{"range", http.MethodGet, "csv/person.csv", []string{"Range", "bytes=10-19", "If-Range", etag}, http.StatusPartialContent, body[10:20]},
		{"user and password", http.MethodGet, "csv/person.csv", []string{"Authorization", "Basic " + basic("wang", testToken)}, http.StatusOK, body},
		{"wrong password", http.MethodGet, "csv/person.csv", []string{"Authorization", "Basic " + basic("wang", "x")}, http.StatusUnauthorized, "*"},
		{"nobody", http.MethodGet, "csv/person.csv", []string{"Authorization", ""}, http.StatusUnauthorized, "*"},
		{"no study", http.MethodGet, "../lhasa/csv/person.csv", nil, http.StatusNotFound, "*"},
		{"no file", http.MethodGet, "csv/people.csv", nil, http.StatusBadRequest, "*"},
		{"no such kind", http.MethodGet, "csv/person.exe", nil, http.StatusNotFound, "*"},
		{"no such option", http.MethodGet, "csv/person.csv?sites=a", nil, http.StatusBadRequest, "*"},
		{"names without a reason", http.MethodGet, "csv/person.csv?profile=identified", nil, http.StatusBadRequest, "*"},
		{"a public file that singles out", http.MethodGet, "csv/person.csv?profile=public&quasi=person.age", nil, http.StatusConflict, "*"},
		{"post", http.MethodPost, "csv/person.csv", nil, http.StatusMethodNotAllowed, ""},
	} {
		resp, got := get(t, d, tt.method, "/export/guiyang/"+tt.path, tt.headers...)
		if resp.StatusCode != tt.code || tt.body != "*" && got != tt.body {
			t.Errorf("%s: %s %.300s", tt.name, resp.Status, got)
		}
		if resp.StatusCode == http.StatusUnauthorized && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
			t.Errorf("%s: nobody is asked for a password", tt.name)
		}
	}
	if resp, body := get(t, d, http.MethodGet, "/export/guiyang/csv/person.csv?profile=identified&by=S01&reason=linkage"); resp.StatusCode != http.StatusOK || !strings.Contains(body, canary) {
		t.Errorf("with a reason: %s", resp.Status)
	}
	_, one := get(t, d, http.MethodGet, "/export/guiyang/all.zip?format=csv&level=person")
	_, two := get(t, d, http.MethodGet, "/export/guiyang/all.zip?format=csv&level=person")
	z, err := zip.NewReader(strings.NewReader(one), int64(len(one)))
	if err != nil || one != two {
		t.Fatalf("all.zip: %v, twice the same: %v", err, one == two)
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	if !slices.Contains(names, "csv/person.csv") || !slices.Contains(names, "manifest.json") || slices.Contains(names, "csv/household.csv") {
		t.Errorf("all.zip has %q", names)
	}
	tb.push(t, d, tb.record(t, household(40), nil))
	if resp, _ := get(t, d, http.MethodGet, "/export/guiyang/csv/person.csv", "If-None-Match", etag); resp.StatusCode != http.StatusOK || resp.Header.Get("ETag") == etag {
		t.Errorf("after another interview: %s", resp.Status)
	}
	if strings.Contains(d.log.String(), testToken) {
		t.Error("the token is in the log")
	}
}

// basic is a user and a password as they stand in a header.
func basic(user, password string) string {
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// The token for exports opens those without direct identifiers, and nothing else.
func TestExportToken(t *testing.T) {
	d, _ := library(t, 6)
	sum := sha256.Sum256([]byte("only exports"))
	d.exportToken = sum[:]
	const mine = "Bearer only exports"
	for path, code := range map[string]int{
		"/export/guiyang/csv/person.csv": http.StatusOK, "/odata/guiyang/": http.StatusOK,
		"/export/guiyang/csv/person.csv?profile=identified&reason=a&by=b": http.StatusForbidden,
	} {
		if resp, body := get(t, d, http.MethodGet, path, "Authorization", mine); resp.StatusCode != code {
			t.Errorf("%s: %s %.200s", path, resp.Status, body)
		}
	}
	_, err := servicev1.NewMonitorServiceClient(d.conn).ListDevices(bearing(t.Context(), "only exports"), &servicev1.ListDevicesRequest{})
	wants(t, err, codes.PermissionDenied, "EXPORTS_ONLY")
	_, err = servicev1.NewExportServiceClient(d.conn).ListExports(bearing(t.Context(), "only exports"), &servicev1.ListExportsRequest{})
	wants(t, err, codes.PermissionDenied, "EXPORTS_ONLY")
}

// bearing is a context that carries a token.
func bearing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// While somebody reads a download slowly, tablets sync, and no transaction of the store is held open: its log can be
// taken over into the database.
func TestSlowReader(t *testing.T) {
	d, tb := library(t, 40)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.addr+"/export/guiyang/all.zip?format=csv,dta,sav", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 10)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		tb.push(t, d, tb.record(t, household(100+i), nil))
	}
	if err := d.Project(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := servicev1.NewMonitorServiceClient(d.conn).CountInterviews(with(t.Context()), &servicev1.CountInterviewsRequest{}); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	whole := append(first, rest...)
	if _, err := zip.NewReader(bytes.NewReader(whole), int64(len(whole))); err != nil {
		t.Errorf("what was read slowly is no zip: %v", err)
	}
}

// A download that is cut leaves no file behind.
func TestCutDownload(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, _ := library(t, 12)
	client := &http.Client{Timeout: 30 * time.Millisecond}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.addr+"/export/guiyang/all.zip", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	if resp, err := client.Do(req); err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	for range 100 {
		if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	left, _ := os.ReadDir(os.TempDir())
	t.Errorf("left behind: %v", left)
}

// R and pandas read a URL, with the password that Excel would be asked for.
func TestProgramsReadURL(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: other people's programs")
	}
	d, _ := library(t, 12)
	at := "http://" + url.UserPassword("analyst", testToken).String() + "@" + d.addr + "/export/guiyang/"
	run := func(name string, args ...string) {
		t.Helper()
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("HEARTH_READERS") == "all" {
				t.Fatal(err)
			}
			t.Logf("skipped: %s is not installed", name)
			return
		}
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "24 24" {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	run("/usr/bin/python3", "-c", `import sys, base64, pandas as pd
auth = {"Authorization": "Basic " + base64.b64encode(("analyst:" + sys.argv[2]).encode()).decode()}
a = pd.read_csv(sys.argv[1] + "csv/person.csv", storage_options=auth)
b = pd.read_stata(sys.argv[1] + "stata/person.dta", storage_options=auth, convert_categoricals=False, columns=["line_number"])
print(len(a), len(b))`, "http://"+d.addr+"/export/guiyang/", testToken)
	run("Rscript", "-e", `a <- read.csv(url(paste0(commandArgs(TRUE)[1], "csv/person.csv"), headers = c(Authorization = commandArgs(TRUE)[2])), fileEncoding = "UTF-8-BOM")
f <- tempfile(fileext = ".dta"); download.file(paste0(commandArgs(TRUE)[1], "stata/person.dta"), f, quiet = TRUE, mode = "wb", headers = c(Authorization = commandArgs(TRUE)[2]))
cat(nrow(a), nrow(haven::read_dta(f)), "\n")`, "http://"+d.addr+"/export/guiyang/", "Basic "+basic("analyst", testToken))
	run("curl", "-sfo", "/dev/null", "-w", "24 24", at+"xlsx/study.xlsx")
}

// The list of OData 4.0, part 1, 13.1.1, minimal conformance, item by item, as far as it concerns a service that is read.
func TestODataConformance(t *testing.T) {
	d, tb := library(t, 30)
	ask := func(path string, headers ...string) (*http.Response, map[string]any) {
		t.Helper()
		resp, body := get(t, d, http.MethodGet, strings.ReplaceAll(path, " ", "%20"), headers...)
		out := map[string]any{}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			if err := json.Unmarshal([]byte(body), &out); err != nil {
				t.Fatalf("%s: %v in %s", path, err, body)
			}
		}
		if resp.Header.Get("OData-Version") != "4.0" { // 4. the version header
			t.Errorf("%s: OData-Version %q", path, resp.Header.Get("OData-Version"))
		}
		return resp, out
	}
	// 1. a service document at the root; 2. in JSON.
	resp, doc := ask("/odata/guiyang/")
	if resp.StatusCode != 200 || !strings.HasSuffix(doc["@odata.context"].(string), "/odata/guiyang/$metadata") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json;odata.metadata=minimal") {
		t.Fatalf("service document: %s %v", resp.Status, doc)
	}
	var person map[string]any
	for _, v := range doc["value"].([]any) {
		if e := v.(map[string]any); e["name"] == "person" {
			person = e
		}
	}
	if person == nil || person["url"] != "person" || person["kind"] != "EntitySet" {
		t.Fatalf("person is %v", person)
	}
	// 8. only types of CSDL, as $metadata has them.
	_, schema := get(t, d, http.MethodGet, "/odata/guiyang/$metadata", "Accept", "application/xml")
	types := edmTypes(t, schema, "person")
	if types["row"] != "Edm.Int64" || types["sex"] != "Edm.Int32" || types["sex_label"] != "Edm.String" || types["missing_reasons"] != "Edm.String" {
		t.Errorf("types of person: %v", types)
	}
	// 3. paging by the server, which keeps to one state.
	var rows []map[string]any
	next := "/odata/guiyang/person?$count=true"
	pages := 0
	for next != "" {
		resp, page := ask(next, "Prefer", "odata.maxpagesize=25")
		if resp.StatusCode != 200 || resp.Header.Get("Preference-Applied") != "odata.maxpagesize=25" || page["@odata.count"] != 60.0 {
			t.Fatalf("page %d: %s %v", pages, resp.Status, page["@odata.count"])
		}
		for _, v := range page["value"].([]any) {
			rows = append(rows, v.(map[string]any))
		}
		if pages++; pages == 1 {
			tb.push(t, d, tb.record(t, household(50), nil)) // not seen by the pages that follow
		}
		link, _ := page["@odata.nextLink"].(string)
		next = strings.TrimPrefix(link, "http://"+d.addr)
	}
	if pages != 3 || len(rows) != 60 || rows[59]["row"] != 60.0 {
		t.Fatalf("%d rows on %d pages", len(rows), pages)
	}
	for name := range types {
		if _, there := rows[0][name]; !there {
			t.Errorf("a row lacks %s", name)
		}
	}
	if len(rows[0]) != len(types) {
		t.Errorf("a row has %d properties, the type %d", len(rows[0]), len(types))
	}
	if strings.Contains(fmt.Sprint(rows), canary) {
		t.Error("a name is in the feed")
	}
	for path, want := range map[string]int{
		"person?$top=5": 5, "person?$top=0": 0, "person?$skip=60": 2, "person?$skip=55&$top=3": 3, "person?$select=sex,age&$top=2": 2,
		"person?$filter=sex eq 2": 31, "person?$filter=sex eq null": 31, "person?$filter=not (age lt 20) and sex ne null": 31, "person?$filter=(age ge 20 and age le 22) or age eq 8": 35,
		"interview?$filter=contains(questionnaire,'Household')": 31, "interview?$filter=startswith(site_id,'S-') and start_time gt 2016-01-01T00:00:00Z": 31,
		"interview?$filter=start_time lt 2016-01-01T00:00:00Z": 0, "interview?$filter=endswith(questionnaire,'it''s')": 0, "interview?site=school-c&$top=100": 16, "interview(1)": -1, "person?$top=2&$format=json": 2,
	} {
		resp, page := ask("/odata/guiyang/" + path)
		list, _ := page["value"].([]any)
		if resp.StatusCode != 200 || want >= 0 && len(list) != want || want < 0 && page["row"] != 1.0 {
			t.Errorf("%s: %s, %d rows, want %d: %.300v", path, resp.Status, len(list), want, page)
		}
		if strings.Contains(path, "$select") && (len(list[0].(map[string]any)) != 2 || !strings.HasSuffix(page["@odata.context"].(string), "#person(sex,age)")) {
			t.Errorf("%s: %v", path, page)
		}
	}
	if _, n := get(t, d, http.MethodGet, "/odata/guiyang/person/$count?$filter=sex%20eq%202"); n != "31" {
		t.Errorf("$count = %s", n)
	}
	// 5. the headers that say what a client understands; 7. 501 for what is not supported, 400 for what is wrong.
	for _, tt := range []struct {
		path    string
		headers []string
		code    int
	}{
		{"", []string{"OData-MaxVersion", "3.0"}, 400}, {"", []string{"OData-MaxVersion", "4.0"}, 200}, {"", []string{"Accept", "application/atom+xml"}, 406},
		{"$metadata", []string{"Accept", "application/json"}, 406}, {"person", []string{"Accept", "application/json;odata.metadata=full"}, 200},
		{"person?$expand=household", nil, 501}, {"person?$orderby=age", nil, 501}, {"person?$search=x", nil, 501}, {"person?$filter=age add 1 eq 2", nil, 501}, {"person?$filter=year(age) eq 2", nil, 501},
		{"person?$filter=name eq 1", nil, 400}, {"person?$filter=age eq", nil, 400}, {"person?$filter=(age eq 1", nil, 400}, {"person?$filter='x", nil, 400}, {"person?$top=-1", nil, 400}, {"person?$top=x", nil, 400},
		{"person?$select=name", nil, 400}, {"person?$count=maybe", nil, 400}, {"person?$top=1&$top=2", nil, 400}, {"people", nil, 404}, {"person(999)", nil, 404}, {"person(x)", nil, 404}, {"person/name", nil, 501},
		{"person?$skiptoken=abc.1", nil, 410}, {"person?profile=identified&reason=a&by=b", nil, 403}, {"person?$filter=" + strings.Repeat("(", 60) + "1", nil, 400}, {"person?$format=atom", nil, 406},
	} {
		resp, doc := ask("/odata/guiyang/"+tt.path, tt.headers...)
		if resp.StatusCode != tt.code {
			t.Errorf("%s %v: %s, want %d", tt.path, tt.headers, resp.Status, tt.code)
		}
		if e, _ := doc["error"].(map[string]any); tt.code >= 400 && (e["code"] == "" || e["message"] == "" || e == nil) {
			t.Errorf("%s: the error is %v", tt.path, doc)
		}
	}
	// 9. a client need not understand annotations: without them the rows are the same.
	_, bare := ask("/odata/guiyang/person?$top=1", "Accept", "application/json;odata.metadata=none;IEEE754Compatible=true")
	if len(bare) != 1 || bare["value"].([]any)[0].(map[string]any)["row"] != "1" {
		t.Errorf("without metadata: %.200v", bare)
	}
	if resp, _ := get(t, d, http.MethodGet, "/odata/lhasa/"); resp.StatusCode != 404 {
		t.Errorf("no such study: %s", resp.Status)
	}
}

// An OData client that is not ours, @odata/client of npm, reads the feed with the password that Excel would ask for: rows,
// a filter, a count, a row by its key.
func TestODataClient(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped in short mode: other people's programs")
	}
	modules, err := filepath.Abs("../bin/odata/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "@odata", "client")); err != nil {
		if os.Getenv("HEARTH_READERS") == "all" {
			t.Fatal("the OData client is not here, and HEARTH_READERS=all: make odata")
		}
		t.Skip("skipped: the OData client is not here: make odata")
	}
	d, _ := library(t, 30)
	cmd := exec.CommandContext(t.Context(), "node", "-e", `const { OData } = require("@odata/client");
const client = OData.New4({ serviceEndpoint: process.argv[1], credential: { username: "analyst", password: process.argv[2] } });
(async () => {
  const people = client.getEntitySet("person");
  const some = await people.query(client.newParam().select(["sex", "age"]).top(3).filter("sex eq 2 and age gt 20"));
  const n = await people.count(client.newFilter().property("sex").eq(2));
  const one = await people.retrieve(1);
  console.log(JSON.stringify([some.length, Object.keys(some[0]), some[0].age > 20, n, one.row]));
})().catch((e) => { console.error(e); process.exit(1); });`, "http://"+d.addr+"/odata/guiyang/", testToken)
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	out, err := cmd.CombinedOutput()
	if want := `[3,["sex","age"],true,30,1]`; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("got %s, %v; want %s", out, err, want)
	}
}

// edmTypes reads the types of an entity from $metadata, and sees that the set, its type and its key are declared.
func edmTypes(t *testing.T, schema, set string) map[string]string {
	t.Helper()
	var doc struct {
		Version string `xml:"Version,attr"`
		Schema  struct {
			Namespace string `xml:"Namespace,attr"`
			Types     []struct {
				Name string `xml:"Name,attr"`
				Keys []struct {
					Name string `xml:"Name,attr"`
				} `xml:"Key>PropertyRef"`
				Properties []struct {
					Name string `xml:"Name,attr"`
					Type string `xml:"Type,attr"`
				} `xml:"Property"`
			} `xml:"EntityType"`
			Sets []struct {
				Name string `xml:"Name,attr"`
				Type string `xml:"EntityType,attr"`
			} `xml:"EntityContainer>EntitySet"`
		} `xml:"DataServices>Schema"`
	}
	if err := xml.Unmarshal([]byte(schema), &doc); err != nil || doc.Version != "4.0" || len(doc.Schema.Sets) != len(doc.Schema.Types) {
		t.Fatalf("$metadata: %v, %d sets of %d types", err, len(doc.Schema.Sets), len(doc.Schema.Types))
	}
	out := map[string]string{}
	for i, e := range doc.Schema.Types {
		if doc.Schema.Sets[i].Type != doc.Schema.Namespace+"."+e.Name || len(e.Keys) != 1 || e.Keys[0].Name != "row" {
			t.Errorf("set %v, type %s, keys %v", doc.Schema.Sets[i], e.Name, e.Keys)
		}
		seen := map[string]bool{}
		for _, p := range e.Properties {
			if seen[p.Name] {
				t.Errorf("%s.%s is declared twice", e.Name, p.Name)
			}
			seen[p.Name] = true
			if e.Name == set {
				out[p.Name] = p.Type
			}
		}
	}
	return out
}

// FuzzODataFilter reads whatever stands in a $filter.
func FuzzODataFilter(f *testing.F) {
	for _, s := range []string{"age eq 1", "not (a eq 'it''s') and contains(b,'x')", "((((", "null ne null or true", "age eq 2016-01-01T00:00:00Z", "'", "endswith(a"} {
		f.Add(s)
	}
	fd := &feed{}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseFilter(s, fd)
		if err == nil {
			_, _ = p(map[string]json.RawMessage{})
		}
	})
}
