package server

import (
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// Who syncs before anybody has set a definition can export all the same; a study nobody has heard of is an error and
// not an empty data set.
func TestExportWithoutADefinition(t *testing.T) {
	eachStoreOrOne(t, func(t *testing.T, d *desk) {
		refused := func(study *string, code codes.Code, reason fault.Reason) {
			t.Helper()
			stream, err := servicev1.NewExportServiceClient(d.conn).Export(with(t.Context()), &servicev1.ExportRequest{Study: study})
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			wants(t, err, code, reason)
		}
		tb := newTablet("early")
		tb.greet(t, d)
		refused(nil, codes.NotFound, fault.UnknownStudy)
		tb.push(t, d, tb.record(t, household(1), nil))
		if files, _ := exported(t, d, &servicev1.ExportRequest{}); len(files["csv/household.csv"]) == 0 {
			t.Errorf("exported %d files without csv/household.csv", len(files))
		}
		refused(proto.String("lhasa"), codes.NotFound, fault.UnknownStudy)
		_, err := servicev1.NewReferralServiceClient(d.conn).GetReferralStats(with(t.Context()), &servicev1.GetReferralStatsRequest{Study: proto.String("lhasa")})
		wants(t, err, codes.NotFound, fault.UnknownStudy)
		other := household(2)
		other.Study = proto.String("lhasa")
		tb.push(t, d, tb.record(t, other, nil))
		refused(nil, codes.InvalidArgument, fault.BadRequest)
	})
}
