package server

import (
	"strings"
	"time"

	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
)

// access says who may make a call.
type access int

const (
	// anyone needs no token.
	anyone access = iota + 1
	// enrolled needs the session of a tablet, which may then act for itself alone, or the server's token.
	enrolled
	// holder needs the server's token.
	holder
	// analysts needs the server's token, or the one that is for exports without direct identifiers alone.
	analysts
	// hubs needs the session of a hub.
	hubs
	// proving needs what enrolled needs, or no token and a Hello at the beginning that proves which tablet it is.
	proving
)

// rule is what is decided about a call before its handler runs.
type rule struct {
	access access
	// longest is how long the call may take.
	longest time.Duration
}

// The longest times that calls may take.
const (
	short  = time.Minute
	long   = 10 * time.Minute
	stream = time.Hour
)

// policy is the one place that decides who may call what. A method that is not listed may be called by nobody.
func policy(method string) (rule, bool) {
	switch method {
	case servicev1.SyncService_Hello_FullMethodName:
		return rule{proving, short}, true
	case servicev1.SyncService_PushBatch_FullMethodName,
		servicev1.SyncService_Offer_FullMethodName,
		servicev1.SyncService_Pull_FullMethodName,
		servicev1.SyncService_BlobStat_FullMethodName,
		servicev1.SyncService_PutChunk_FullMethodName:
		return rule{enrolled, short}, true
	case servicev1.DeviceService_Enrol_FullMethodName,
		servicev1.DeviceService_BeginSession_FullMethodName,
		servicev1.DeviceService_OpenSession_FullMethodName:
		return rule{anyone, short}, true
	case servicev1.DeviceService_CreateEnrolment_FullMethodName,
		servicev1.DeviceService_RevokeDevice_FullMethodName,
		servicev1.StudyService_GetStudy_FullMethodName,
		servicev1.StudyService_PutStudy_FullMethodName,
		servicev1.StudyService_CloseStudy_FullMethodName,
		servicev1.StudyService_ReopenStudy_FullMethodName,
		servicev1.StudyService_ListQuestionnaires_FullMethodName,
		servicev1.StudyService_GetCodebook_FullMethodName,
		servicev1.StudyService_GetQuestionnaire_FullMethodName,
		servicev1.MonitorService_ListDevices_FullMethodName,
		servicev1.MonitorService_ListQuarantine_FullMethodName,
		servicev1.MonitorService_ShowQuarantine_FullMethodName,
		servicev1.MonitorService_GetParadata_FullMethodName,
		servicev1.ExportService_ListExports_FullMethodName,
		servicev1.LinkageService_ListDecisions_FullMethodName:
		return rule{holder, short}, true
	case servicev1.MonitorService_CountInterviews_FullMethodName,
		servicev1.MonitorService_ListInterviews_FullMethodName,
		servicev1.MonitorService_ListFlags_FullMethodName,
		servicev1.MonitorService_CountFlags_FullMethodName,
		servicev1.StudyService_PublishQuestionnaire_FullMethodName,
		servicev1.StudyService_CompareQuestionnaires_FullMethodName,
		servicev1.MonitorService_ReplayQuarantine_FullMethodName,
		servicev1.ReviewService_ListConflicts_FullMethodName,
		servicev1.ReviewService_ResolveConflict_FullMethodName,
		servicev1.ReviewService_WithdrawInterview_FullMethodName,
		servicev1.ReviewService_EraseInterview_FullMethodName,
		servicev1.ReviewService_CreateReview_FullMethodName,
		servicev1.ReviewService_ListReviews_FullMethodName,
		servicev1.AssignmentService_CreateAssignment_FullMethodName,
		servicev1.AssignmentService_ReassignAssignment_FullMethodName,
		servicev1.AssignmentService_CancelAssignment_FullMethodName,
		servicev1.AssignmentService_ReleaseAssignment_FullMethodName,
		servicev1.AssignmentService_GetAssignment_FullMethodName,
		servicev1.AssignmentService_ListAssignments_FullMethodName,
		servicev1.LinkageService_RunLinkage_FullMethodName,
		servicev1.LinkageService_ListPairs_FullMethodName,
		servicev1.LinkageService_ListQueue_FullMethodName,
		servicev1.LinkageService_ListGroups_FullMethodName,
		servicev1.LinkageService_GetPerson_FullMethodName,
		servicev1.LinkageService_ExplainPair_FullMethodName,
		servicev1.LinkageService_Decide_FullMethodName,
		servicev1.ReferralService_GetReferralStats_FullMethodName,
		servicev1.ReferralService_GetReferralGraph_FullMethodName:
		return rule{holder, long}, true
	case servicev1.SyncService_Push_FullMethodName:
		return rule{proving, stream}, true
	case servicev1.SyncService_GetBlob_FullMethodName:
		return rule{holder, stream}, true
	case servicev1.ExportService_Export_FullMethodName, routeExport, routeOData:
		return rule{analysts, stream}, true
	}
	switch {
	case method == servicev1.HubService_Report_FullMethodName:
		return rule{hubs, short}, true
	case method == servicev1.HubService_GetHubStatus_FullMethodName:
		return rule{holder, short}, true
	case strings.HasPrefix(method, "/grpc.health.v1.Health/"):
		return rule{anyone, stream}, true
	case strings.HasPrefix(method, "/grpc.reflection."):
		return rule{holder, long}, true
	}
	return rule{}, false
}
