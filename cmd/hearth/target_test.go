package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Whatever an error came through, a person reads what happened and what to do, and never the words of the transport.
func TestExplain(t *testing.T) {
	remote := status.Error(codes.NotFound, "there is no study here")
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"remote", remote, "there is no study here"},
		{"joined", errors.Join(remote, nil), "there is no study here"},
		{"wrapped", fmt.Errorf("list: %w", remote), "there is no study here"},
		{"no port", status.Error(codes.Unavailable, "dial tcp: address x: missing port in address"), "host:port"},
		{"down", errors.Join(status.Error(codes.Unavailable, "connection reset")), "check its address"},
		{"full", fmt.Errorf("write x: %w", syscall.ENOSPC), "make room"},
		{"fault", errors.Join(fault.New(fault.NotFound, fault.StoreMissing, "no store")), "no store: check the path (STORE_MISSING)"},
		{"fault that holds one", fault.New(fault.Unavailable, fault.Unreachable, "say hello: %w", remote), "(UNREACHABLE)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := explain(tt.err)
			if !strings.Contains(got, tt.want) || tt.name != "fault that holds one" && strings.Contains(got, "rpc error") {
				t.Errorf("explain(%v) = %q, want %q in it", tt.err, got, tt.want)
			}
		})
	}
}

// A key is made once, whole, and for its owner only; a folder where it cannot be written keeps no half of it.
func TestSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "server.key")
	first, err := secret(path, 32)
	if err != nil || len(first) != 32 {
		t.Fatalf("secret made %d bytes, %v", len(first), err)
	}
	again, err := secret(path, 32)
	if err != nil || string(again) != string(first) {
		t.Errorf("secret read back %x, %v, want %x", again, err, first)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v, want mode 0600", info, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("%d files beside the key, %v, want the key alone", len(left), err)
	}
}
