package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	"github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// startHere serves a new folder within the test process and returns the address and the token.
func startHere(t *testing.T) (addr, token string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n, err := openNode(ctx, t.TempDir(), nodeOptions{serving: true, reflection: true})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if err := n.close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return ln.Addr().String(), n.token
}

// needTool finds a program that no one here wrote. In CI it must be there.
func needTool(t *testing.T, name, how string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("HEARTH_CI") != "" {
		t.Fatalf("%s is missing: %s", name, how)
	}
	t.Skipf("skipped: %s is not here: %s", name, how)
	return ""
}

func TestCurl(t *testing.T) {
	curl := needTool(t, "curl", "apt-get install curl")
	addr, token := startHere(t)
	call := func(method, body string, header ...string) (string, string) {
		t.Helper()
		args := []string{"-sS", "-o", "-", "-w", "\n%{http_code}", "-H", "Content-Type: application/json", "-d", body}
		for _, h := range header {
			args = append(args, "-H", h)
		}
		out, err := exec.Command(curl, append(args, "http://"+addr+"/hearth.service.v1."+method)...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v: %s", err, out)
		}
		text := strings.TrimSpace(string(out))
		i := strings.LastIndexByte(text, '\n')
		return text[:max(i, 0)], text[i+1:]
	}
	auth := "Authorization: Bearer " + token
	if body, code := call("StudyService/ListQuestionnaires", "{}", auth); code != "200" || !strings.Contains(body, "hearth.survey.v1.Household") {
		t.Errorf("ListQuestionnaires = %s %s, want 200 with the household questionnaire", code, body)
	}
	put := `{"study":{"study":"curl-study","titleEn":"By curl","titleZh":"用 curl 建立","sites":[{"siteId":"a","name":"甲村"}]}}`
	if body, code := call("StudyService/PutStudy", put, auth); code != "200" {
		t.Errorf("PutStudy = %s %s, want 200", code, body)
	}
	if body, code := call("StudyService/GetStudy", "{}", auth); code != "200" || !strings.Contains(body, "甲村") {
		t.Errorf("GetStudy = %s %s, want 200 with the site", code, body)
	}
	if body, code := call("MonitorService/CountInterviews", `{"by":["DIMENSION_SITE"]}`, auth); code != "200" {
		t.Errorf("CountInterviews = %s %s, want 200", code, body)
	}
	if body, code := call("MonitorService/CountInterviews", `{`, auth); code != "400" || !strings.Contains(body, "invalid_argument") {
		t.Errorf("broken JSON = %s %s, want 400 invalid_argument", code, body)
	}
	if body, code := call("MonitorService/CountInterviews", "{}"); code != "401" || !strings.Contains(body, "token") {
		t.Errorf("no token = %s %s, want 401 that speaks of the token", code, body)
	}
}

func TestGrpcurl(t *testing.T) {
	if testing.Short() {
		t.Skip("builds grpcurl")
	}
	needTool(t, "go", "install Go")
	addr, token := startHere(t)
	grpcurl := func(args ...string) (string, error) {
		cmd := exec.Command("go", append([]string{"tool", "-modfile=tools.mod", "grpcurl", "-plaintext"}, args...)...)
		cmd.Dir = filepath.Join("..", "..")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	auth := "authorization: Bearer " + token
	list, err := grpcurl("-H", auth, addr, "list")
	if err != nil || !strings.Contains(list, "hearth.service.v1.SyncService") {
		t.Fatalf("list: %v: %s", err, list)
	}
	hello := `{"protocol":1,"device":"AAECAwQFBgcICQoLDA0ODw==","device_name":"grpcurl","public_key":"` + strings.Repeat("A", 43) + `="}`
	out, err := grpcurl("-H", auth, "-d", hello, addr, "hearth.service.v1.SyncService/Hello")
	if err != nil || !strings.Contains(out, "serverEpoch") {
		t.Errorf("Hello: %v: %s", err, out)
	}
	out, err = grpcurl("-H", auth, "-d", `{"batch":{"lane":{"device":"AAECAwQFBgcICQoLDA0ODw==","epoch":"AAECAwQFBgcICQoLDA0ODw=="},"first_seq":1,"prev_chain":"`+strings.Repeat("A", 43)+`="}}`, addr, "hearth.service.v1.SyncService/PushBatch")
	if err == nil || !strings.Contains(out, "BAD_BATCH") {
		t.Errorf("an empty batch: %v: %s, want BAD_BATCH", err, out)
	}
	out, err = grpcurl(addr, "hearth.service.v1.MonitorService/CountInterviews")
	if err == nil || !strings.Contains(out, "Unauthenticated") && !strings.Contains(out, "TOKEN_MISSING") {
		t.Errorf("without token: %v: %s, want Unauthenticated", err, out)
	}
	out, err = grpcurl("-H", auth, addr, "grpc.health.v1.Health/Check")
	if err != nil || !strings.Contains(out, "SERVING") {
		t.Errorf("health: %v: %s", err, out)
	}
}

// jazz is what is published of the 264 musicians.
type jazz struct {
	Datasets struct {
		Nyjazz struct {
			Chain struct {
				N       int            `json:"n"`
				Seeds   int            `json:"n_seeds"`
				Sterile int            `json:"sterile_seeds"`
				Edges   int            `json:"n_edges"`
				Depth   int            `json:"max_wave"`
				Waves   map[string]int `json:"recruits_per_wave"`
				Trees   map[string]int `json:"tree_size_by_seed"`
			} `json:"chain"`
		} `json:"nyjazz"`
	} `json:"datasets"`
}

// Real referral data take the whole way: loaded on tablets as interviews with recruiters, synced over gRPC, drawn.
func TestPublishedReferralData(t *testing.T) {
	dir := filepath.Join(sharedDir(t), "data", "referral")
	rows, want := readJazz(t, dir)
	addr, token := startHere(t)
	cc, err := dialServer(addr, token)
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	tablets := make([]bytes.Buffer, 3)
	for i, row := range rows { // out of order, and a recruit often on another tablet than the recruiter
		raw, err := protojson.Marshal(jazzInterview(row))
		if err != nil {
			t.Fatal(err)
		}
		tablets[(len(rows)-i)%3].Write(append(compact(raw), '\n'))
	}
	for i := range tablets {
		st, err := tablet.Create(t.Context(), filepath.Join(t.TempDir(), "t.sqlite"), tablet.CreateOptions{Name: fmt.Sprint("jazz-", i), Enumerator: "J1", Study: "nyjazz"})
		if err != nil {
			t.Fatal(err)
		}
		report, err := st.Load(t.Context(), &tablets[i], nil)
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("load: %v %v", err, report.Problems)
		}
		if _, err := st.Sync(t.Context(), cc, tablet.SyncOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	client := servicev1.NewReferralServiceClient(cc)
	resp, err := client.GetReferralStats(t.Context(), &servicev1.GetReferralStatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	s := resp.GetStats()
	chain := want.Datasets.Nyjazz.Chain
	for _, c := range []struct {
		what      string
		got, want int
	}{
		{"persons", int(s.GetPersons()), chain.N}, {"seeds", int(s.GetSeeds()), chain.Seeds}, {"sterile seeds", int(s.GetSterileSeeds()), chain.Sterile},
		{"edges", int(s.GetPrimaryEdges()), chain.Edges}, {"waves", int(s.GetMaxWave()), chain.Depth}, {"waves counted", len(s.GetRecruitsPerWave()), len(chain.Waves)},
	} {
		if c.got != c.want {
			t.Errorf("%s = %d, published: %d", c.what, c.got, c.want)
		}
	}
	for wave, n := range chain.Waves {
		if i, _ := strconv.Atoi(wave); i >= len(s.GetRecruitsPerWave()) || int(s.GetRecruitsPerWave()[i]) != n {
			t.Errorf("wave %s does not have the published %d persons: %v", wave, n, s.GetRecruitsPerWave())
		}
	}
	for _, c := range s.GetChains() {
		if seed := strings.TrimPrefix(c.GetInterviewKey(), "NY-"); int(c.GetSize()) != chain.Trees[seed] {
			t.Errorf("the chain of seed %s has %d persons, published: %d", seed, c.GetSize(), chain.Trees[seed])
		}
	}
	checkJazzGraph(t, client, chain.N, chain.Edges)
}

func checkJazzGraph(t *testing.T, client servicev1.ReferralServiceClient, nodes, edges int) {
	t.Helper()
	g, err := client.GetReferralGraph(t.Context(), &servicev1.GetReferralGraphRequest{Format: servicev1.GraphFormat_GRAPH_FORMAT_GRAPHML.Enum()})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Graph struct {
			Nodes []struct{} `xml:"node"`
			Edges []struct{} `xml:"edge"`
		} `xml:"graph"`
	}
	if err := xml.Unmarshal(g.GetContent(), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Graph.Nodes) != nodes || len(doc.Graph.Edges) != edges {
		t.Errorf("GraphML has %d nodes and %d edges, want %d and %d", len(doc.Graph.Nodes), len(doc.Graph.Edges), nodes, edges)
	}
}

func readJazz(t *testing.T, dir string) (rows []map[string]string, want jazz) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "nyjazz.csv"))
	if err != nil {
		if os.Getenv("HEARTH_CI") != "" {
			t.Fatalf("in CI the public data must be there: %v", err)
		}
		t.Skip("skipped: ../shared/data is not here")
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil || len(records) != 265 {
		t.Fatalf("nyjazz.csv: %d lines, %v", len(records), err)
	}
	for _, rec := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = rec[i]
		}
		rows = append(rows, row)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	return rows, want
}

// jazzInterview makes an interview of a row: who, by whom recruited, how many they know.
func jazzInterview(row map[string]string) *surveyv1.Interview {
	id := func(kind, n string) *string {
		u := uuid.NewSHA1(uuid.Nil, []byte(kind+n))
		u[6] = u[6]&0x0f | 0x40 // people and interviews have UUIDs of version 4
		return proto.String(u.String())
	}
	iv := &surveyv1.Interview{
		InterviewId: id("interview", row["id"]), InterviewKey: proto.String("NY-" + row["id"]), Study: proto.String("nyjazz"),
		QuestionnaireVersion: proto.Uint32(1), Enumerator: proto.String("J1"), SiteId: proto.String("new-york"),
		Status: surveyv1.InterviewStatus_INTERVIEW_STATUS_COMPLETED.Enum(), Result: surveyv1.ResultCode_RESULT_CODE_COMPLETE.Enum(),
		Respondent:  &surveyv1.Person{PersonId: id("person", row["id"])},
		Recruitment: &surveyv1.Recruitment{},
		Answers:     &surveyv1.Interview_Migration{Migration: &surveyv1.Migration{MigrationId: id("migration", row["id"]), PersonId: id("person", row["id"])}},
	}
	if n, err := strconv.Atoi(cmp.Or(row["network_size"], "-")); err == nil {
		iv.Recruitment.NetworkSize = &surveyv1.NetworkSize{Size: proto.Int32(int32(n))}
	}
	if row["recruiter_id"] == "" {
		iv.Recruitment.Mode, iv.Recruitment.Seed = surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum(), proto.Bool(true)
		return iv
	}
	iv.Recruitment.Mode = surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED.Enum()
	iv.Recruitment.Referrals = []*surveyv1.Referral{{
		FromPerson: &surveyv1.Person{PersonId: id("person", row["recruiter_id"])}, Mode: surveyv1.ReferralMode_REFERRAL_MODE_COUPON.Enum(), Main: proto.Bool(true),
	}}
	return iv
}
