package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	servicev1 "github.com/hearth-survey/hearth/proto/hearth/service/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// withAttachments adds to the note of an interview what has not arrived of its attachments.
func withAttachments(note string, s *servicev1.InterviewSummary) string {
	n := len(s.GetAttachments())
	if n == 0 {
		return note
	}
	text := fmt.Sprintf("%d attachments", n)
	if missing := s.GetAttachmentsMissing(); missing > 0 {
		text += fmt.Sprintf(", %d not arrived", missing)
	}
	if note == "" {
		return text
	}
	return note + "; " + text
}

// blobCmd works with attachments at headquarters.
type blobCmd struct {
	Get blobGetCmd `cmd:"" help:"Write attachments to files: one by its SHA-256, or all of an interview."`
}

type blobGetCmd struct {
	target
	SHA256    string `arg:"" optional:"" name:"sha256" help:"SHA-256 of the attachment, in hexadecimal."`
	Interview string `help:"Key or id of an interview, instead of a hash: all attachments it lists."`
	Out       string `short:"o" help:"Folder to write into; made if it is not there." required:"" type:"path"`
}

// Run writes the attachments that have arrived, and names those that have not.
func (c *blobGetCmd) Run(e *env) error {
	if (c.SHA256 == "") == (c.Interview == "") {
		return fmt.Errorf("%w: name one attachment by its SHA-256, or an interview with --interview", errUsage)
	}
	cc, err := c.dial(e.ctx)
	if err != nil {
		return err
	}
	defer cc.Close()
	if err := os.MkdirAll(c.Out, 0o700); err != nil {
		return err
	}
	if c.SHA256 != "" {
		sum, err := hex.DecodeString(c.SHA256)
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("%w: %q is not a SHA-256: 64 characters 0-9 a-f", errUsage, c.SHA256)
		}
		return c.one(e, cc, sum, filepath.Join(c.Out, hex.EncodeToString(sum)))
	}
	return c.ofInterview(e, cc)
}

func (c *blobGetCmd) ofInterview(e *env, cc grpc.ClientConnInterface) error {
	found, err := findInterviews(e.ctx, cc, c.Interview)
	if err != nil {
		return err
	}
	missing, all := 0, 0
	for _, s := range found {
		for i, ref := range s.GetAttachments() {
			all++
			name := fmt.Sprintf("%s-%d%s", safeName(s), i+1, fileEnding(ref.GetMediaType()))
			err := c.one(e, cc, ref.GetSha256(), filepath.Join(c.Out, name))
			if answeredWith(err, fault.NoSuchBlob) {
				missing++
				fmt.Fprintf(e.stderr, "%s: attachment %d (%x) has not arrived: sync the tablet that has it\n", safeName(s), i+1, ref.GetSha256())
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	if all == 0 {
		return say(e, "interview "+c.Interview+" has no attachments")
	}
	if missing > 0 {
		return errFound
	}
	return nil
}

// answeredWith says whether a server gave that reason.
func answeredWith(err error, reason fault.Reason) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetReason() == string(reason) {
			return true
		}
	}
	return false
}

// findInterviews lists the interviews with a key or an id; a key may have been given twice.
func findInterviews(ctx context.Context, cc grpc.ClientConnInterface, name string) ([]*servicev1.InterviewSummary, error) {
	client := servicev1.NewMonitorServiceClient(cc)
	req := &servicev1.ListInterviewsRequest{PageSize: proto.Uint32(1000)}
	var found []*servicev1.InterviewSummary
	for {
		resp, err := client.ListInterviews(ctx, req)
		if err != nil {
			return nil, err
		}
		for _, s := range resp.GetInterviews() {
			if s.GetInterviewKey() == name || s.GetInterviewId() == name {
				found = append(found, s)
			}
		}
		if resp.GetNextPageToken() == "" {
			break
		}
		req.PageToken = resp.NextPageToken
	}
	if len(found) == 0 {
		return nil, fault.New(fault.NotFound, fault.BadRequest, "there is no interview with the key or id %q: list them with hearth interviews", name)
	}
	return found, nil
}

// safeName makes a file's name of an interview's key: letters, digits and marks that no system minds. Two interviews
// with one key are told apart by their ids.
func safeName(s *servicev1.InterviewSummary) string {
	key := strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.Trim(s.GetInterviewKey(), ". "))
	if id := s.GetInterviewId(); len(id) >= 8 {
		key += "-" + strings.Map(func(r rune) rune {
			if r == '/' || r == '\\' || r < ' ' {
				return '_'
			}
			return r
		}, id[:8])
	}
	return key
}

// fileEnding is the usual ending of a file of a media type.
func fileEnding(mediaType string) string {
	kind, _, _ := strings.Cut(mediaType, ";")
	return map[string]string{
		"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "image/heic": ".heic",
		"audio/mpeg": ".mp3", "audio/wave": ".wav", "audio/amr": ".amr", "audio/mp4": ".m4a", "audio/basic": ".au", "audio/aac": ".aac", "application/ogg": ".ogg",
		"video/mp4": ".mp4", "video/webm": ".webm", "video/avi": ".avi", "video/3gpp": ".3gp", "application/pdf": ".pdf", "text/plain": ".txt", "application/zip": ".zip",
	}[kind]
}

// one writes an attachment to a file, whole and with its hash verified or not at all.
func (c *blobGetCmd) one(e *env, cc grpc.ClientConnInterface, sum []byte, path string) (err error) {
	stream, err := servicev1.NewSyncServiceClient(cc).GetBlob(e.ctx, &servicev1.GetBlobRequest{Sha256: sum})
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return err // before a file is made for it
	}
	f, err := os.CreateTemp(c.Out, ".hearth-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreGone(os.Remove(f.Name())))
		}
	}()
	size, err := receive(stream, first, f, sum)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return say(e, fmt.Sprintf("%s: %s", path, byteCount(size)))
}

func ignoreGone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// receive writes what a stream brings and checks that it is what was asked for.
func receive(stream grpc.ServerStreamingClient[servicev1.GetBlobResponse], piece *servicev1.GetBlobResponse, to io.Writer, sum []byte) (int64, error) {
	hash, size := sha256.New(), int64(0)
	for {
		hash.Write(piece.GetData())
		n, err := to.Write(piece.GetData())
		size += int64(n)
		if err != nil {
			return size, err
		}
		piece, err = stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return size, err
		}
	}
	if !bytes.Equal(hash.Sum(nil), sum) {
		return size, fault.New(fault.Internal, fault.BlobDamaged, "the copy of attachment %x at headquarters is damaged", sum)
	}
	return size, nil
}
