// Package failpoint marks the places of the product at which a test kills the process, holds it up, or has a step fail:
// between a commit and its answer, between a rename and the sync of its folder. It is for tests with real processes and
// for the packages that carry such places.
//
// The product is built without the tag "failpoints": then the functions here are empty, the compiler leaves nothing of
// them, and no variable of the environment has any effect. With the tag, HEARTH_FAILPOINT says what happens where:
//
//	log.after-commit=kill@3          the third time this place is reached, the process is killed
//	sync.before-answer=sleep:2s@1    the first time, it waits
//	blob.sync-folder=error@2         the second time, Fail returns ErrInjected; error@* every time
//
// Several are separated by commas, and each place counts for itself. HEARTH_FAILPOINT_TRACE names a file to which the
// name of every place is appended when it is reached, after an empty line for each process, so that a test sees which
// places a piece of work passes and how often.
package failpoint
