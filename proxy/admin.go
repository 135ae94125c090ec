package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
)

// adminRoot is where MinIO's own API begins: no bucket can have this name.
const adminRoot = "/minio/"

// isAdminPath says whether a path belongs to adminRoutes rather than to S3.
func isAdminPath(path string) bool {
	rest, ok := strings.CutPrefix(path, adminRoot)
	return ok && slices.ContainsFunc([]string{"admin", "kms", "metrics", "v2/metrics", "prometheus"}, func(first string) bool {
		return rest == first || strings.HasPrefix(rest, first+"/")
	})
}

// adminTable finds the route of a request for MinIO's own API.
type adminTable struct {
	whole map[string][]*route // by path
	below map[string][]*route // by path without its *
}

func newAdminTable(rows []route) (*adminTable, error) {
	t := &adminTable{whole: map[string][]*route{}, below: map[string][]*route{}}
	for i := range rows {
		row := &rows[i]
		row.scope = scopeAdmin
		if err := row.check(); err != nil {
			return nil, err
		}
		if prefix, ok := strings.CutSuffix(row.path, "*"); ok {
			t.below[prefix] = append(t.below[prefix], row)
			continue
		}
		t.whole[row.path] = append(t.whole[row.path], row)
	}
	return t, nil
}

// find returns the route of a request below /minio/, or errUnknownOperation.
// Parameters of a refused route need not be known: it is refused with them too.
func (t *adminTable) find(method, path string, query map[string][]string) (*route, error) {
	for _, row := range t.candidates(path) {
		if row.method != method || row.action != refuse && !row.matches(query, nil) {
			continue
		}
		if row.action == refuse {
			return row, nil
		}
		return row, row.checkQuery(query)
	}
	return nil, fmt.Errorf("%s of /minio/%s: %w", method, path, errUnknownOperation)
}

// candidates are the routes of a path, those that name it whole first, then
// those of the longest path that it lies below.
func (t *adminTable) candidates(path string) []*route {
	list := slices.Clip(t.whole[path])
	for end := strings.LastIndexByte(path, '/'); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		list = append(list, t.below[path[:end+1]]...)
	}
	return list
}

// handleAdmin answers a request for MinIO's own API. Only callers who signed get
// an answer; what they may is for MinIO to say, and of keys for the proxy too.
func (s *Server) handleAdmin(w *responseWriter, r *request) error {
	r.bucket, r.key = "minio", strings.TrimPrefix(r.URL.Path, adminRoot)
	if hasDotSegment(r.key) || !utf8.ValidString(r.key) || strings.ContainsRune(r.key, 0) {
		return errMalformedPath
	}
	var err error
	if r.query, err = requestQuery(r.Request); err != nil {
		return err
	}
	found, unknown := s.admin.find(r.Method, r.key, r.query)
	if found != nil && found.bearer && unknown == nil {
		r.route = found
		if err := s.enter(r); err != nil {
			return err
		}
		return found.handler(s, w, r)
	}
	if r.auth, err = s.verifier.Verify(r.Request); err != nil {
		return fmt.Errorf("verify signature: %w", err)
	}
	if r.caller, err = s.identify(r.Context(), r.auth); err != nil {
		return err
	}
	if r.auth.Kind != sigv4.Header {
		return fmt.Errorf("the admin API takes signatures in the Authorization header only, this one is %s: %w", r.auth.Kind, errAccessDenied)
	}
	if err := refuseHeaders(r.Header); err != nil {
		return err
	}
	if unknown != nil {
		return unknown
	}
	r.route = found
	if s.namesSystemBucket(r) {
		return errReservedBucket(r.route.op)
	}
	if err := s.fitness.admit(r.Context(), http.MethodGet); err != nil {
		return err
	}
	if r.route.action == refuse {
		return errAdminRefused(r.route)
	}
	if err := s.enter(r); err != nil {
		return err
	}
	if r.route.action == forward {
		return s.forwardAdmin(w, r)
	}
	return r.route.handler(s, w, r)
}

// namesSystemBucket says whether an admin request is about the system bucket: as
// everywhere, it does not exist.
func (s *Server) namesSystemBucket(r *request) bool {
	named := r.query.Get("bucket")
	if rest, ok := strings.CutPrefix(r.key, "admin/v3/heal/"); ok {
		named, _, _ = strings.Cut(rest, "/")
	}
	return strings.EqualFold(strings.Trim(path.Clean(named), "/"), s.opts.SystemBucket) // MinIO cleans such names
}

// forwardAdmin passes an admin request on, signed anew as its caller, and the
// answer back. What is sealed under the caller's secret stays so: upstream
// verifies the same credential.
func (s *Server) forwardAdmin(w http.ResponseWriter, r *request) error {
	resp, err := s.askAdmin(r)
	if err != nil {
		return err
	}
	if r.route.stream {
		w = flushingWriter{w}
	}
	return s.forwardAnswer(w, resp)
}

// askAdmin sends an admin request upstream. Answers that are errors come back
// as such.
func (s *Server) askAdmin(r *request) (*http.Response, error) {
	body, err := s.document(r)
	if err != nil {
		return nil, err
	}
	return s.askAdminWith(r, body)
}

// askAdminWith is askAdmin for a request whose body was read already.
func (s *Server) askAdminWith(r *request, body []byte) (*http.Response, error) {
	resp, err := s.forwardDocument(r, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 400 {
		return nil, readAdminError(resp)
	}
	return resp, nil
}

// readAdminError reads an error of the admin API, which speaks JSON.
func readAdminError(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, smallBody))
	_ = resp.Body.Close()
	e := &storage.Error{Status: resp.StatusCode, Header: storage.Metadata(resp.Header)}
	if err == nil {
		var answer struct{ Code, Message string }
		if json.Unmarshal(body, &answer) == nil {
			e.Code, e.Message = answer.Code, answer.Message
		}
	}
	return e
}

// flushingWriter hands on at once what is written to it.
type flushingWriter struct{ http.ResponseWriter }

// Write writes and flushes.
func (w flushingWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

// writeJSON answers with a whole JSON document.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	writeBytes(w, status, "application/json", b.Bytes())
	return nil
}

// writeAdminError answers with an error as the admin API does.
func writeAdminError(w http.ResponseWriter, r *request, e *apiError) {
	_ = writeJSON(w, e.status, struct {
		Code, Message, Resource, RequestId, HostId string //nolint:revive // the wire's names
	}{e.code, e.message, r.URL.Path, r.id, ""})
}

// getConfigKV forwards the question for a setting of MinIO, but for those of its
// KMS: there is none, and the proxy's own is configured elsewhere.
func (s *Server) getConfigKV(w http.ResponseWriter, r *request) error {
	if strings.HasPrefix(strings.ToLower(r.query.Get("key")), "kms") {
		return errAdminRefused(&route{op: r.route.op, why: "MinIO has no KMS; bucketseal's is set in its own configuration"})
	}
	return s.forwardAdmin(w, r)
}
