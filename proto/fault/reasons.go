package fault

import "slices"

// Reason is a stable name of something that can go wrong, such as BAD_DIGEST. Programs may act on it and translate by
// it; a retired reason is never used again for something else.
type Reason string

// The reasons Hearth gives.
const (
	BadDigest              Reason = "BAD_DIGEST"
	BadSignature           Reason = "BAD_SIGNATURE"
	BadChain               Reason = "BAD_CHAIN"
	BadBatch               Reason = "BAD_BATCH"
	BatchTooLarge          Reason = "BATCH_TOO_LARGE"
	RecordTooLarge         Reason = "RECORD_TOO_LARGE"
	RecordDamaged          Reason = "RECORD_DAMAGED"
	RecordUnreadable       Reason = "RECORD_UNREADABLE"
	PayloadUnreadable      Reason = "PAYLOAD_UNREADABLE"
	UnknownKind            Reason = "UNKNOWN_KIND"
	UnknownQuestionnaire   Reason = "UNKNOWN_QUESTIONNAIRE"
	UnknownVersion         Reason = "UNKNOWN_VERSION"
	UnknownStudy           Reason = "UNKNOWN_STUDY"
	IDReused               Reason = "ID_REUSED"
	LaneGap                Reason = "LANE_GAP"
	LaneFork               Reason = "LANE_FORK"
	DeviceUnknown          Reason = "DEVICE_UNKNOWN"
	DeviceKeyChanged       Reason = "DEVICE_KEY_CHANGED"
	ServerChanged          Reason = "SERVER_CHANGED"
	CursorStale            Reason = "CURSOR_STALE"
	TokenMissing           Reason = "TOKEN_MISSING"
	TokenWrong             Reason = "TOKEN_WRONG"
	ProtocolTooOld         Reason = "PROTOCOL_TOO_OLD"
	NotSQLite              Reason = "NOT_SQLITE"
	NotATablet             Reason = "NOT_A_TABLET"
	StoreTooNew            Reason = "STORE_TOO_NEW"
	StoreDamaged           Reason = "STORE_DAMAGED"
	StoreInUse             Reason = "STORE_IN_USE"
	StoreExists            Reason = "STORE_EXISTS"
	StoreMissing           Reason = "STORE_MISSING"
	DiskFull               Reason = "DISK_FULL"
	BadJSON                Reason = "BAD_JSON"
	BadInterview           Reason = "BAD_INTERVIEW"
	BadStudy               Reason = "BAD_STUDY"
	BadDecision            Reason = "BAD_DECISION"
	BadPageToken           Reason = "BAD_PAGE_TOKEN"
	BadRequest             Reason = "BAD_REQUEST"
	BadTable               Reason = "BAD_TABLE"
	BadSchema              Reason = "BAD_SCHEMA"
	NoSuchPerson           Reason = "NO_SUCH_PERSON"
	NoSuchDecision         Reason = "NO_SUCH_DECISION"
	ShuttingDown           Reason = "SHUTTING_DOWN"
	Unreachable            Reason = "UNREACHABLE"
	TableUnreadable        Reason = "TABLE_UNREADABLE"
	TableTooLarge          Reason = "TABLE_TOO_LARGE"
	TableNotCSV            Reason = "TABLE_NOT_CSV"
	TableEmpty             Reason = "TABLE_EMPTY"
	ColumnUnknown          Reason = "COLUMN_UNKNOWN"
	TableIDNotUnique       Reason = "TABLE_ID_NOT_UNIQUE"
	TableTellsNothing      Reason = "TABLE_TELLS_NOTHING"
	ExportChanged          Reason = "EXPORT_CHANGED"
	NotInQuarantine        Reason = "NOT_IN_QUARANTINE"
	InterviewWithdrawn     Reason = "INTERVIEW_WITHDRAWN"
	NotWithdrawn           Reason = "NOT_WITHDRAWN"
	ConflictChanged        Reason = "CONFLICT_CHANGED"
	NoConflict             Reason = "NO_CONFLICT"
	NoSuchInterview        Reason = "NO_SUCH_INTERVIEW"
	BlobTooLarge           Reason = "BLOB_TOO_LARGE"
	BlobSizeMismatch       Reason = "BLOB_SIZE_MISMATCH"
	BlobHashMismatch       Reason = "BLOB_HASH_MISMATCH"
	BlobDamaged            Reason = "BLOB_DAMAGED"
	BlobsNotKept           Reason = "BLOBS_NOT_KEPT"
	BlobsFull              Reason = "BLOBS_FULL"
	NoSuchBlob             Reason = "NO_SUCH_BLOB"
	BadChunk               Reason = "BAD_CHUNK"
	BadInvitation          Reason = "BAD_INVITATION"
	CodeWrong              Reason = "CODE_WRONG"
	CodeExpired            Reason = "CODE_EXPIRED"
	CodeUsed               Reason = "CODE_USED"
	TooManyTries           Reason = "TOO_MANY_TRIES"
	DeviceNotEnrolled      Reason = "DEVICE_NOT_ENROLLED"
	ChallengeEnded         Reason = "CHALLENGE_ENDED"
	SessionEnded           Reason = "SESSION_ENDED"
	OtherDevice            Reason = "OTHER_DEVICE"
	NotForDevices          Reason = "NOT_FOR_DEVICES"
	DeviceRevoked          Reason = "DEVICE_REVOKED"
	NoSuchDevice           Reason = "NO_SUCH_DEVICE"
	NoSuchAssignment       Reason = "NO_SUCH_ASSIGNMENT"
	BadAssignment          Reason = "BAD_ASSIGNMENT"
	AssignmentWaiting      Reason = "ASSIGNMENT_WAITING"
	AssignmentNotOpen      Reason = "ASSIGNMENT_NOT_OPEN"
	NoHandOver             Reason = "NO_HAND_OVER"
	BadReview              Reason = "BAD_REVIEW"
	AnswersNotHere         Reason = "ANSWERS_NOT_HERE"
	BucketDamaged          Reason = "BUCKET_DAMAGED"
	HubOffline             Reason = "HUB_OFFLINE"
	HubOfHub               Reason = "HUB_OF_HUB"
	HubRevoked             Reason = "HUB_REVOKED"
	HubWaits               Reason = "HUB_WAITS"
	NotAHub                Reason = "NOT_A_HUB"
	AtHeadquarters         Reason = "AT_HEADQUARTERS"
	RoundClosed            Reason = "ROUND_CLOSED"
	NoSuchRound            Reason = "NO_SUCH_ROUND"
	RecordsMissing         Reason = "RECORDS_MISSING"
	ProjectionWrong        Reason = "PROJECTION_WRONG"
	ProjectionBehind       Reason = "PROJECTION_BEHIND"
	BlobAbsent             Reason = "BLOB_ABSENT"
	BlobUnlisted           Reason = "BLOB_UNLISTED"
	ErasureUnfinished      Reason = "ERASURE_UNFINISHED"
	QuestionnaireBreaking  Reason = "QUESTIONNAIRE_BREAKING"
	QuestionnaireTooLarge  Reason = "QUESTIONNAIRE_TOO_LARGE"
	QuestionnaireNameTaken Reason = "QUESTIONNAIRE_NAME_TAKEN"
	QuestionnaireDamaged   Reason = "QUESTIONNAIRE_DAMAGED"
	QuestionnaireNotHere   Reason = "QUESTIONNAIRE_NOT_HERE"
	BadXForm               Reason = "BAD_XFORM"
	BadForm                Reason = "BAD_FORM"
	ModelUnreadable        Reason = "MODEL_UNREADABLE"
	BadAnswers             Reason = "BAD_ANSWERS"
	NotAnonymous           Reason = "NOT_ANONYMOUS"
	ReasonMissing          Reason = "REASON_MISSING"
	ExportsOnly            Reason = "EXPORTS_ONLY"
	NotInFeed              Reason = "NOT_IN_FEED"
	NotAcceptable          Reason = "NOT_ACCEPTABLE"
	FeedGone               Reason = "FEED_GONE"
)

// Entry is what the catalogue says of a reason.
type Entry struct {
	Reason Reason
	// When says when it is given.
	When string
	// Do says what the person holding the tablet or the keyboard should do.
	Do string
	// Retry is true where the same call may succeed later without anybody doing anything.
	Retry bool
}

var catalogue = []Entry{
	{BadDigest, "the bytes of a record are not those its author hashed", "sync again; if it stays, send the tablet's file to headquarters with import-tablet", true},
	{BadSignature, "a batch was not signed by the device that it names", "enrol the tablet again", false},
	{BadChain, "the entries of a batch do not continue from the one before", "sync again", true},
	{BadBatch, "a batch cannot be read", "update the program on the tablet", false},
	{BatchTooLarge, "a batch has more records or bytes than the server takes", "send smaller batches; the server's limits are in the answer to Hello", false},
	{RecordTooLarge, "one record is larger than the server takes", "take attachments out of the answers", false},
	{RecordDamaged, "the tablet's own copy of a record no longer has its digest", "look for the interview in a backup of the tablet", false},
	{RecordUnreadable, "a record's envelope cannot be read", "replay it from quarantine after updating the server", false},
	{PayloadUnreadable, "a record's payload cannot be read as the message it should be", "replay it from quarantine after updating the server", false},
	{UnknownKind, "a record is of a kind this server does not know", "update the server, then replay it from quarantine", false},
	{UnknownQuestionnaire, "an interview is in a questionnaire this server does not know", "publish the questionnaire, then replay it from quarantine", false},
	{UnknownVersion, "an interview is in a version of its questionnaire this server does not know", "publish the version, then replay it from quarantine", false},
	{UnknownStudy, "a study is asked for that this server does not hold", "set the definition with `hearth study put`, or name a study that is there", false},
	{IDReused, "two different records have the same id", "compare both in quarantine; one of the tablets was tampered with or its clock and randomness failed", false},
	{LaneGap, "entries of a lane have not arrived", "sync the tablet again; if it is lost, look for a copy of its file", true},
	{LaneFork, "a lane has two different continuations", "the tablet's store was restored from a backup or copied; both are kept, the tablet goes on in a new epoch", false},
	{DeviceUnknown, "a device sends before it has said Hello", "sync again", true},
	{DeviceKeyChanged, "a device that is known comes with another key", "enrol the tablet under a new device id", false},
	{ServerChanged, "the server is not the one that gave the tablet its receipts", "ask the supervisor which server is the right one", false},
	{CursorStale, "a cursor is of another epoch of the server", "start again from an empty cursor", false},
	{TokenMissing, "no token came with the call", "give what stands in the file token of the server's folder, with --token or HEARTH_TOKEN", false},
	{TokenWrong, "the token is not the server's", "give what stands in the file token of the server's folder, with --token or HEARTH_TOKEN", false},
	{ProtocolTooOld, "the tablet's program is too old or too new for the server", "update the older of the two", false},
	{NotSQLite, "a file is not an SQLite database", "check that the right file was copied from the tablet", false},
	{NotATablet, "an SQLite file is not a tablet's store", "check that the right file was copied from the tablet", false},
	{StoreTooNew, "a store was written by a newer program", "update this program", false},
	{StoreDamaged, "a store holds something its digests contradict", "keep the file, restore the newest backup beside it, and run `hearth check`", false},
	{StoreInUse, "another process has the store open", "stop it, or use --server to reach it", true},
	{StoreExists, "there is already a store of that name", "choose another name, or delete the old one if it is synced", false},
	{StoreMissing, "there is no store of that name", "check the path", false},
	{DiskFull, "the disk is full", "make room; nothing that was acknowledged is lost", true},
	{BadJSON, "a line is not a JSON message of an interview", "correct the line; the good lines were loaded", false},
	{BadInterview, "an interview lacks what every interview must have", "correct the interview", false},
	{BadStudy, "a study's definition is not complete", "correct the definition", false},
	{BadDecision, "a decision does not name two different people or households", "name both", false},
	{BadPageToken, "a page token is not one this server gave", "start again from the first page", false},
	{BadRequest, "a request is not complete", "correct the request", false},
	{BadTable, "a table cannot be read", "correct the row named", false},
	{BadSchema, "a questionnaire's options are not right", "correct the option named", false},
	{NoSuchPerson, "nobody has that id or key", "look the person up with `hearth dedup pairs`", false},
	{NoSuchDecision, "there is no decision with that id", "look it up with `hearth dedup history`", false},
	{ShuttingDown, "the server is stopping", "sync again in a minute", true},
	{Unreachable, "the server cannot be reached", "check the network and the address; nothing on the tablet is lost", true},
	{TableUnreadable, "a table cannot be read from its file", "check the disk and the file", false},
	{TableTooLarge, "a table is larger than the engine takes", "split it or leave out columns that do not name people", false},
	{TableNotCSV, "a table is not well-formed CSV", "save it again as CSV in UTF-8", false},
	{TableEmpty, "a table has no rows", "its first line must name the columns", false},
	{ColumnUnknown, "a table has no column of that name", "name one of its columns", false},
	{TableIDNotUnique, "the id column of a table does not tell its rows apart", "name a column that tells every record from every other", false},
	{TableTellsNothing, "no column of a table tells records apart", "add columns such as a name, a date of birth or a telephone number", false},
	{ExportChanged, "the data changed while they were exported", "export again", false},
	{NotInQuarantine, "no item of the quarantine has that number", "look it up with `hearth quarantine list`; it may have been replayed", false},
	{InterviewWithdrawn, "a revision arrives of an interview that was withdrawn", "leave it: it is in no count and no export; destroy it with `hearth review erase` where consent was withdrawn", false},
	{NotWithdrawn, "an interview is to be erased that is not withdrawn", "withdraw it first, with `hearth review withdraw`", false},
	{ConflictChanged, "the current revisions of an interview are not those that were looked at", "look at the conflict again with `hearth review conflicts`, then decide", false},
	{NoConflict, "an interview has one current revision, or a choice is of no field in conflict", "look at what there is to decide with `hearth review conflicts`", false},
	{NoSuchInterview, "no interview has that id or key", "look it up with `hearth interviews`", false},
	{BlobTooLarge, "an attachment is larger than is taken", "take the photo smaller or the recording in pieces, and attach it again", false},
	{BlobSizeMismatch, "an attachment is said to have another size than headquarters knows of it", "attach the file again from its original", false},
	{BlobHashMismatch, "the pieces of an attachment do not make the file that was announced; they were thrown away", "sync again; if it stays, attach the file again from its original", true},
	{BlobDamaged, "a copy of an attachment no longer has its hash", "move the damaged copy away and bring the attachment again, from a backup or with import-tablet", false},
	{BlobsNotKept, "this server keeps no attachments", "sync with headquarters; the attachments stay on the tablet until then", false},
	{BlobsFull, "too many attachments have begun to arrive and were not finished", "sync again later; if it stays, make room in the folder blobs/partial of headquarters", true},
	{NoSuchBlob, "there is no attachment with that hash", "look it up with `hearth interviews --json`; it may not have arrived yet", false},
	{BadChunk, "a piece of an attachment does not fit it or changed on the way", "sync again", true},
	{BadInvitation, "the text of an enrolment picture or a server's address cannot be read", "take the text or the picture from `hearth device enrol` again, whole", false},
	{CodeWrong, "no tablet is expected with that code", "type the code again as `hearth device enrol` printed it", false},
	{CodeExpired, "a code is older than it may be", "ask for a new one: `hearth device enrol`", false},
	{CodeUsed, "a code was used by another tablet, or tried too often", "ask for a new one: `hearth device enrol`; if nobody of yours used it, revoke the tablet that did", false},
	{TooManyTries, "too many tries from one address went wrong", "wait a minute", true},
	{DeviceNotEnrolled, "a tablet asks for a session that headquarters does not know", "enrol it with a code: `hearth tablet enrol`, or give the server's token", false},
	{ChallengeEnded, "a challenge is too old, was answered before, or is of another server", "sync again", true},
	{SessionEnded, "a tablet's session has ended", "sync again: the tablet opens a new one by itself", true},
	{OtherDevice, "a tablet acts for another than itself", "sync each tablet with its own store, or give the server's token", false},
	{NotForDevices, "a tablet asks for what only people at headquarters may do", "give the server's token, with --token or HEARTH_TOKEN", false},
	{DeviceRevoked, "a tablet whose rights were taken away goes on sending", "look at what it sent in quarantine; if the tablet is in good hands, enrol it again with a new code and replay", false},
	{NoSuchDevice, "no tablet has that name or id, or several have the name", "look it up with `hearth devices --json`", false},
	{NoSuchAssignment, "no assignment has that id, or several begin so", "look it up with `hearth assignment list`, on a tablet with `hearth tablet assignments`", false},
	{BadAssignment, "an order to an enumerator is not complete or cannot be carried out", "correct what the message names, and give it again", false},
	{AssignmentWaiting, "an assignment is begun that somebody else may still be doing", "wait until their tablet has synced, or have the supervisor end it with `hearth assignment release`", false},
	{AssignmentNotOpen, "an assignment is begun that was completed, given back or recalled", "look at it with `hearth tablet assignments`; what was done is not lost", false},
	{NoHandOver, "an assignment is to be released that nobody waits for", "look at it with `hearth assignment show`", false},
	{BadReview, "a review decides nothing and says nothing, or names no question of the interview", "say it with --text, and name the question by its path, as `hearth flags` does", false},
	{AnswersNotHere, "an interview is to be opened again whose answers the tablet no longer has or never had", "ask the supervisor: headquarters has them; or hold the interview again", false},
	{BucketDamaged, "what the server sent down does not have the sum that it says, twice", "sync again; if it stays, have headquarters run `hearth check --rebuild`", true},
	{HubOffline, "a hub cannot reach headquarters for what only headquarters can do", "try again where the hub reaches headquarters; what is on the tablet stays there", true},
	{HubOfHub, "a hub is asked to forward to another hub", "give --upstream the address of headquarters itself", false},
	{HubRevoked, "headquarters has taken the rights of a hub away", "sync with headquarters or another hub; what the tablet has is still on it", false},
	{HubWaits, "a hub holds entries of a lane whose signature has not come yet", "sync the tablet once more, with this hub or with headquarters", true},
	{NotAHub, "a server is asked what only hubs can say, or a folder is not a hub's", "name the hub's address or folder; one becomes a hub with `hearth serve --upstream ADDR --code CODE`", false},
	{AtHeadquarters, "a hub is asked for what is decided at headquarters", "do it at headquarters; the hub brings it to the tablets", false},
	{RoundClosed, "an interview arrives after its round or its study was closed", "look at it with `hearth quarantine show`; to take it in, open the round with `hearth study reopen`, replay, and close it again", false},
	{NoSuchRound, "a round is named that the study does not have", "look at the rounds with `hearth study show`", false},
	{RecordsMissing, "records that were acknowledged are neither in the log nor in quarantine", "take them from a backup of the data folder, or from the tablet with import-tablet", false},
	{ProjectionWrong, "what is derived from the log is not what the log gives", "stop the server, delete projection.sqlite and start again: it is made from the log", false},
	{ProjectionBehind, "records of the log are not in the projections yet", "let a server open the folder: it catches up by itself", true},
	{BlobAbsent, "an attachment that a record lists has not arrived whole, or is not in the store", "sync the tablet again; if it is lost, take in a copy of its file with import-tablet", true},
	{BlobUnlisted, "an attachment is kept that no record lists", "nothing is wrong if its interview is still to come, or in quarantine; otherwise move the file elsewhere", false},
	{ErasureUnfinished, "an erasure was decided and cut short", "finish it with `hearth review erase INTERVIEW --yes`", false},
	{QuestionnaireBreaking, "a version of a questionnaire would make answers given before unreadable or wrong", "see each change with `hearth form publish --dry-run`; declare it, end the old question with until, or take a new number", false},
	{QuestionnaireTooLarge, "a questionnaire is larger than tablets can be sent", "keep long lists of choices as attachments of the form or split them by province, and pictures out of the .xlsx", false},
	{QuestionnaireNameTaken, "a questionnaire is called as another one is", "give its top message another name", false},
	{QuestionnaireDamaged, "what is kept of a questionnaire is not what was published", "publish the same file again; on a tablet, sync again", true},
	{QuestionnaireNotHere, "answers are given by name, and the tablet does not know their questionnaire", "sync the tablet, or name the questionnaire's file with --form", false},
	{BadXForm, "an XForm has a mistake, or is none", "correct the form where the finding says, or make it again with `hearth form export --as xform`", false},
	{BadForm, "an XLSForm cannot be read as a questionnaire", "correct what the message names in the spreadsheet, and import it again", false},
	{ModelUnreadable, "what linkage learnt of a study cannot be read, or another version wrote it", "have it learnt again: `hearth dedup run`", false},
	{BadAnswers, "a file of answers about pairs has a line that says nothing", "write two ids and yes or no on every line", false},
	{NotAnonymous, "a public export would single people out", "name fewer variables with --quasi, filter or coarsen less finely told data, or have rare combinations blanked with --suppress", false},
	{ExportsOnly, "the token for exports is used for something else, or for direct identifiers", "ask the data manager, who has the server's own token, to do it", false},
	{NotInFeed, "the OData feed is asked for what it does not do", "ask for less, and have the client do the rest; or take a file: GET /export/STUDY/csv/person.csv", false},
	{NotAcceptable, "a client takes none of the types that there are", "let it take application/json, and application/xml for $metadata", false},
	{FeedGone, "a further page of an OData feed is asked for long after the one before", "load the table again from its beginning", false},
	{ReasonMissing, "direct identifiers are asked for without a reason, or by nobody", "say why with --reason and who with --by; both are kept, and `hearth export history` shows them", false},
}

// Catalogue returns all entries, ordered by reason.
func Catalogue() []Entry {
	all := slices.Clone(catalogue)
	slices.SortFunc(all, func(a, b Entry) int {
		if a.Reason < b.Reason {
			return -1
		}
		return 1
	})
	return all
}

func lookup(r Reason) (Entry, bool) {
	for _, e := range catalogue {
		if e.Reason == r {
			return e, true
		}
	}
	return Entry{}, false
}

// Do says what the person should do, or "" if the reason is not in the catalogue.
func (r Reason) Do() string {
	e, _ := lookup(r)
	return e.Do
}

// Retry says whether the same call may succeed later by itself.
func (r Reason) Retry() bool {
	e, _ := lookup(r)
	return e.Retry
}
