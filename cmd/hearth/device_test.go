package main

import (
	"strings"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/protobuf/proto"
)

// Names and ids are texts, whatever digits they consist of.
func TestFindDevice(t *testing.T) {
	device := func(first byte, name string) *servicev1.DeviceStatus {
		id := make([]byte, 16)
		id[0] = first
		return &servicev1.DeviceStatus{Device: id, Name: proto.String(name)}
	}
	digits := "12" + strings.Repeat("0", 30)
	all := []*servicev1.DeviceStatus{device(0x12, "0007"), device(0x34, "7"), device(0x56, "twin"), device(0x78, "twin"), device(0x9a, digits)}
	for _, tt := range []struct {
		name string
		want byte
		kind fault.Kind
	}{
		{"0007", 0x12, 0}, {"7", 0x34, 0}, {"07", 0, fault.NotFound}, {"", 0, fault.NotFound},
		{digits, 0x12, 0}, // the id, although it is also a name
		{"9A" + strings.Repeat("0", 30), 0x9a, 0}, {"twin", 0, fault.Conflict}, {"56" + strings.Repeat("0", 30), 0x56, 0},
		{"12", 0, fault.NotFound}, {"ff" + strings.Repeat("0", 30), 0, fault.NotFound},
	} {
		d, err := findDevice(all, tt.name)
		if tt.want != 0 && (err != nil || d.GetDevice()[0] != tt.want) || tt.want == 0 && (fault.KindOf(err) != tt.kind || fault.ReasonOf(err) != fault.NoSuchDevice) {
			t.Errorf("findDevice(%q) = %v, %v; want %x", tt.name, d, err, tt.want)
		}
	}
}

func TestOnlyHere(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8686": true, "[::1]:8686": true, "localhost:8686": true, "https://localhost:8686": true, "0.0.0.0:8686": true,
		"10.0.0.7:8686": false, "hq.example:8686": false, "https://hq.example:8686": false, "": false, "nonsense": false,
	} {
		if got := onlyHere(addr); got != want {
			t.Errorf("onlyHere(%q) = %v, want %v", addr, got, want)
		}
	}
}
