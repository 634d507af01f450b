package fault

// The severities of findings.
const (
	// SeverityError is of a finding that says that data are damaged or missing.
	SeverityError = "error"
	// SeverityWarning is of one at which somebody should look.
	SeverityWarning = "warning"
)

// Finding is one thing that the check of a store has found, and what to do about it.
type Finding struct {
	// Severity is SeverityError or SeverityWarning.
	Severity string
	// Reason is of the catalogue.
	Reason Reason
	// Subject names what it is about: a record, a lane, a table.
	Subject string
	Message string
	// Do is what the catalogue says to do, or something more precise.
	Do string
}

// NewFinding makes a finding whose Do is the catalogue's.
func NewFinding(severity string, reason Reason, subject, message string) Finding {
	return Finding{Severity: severity, Reason: reason, Subject: subject, Message: message, Do: reason.Do()}
}
