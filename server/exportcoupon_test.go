package server

import (
	"bytes"
	"path/filepath"
	"testing"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	surveyv1 "github.com/hearth-survey/hearth/proto/hearth/survey/v1"
	offline "github.com/hearth-survey/hearth/syncer/tablet"
	"google.golang.org/protobuf/proto"
)

// What happened to coupons is exported: as it is with identifiers, under the same pseudonyms as in the interviews for research,
// in a filtered export those of its interviews, and not at all to the public. The graph of an export knows what the coupons say.
func TestExportCoupons(t *testing.T) {
	d := newDesk(t, newMemory())
	tb := newTablet("coupons")
	tb.greet(t, d)
	from, to := household(0), household(1)
	const code, open = "3333-3334", "3333-334V"
	from.SiteId, to.SiteId = proto.String("market"), proto.String("school")
	from.Recruitment = &surveyv1.Recruitment{Seed: proto.Bool(true), Mode: surveyv1.RecruitmentMode_RECRUITMENT_MODE_SEED.Enum()}
	to.Recruitment = &surveyv1.Recruitment{Mode: surveyv1.RecruitmentMode_RECRUITMENT_MODE_REFERRED.Enum(), Referrals: []*surveyv1.Referral{{
		ReferralId: proto.String("bbbbbbbb-2222-4111-8111-222222222222"), Mode: surveyv1.ReferralMode_REFERRAL_MODE_COUPON.Enum(), CouponCode: proto.String("3333 3334"),
	}}}
	tb.push(t, d, tb.record(t, from, nil), tb.record(t, to, nil))

	field, err := offline.Create(t.Context(), filepath.Join(t.TempDir(), "field"), offline.CreateOptions{Name: "field", Enumerator: "E1", Study: "guiyang"})
	if err != nil {
		t.Fatal(err)
	}
	defer field.Close()
	event := func(code string, kind servicev1.CouponEventKind, interview *string, note *string) *servicev1.CouponEvent {
		return &servicev1.CouponEvent{Code: &code, Kind: &kind, InterviewId: interview, Note: note}
	}
	issued, voided := servicev1.CouponEventKind_COUPON_EVENT_KIND_ISSUED, servicev1.CouponEventKind_COUPON_EVENT_KIND_VOIDED
	err = field.ChangeCoupons(t.Context(), func([]*servicev1.CouponEvent, int) ([]*servicev1.CouponEvent, error) {
		return []*servicev1.CouponEvent{event(code, issued, from.InterviewId, nil), event(open, issued, from.InterviewId, nil),
			event(open, voided, nil, proto.String("sold by WANGBIRD"))}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(req *servicev1.ExportRequest) map[string][]byte {
		t.Helper()
		req.Study, req.Formats = proto.String("guiyang"), []servicev1.ExportFormat{asCSV}
		files, _ := exported(t, d, req)
		return files
	}
	identified := func() *servicev1.ExportRequest {
		return &servicev1.ExportRequest{Profile: asIdentified.Enum(), Reason: proto.String("test"), RequestedBy: proto.String("S01"),
			Filter: &servicev1.ExportFilter{Levels: []string{"coupon_event", "referral_edge"}}}
	}
	state := func(files map[string][]byte) string {
		t.Helper()
		rows := rowsOf(t, files["csv/referral_edge.csv"])
		if len(rows) != 1 {
			t.Fatalf("%d edges, want 1", len(rows))
		}
		return rows[0]["state"]
	}
	early := ask(identified())
	if n := len(rowsOf(t, early["csv/coupon_event.csv"])); n != 0 || state(early) != "2" {
		t.Errorf("before the coupons came: %d events, edge %s; want none, unresolved", n, state(early))
	}
	if _, err := field.Sync(t.Context(), tokenConn{d.conn}, offline.SyncOptions{}); err != nil {
		t.Fatal(err)
	}

	all := ask(identified())
	rows := rowsOf(t, all["csv/coupon_event.csv"])
	if len(rows) != 3 || rows[0]["code"] != code || rows[0]["interview_id"] != from.GetInterviewId() || rows[2]["note"] != "sold by WANGBIRD" || state(all) != "1" {
		t.Errorf("with identifiers: %v, edge %s", rows, state(all))
	}
	if n := len(rowsOf(t, ask(narrowed(identified(), "school"))["csv/coupon_event.csv"])); n != 0 {
		t.Errorf("%d events of coupons in an export of a site where none was given out or handed in", n)
	}
	if n := len(rowsOf(t, ask(narrowed(identified(), "market"))["csv/coupon_event.csv"])); n != 3 {
		t.Errorf("%d events of the coupons of one site, want 3: void, too, though no interview says so", n)
	}

	research := ask(&servicev1.ExportRequest{})
	rows = rowsOf(t, research["csv/coupon_event.csv"])
	told := rowsOf(t, research["csv/referral_told.csv"])
	if len(rows) != 3 || len(told) != 1 || rows[0]["code"] == "" || rows[0]["code"] != told[0]["coupon_code"] || rows[1]["code"] == rows[0]["code"] || state(research) != "1" {
		t.Errorf("for research: %v; the referral has %q", rows, told[0]["coupon_code"])
	}
	for path, content := range research {
		for _, bird := range []string{code, "3333 3334", open, "WANGBIRD"} {
			if bytes.Contains(content, []byte(bird)) {
				t.Errorf("for research %s holds %q", path, bird)
			}
		}
	}
	public := ask(&servicev1.ExportRequest{Profile: asPublic.Enum(), Anonymity: &servicev1.Anonymity{K: proto.Uint32(2), Suppress: proto.Bool(true)}})
	if _, there := public["csv/coupon_event.csv"]; there || len(public) == 0 {
		t.Error("coupons are public")
	}
}

// narrowed is a request for one site.
func narrowed(req *servicev1.ExportRequest, site string) *servicev1.ExportRequest {
	req.Filter.Sites = []string{site}
	return req
}
