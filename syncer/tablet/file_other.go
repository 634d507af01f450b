//go:build !linux

package tablet

// fileMark is not known here: a copy of a store is found out when it meets headquarters.
func fileMark(string) []byte { return nil }
