package main

import (
	"bytes"
	"net"
	"testing"
)

// recorder is a connection that keeps what is written.
type recorder struct {
	net.Conn
	bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorder) Read(p []byte) (int, error)  { return copy(p, "the server's"), nil }

// The acknowledgement of the settings that the server has not sent is left out, however the bytes are cut, and nothing else.
func TestEagerConnKeepsOneAcknowledgement(t *testing.T) {
	settings := []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100}
	ack := []byte{0, 0, 0, 4, 1, 0, 0, 0, 0}
	request := []byte{0, 0, 3, 1, 4, 0, 0, 0, 1, 'a', 'b', 'c'}
	in := bytes.Join([][]byte{[]byte(http2Preface), settings, ack, request, ack, request}, nil)
	want := bytes.Join([][]byte{[]byte(http2Preface), settings, request, ack, request}, nil)
	for size := 1; size <= len(in); size++ {
		r := &recorder{}
		c := &eagerConn{Conn: r, settings: emptySettings[:], pass: len(http2Preface)}
		for rest := in; len(rest) > 0; {
			n, err := c.Write(rest[:min(size, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if !bytes.Equal(r.Bytes(), want) {
			t.Fatalf("in pieces of %d: %q, want %q", size, r.Bytes(), want)
		}
		got := make([]byte, 9)
		if n, err := c.Read(got); n != 9 || err != nil || !bytes.Equal(got, []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}) {
			t.Fatalf("first read %v, %v", got[:n], err)
		}
		if n, _ := c.Read(got); string(got[:n]) != "the serve" {
			t.Fatalf("then %q", got[:n])
		}
	}
}
