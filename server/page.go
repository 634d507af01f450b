package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"github.com/hearth-survey/hearth/server/store"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Sizes of pages.
const (
	defaultPage = 100
	maxPage     = 1000
)

// pageSize brings the size asked for within the limits.
func pageSize(asked uint32) int {
	switch {
	case asked == 0:
		return defaultPage
	case asked > maxPage:
		return maxPage
	}
	return int(asked)
}

// pageKey is a hash of everything a request asks for but its page, so that a token cannot continue another list.
func pageKey(method string, req proto.Message) []byte {
	bare := proto.Clone(req)
	m := bare.ProtoReflect()
	for _, name := range []protoreflect.Name{"page_token", "page_size"} {
		if f := m.Descriptor().Fields().ByName(name); f != nil {
			m.Clear(f)
		}
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		raw = nil // cannot happen for a message that was just received
	}
	sum := sha256.Sum256(append([]byte(method+"\x00"), raw...))
	return sum[:8]
}

// pageToken says where the next page begins.
func pageToken(method string, req proto.Message, position string) *string {
	return proto.String(base64.RawURLEncoding.EncodeToString(append(pageKey(method, req), position...)))
}

// placeToken says that the next page begins behind an interview, by where it stands: it may be withdrawn meanwhile.
func placeToken(method string, req proto.Message, of *servicev1.InterviewSummary) *string {
	p := store.PositionOf(of)
	return pageToken(method, req, fmt.Sprintf("%d %d %s", p.StartMS, p.Part, p.InterviewID))
}

// pagePlace reads such a token; nil is the beginning.
func pagePlace(method string, req proto.Message, token string) (*store.Position, error) {
	text, err := pagePosition(method, req, token)
	if err != nil || text == "" {
		return nil, err
	}
	p := &store.Position{}
	words := strings.SplitN(text, " ", 3)
	if len(words) == 3 && words[2] != "" {
		var errs [2]error
		p.StartMS, errs[0] = strconv.ParseInt(words[0], 10, 64)
		p.Part, errs[1] = strconv.ParseUint(words[1], 10, 64)
		if p.InterviewID = words[2]; errors.Join(errs[:]...) == nil {
			return p, nil
		}
	}
	return nil, fault.New(fault.Invalid, fault.BadPageToken, "the page token names no place in the list")
}

// pagePosition reads a token of the same list; an empty token is the beginning.
func pagePosition(method string, req proto.Message, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	if len(token) > 512 {
		return "", fault.New(fault.Invalid, fault.BadPageToken, "the page token has %d characters", len(token))
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	key := pageKey(method, req)
	if err != nil || len(raw) <= len(key) || !bytes.Equal(raw[:len(key)], key) {
		return "", fault.New(fault.Invalid, fault.BadPageToken, "the page token is not of this list")
	}
	return string(raw[len(key):]), nil
}
