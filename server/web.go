package server

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/hearth-survey/hearth/proto/fault"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Routes are what is asked of the server by plain HTTP, beside the calls. The policy knows them as it knows calls.
const (
	routeExport = "GET /export/"
	routeOData  = "GET /odata/"
)

// route is the route of a path, empty if it is none.
func route(path string) string {
	for _, r := range []string{routeExport, routeOData} {
		if strings.HasPrefix(path, strings.TrimPrefix(r, "GET ")) {
			return r
		}
	}
	return ""
}

// web answers a route: the policy is asked, panics are caught, and a line is logged as for every call.
func (s *Server) web(w http.ResponseWriter, r *http.Request, route string) {
	ctx := metadata.NewIncomingContext(r.Context(), credentials(r))
	c := s.begin(ctx, route)
	w.Header().Set(requestHeader, c.request)
	out := &tallied{ResponseWriter: w}
	var err error
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
		c.out = out.n
		if err = answer(ctx, s.log, c, err); err != nil && !out.begun {
			refuse(out, r, route, err)
		}
		s.end(ctx, c, err)
	}()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		out.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	rule, refused := s.admit(ctx, c)
	if refused != nil {
		err = refused
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, c), rule.longest)
	defer cancel()
	if route == routeOData {
		err = s.odata(ctx, out, r)
		return
	}
	err = s.download(ctx, out, r)
}

// credentials are those of a request as calls have them. Excel, R and Stata send a user and a password: the password is the
// token then, whoever the user is.
func credentials(r *http.Request) metadata.MD {
	md := metadata.MD{}
	for _, v := range r.Header.Values("Authorization") {
		if kind, packed, _ := strings.Cut(v, " "); strings.EqualFold(kind, "Basic") {
			if raw, err := base64.StdEncoding.DecodeString(packed); err == nil {
				_, token, _ := strings.Cut(string(raw), ":")
				v = "Bearer " + token
			}
		}
		md.Append("authorization", v)
	}
	if id := r.Header.Get(requestHeader); id != "" {
		md.Set(requestHeader, id)
	}
	return md
}

// tallied is an answer whose bytes are tallied.
type tallied struct {
	http.ResponseWriter
	begun bool
	n     int
}

// WriteHeader notes that the answer has begun.
func (w *tallied) WriteHeader(code int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

// Write counts.
func (w *tallied) Write(p []byte) (int, error) {
	w.begun = true
	n, err := w.ResponseWriter.Write(p)
	w.n += n
	return n, err
}

// Unwrap lets deadlines be set.
func (w *tallied) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// httpCodes are the codes of HTTP for those of gRPC.
var httpCodes = map[codes.Code]int{
	codes.InvalidArgument: http.StatusBadRequest, codes.NotFound: http.StatusNotFound, codes.AlreadyExists: http.StatusConflict,
	codes.FailedPrecondition: http.StatusConflict, codes.PermissionDenied: http.StatusForbidden, codes.Unauthenticated: http.StatusUnauthorized,
	codes.ResourceExhausted: http.StatusRequestEntityTooLarge, codes.Unavailable: http.StatusServiceUnavailable, codes.OutOfRange: http.StatusGone,
	codes.Unimplemented: http.StatusNotImplemented, codes.DeadlineExceeded: http.StatusServiceUnavailable,
}

// refuse says in words what was wrong and what to do, or as OData says it.
func refuse(w http.ResponseWriter, r *http.Request, route string, err error) {
	code := cmp.Or(httpCodes[status.Code(err)], http.StatusInternalServerError)
	h := w.Header()
	for _, name := range []string{"Etag", "Content-Disposition", "Content-Length", "Last-Modified"} {
		h.Del(name)
	}
	if code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Basic realm="Hearth: any name, and the token as password", charset="UTF-8"`)
	}
	h.Set("Cache-Control", "no-store")
	said := status.Convert(err).Message()
	reason := reasonOf(err)
	if do := fault.Reason(reason).Do(); do != "" && !strings.Contains(said, do) {
		said += ": " + do
	}
	if route == routeOData {
		odataError(w, code, cmp.Or(reason, status.Code(err).String()), said)
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		fmt.Fprintln(w, said)
	}
}
