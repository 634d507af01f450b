package server

import (
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// A local call passes the policy, the limits and the errors of any other call.
func TestLocalCallsPassTheInterceptors(t *testing.T) {
	set, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	srv, err := New(Config{Store: newMemory(), Key: newTablet("hq").key, Questionnaires: set, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	client := servicev1.NewStudyServiceClient(srv.Local())
	if _, err := client.GetStudy(t.Context(), &servicev1.GetStudyRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer secret")
	if _, err := client.GetStudy(ctx, &servicev1.GetStudyRequest{}); fault.Reason(reasonOf(err)) != fault.UnknownStudy {
		t.Errorf("with the token: %v", err)
	}
	if err := srv.Local().Invoke(ctx, "/nobody/Knows", &servicev1.GetStudyRequest{}, &servicev1.GetStudyResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a call that does not exist: %v", err)
	}
}
