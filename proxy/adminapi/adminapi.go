// Package adminapi serves MinIO's admin and KMS API and its metrics: what the proxy has to
// know of (access keys that are made, keys that it alone has), and passes on the rest. It
// administers keys and opens none of an object.
package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/adminpayload"
	"github.com/bucketseal/bucketseal/proxy/batchjobs"
	"github.com/bucketseal/bucketseal/proxy/edge"
	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/route"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// Keys are the KMS keys as their administrators see them: kms.Service without what opens
// an object's DEK by itself.
type Keys interface {
	Status(ctx context.Context) (kms.State, error)
	CreateKey(ctx context.Context, name string) error
	ListKeys(ctx context.Context, prefix string) ([]string, error)
	GenerateDEK(ctx context.Context, name string, encContext []byte) (kms.DEK, error)
	DecryptDEK(ctx context.Context, name string, ciphertext, encContext []byte) ([kms.DEKSize]byte, error)
}

// Options are an API's dependencies; all are required.
type Options struct {
	Intake    *intake.Intake
	Forwarder *upstream.Forwarder
	Keys      Keys
	// Counted counts the calls of the key service.
	Counted *CountedKeys
	// DefaultKey is the KMS key of requests that name none, Reserved begins the names of
	// the proxy's own.
	DefaultKey, Reserved string
	SystemBucket         string
	// Batch are the batch jobs that the proxy runs.
	Batch *batchjobs.Jobs
	// Admit refuses requests while the storage cannot be used.
	Admit func(ctx context.Context, need storage.Need) error
	// Describe returns what a client sees of an error that is not this package's own.
	Describe func(error) *intake.Error
	Logger   *slog.Logger
}

// API serves what lies below /minio/. It is safe for concurrent use.
type API struct {
	o          Options
	in         *intake.Intake
	identities *identity.Store
	log        *slog.Logger
	table      *table
	payloads   *adminpayload.Opener
	sealing    *edge.Gate // in front of payloads
}

// New returns the API. The error is one of its table.
func New(o Options) (*API, error) {
	t, err := newTable(Routes())
	if err != nil {
		return nil, err
	}
	return &API{
		o: o, in: o.Intake, identities: o.Intake.Identities(), log: o.Logger, table: t,
		payloads: adminpayload.New(payloadsAtOnce), sealing: edge.NewQueue(payloadsAtOnce, payloadQueue, payloadWait),
	}, nil
}

// Root is where MinIO's own API begins: no bucket can have this name.
const Root = "/minio/"

// Serves says whether a path belongs to this API rather than to S3.
func Serves(path string) bool {
	rest, ok := strings.CutPrefix(path, Root)
	return ok && slices.ContainsFunc([]string{"admin", "kms", "metrics", "v2/metrics", "prometheus"}, func(first string) bool {
		return rest == first || strings.HasPrefix(rest, first+"/")
	})
}

// ServeHTTP answers a request whose path Serves.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.in.Serve(w, r, false, a) }

// table finds the row of a request.
type table struct {
	whole map[string][]*row // by path
	below map[string][]*row // by path without its *
}

func newTable(rows []row) (*table, error) {
	t := &table{whole: map[string][]*row{}, below: map[string][]*row{}}
	for i := range rows {
		r := &rows[i]
		r.Scope = route.Admin
		if err := r.Check(r.Handler != nil); err != nil {
			return nil, err
		}
		if prefix, ok := strings.CutSuffix(r.Path, "*"); ok {
			t.below[prefix] = append(t.below[prefix], r)
			continue
		}
		t.whole[r.Path] = append(t.whole[r.Path], r)
	}
	return t, nil
}

// find returns the row of a request below /minio/, or route.ErrUnknown.
// Parameters of a refused one need not be known: it is refused with them too.
func (t *table) find(method, path string, query map[string][]string) (*row, error) {
	for _, r := range t.candidates(path) {
		if r.Method != method || r.Action != route.Refuse && !r.Matches(query, nil) {
			continue
		}
		if r.Action == route.Refuse {
			return r, nil
		}
		return r, r.CheckQuery(query)
	}
	return nil, fmt.Errorf("%s of /minio/%s: %w", method, path, route.ErrUnknown)
}

// candidates are the rows of a path, those that name it whole first, then
// those of the longest path that it lies below.
func (t *table) candidates(path string) []*row {
	list := slices.Clip(t.whole[path])
	for end := strings.LastIndexByte(path, '/'); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		list = append(list, t.below[path[:end+1]]...)
	}
	return list
}

// Name implements intake.Handler.
func (a *API) Name(r *intake.Request) error {
	r.Bucket, r.Key = "minio", strings.TrimPrefix(r.URL.Path, Root)
	if objectname.HasDotSegment(r.Key) || !utf8.ValidString(r.Key) || strings.ContainsRune(r.Key, 0) {
		return intake.ErrMalformedPath
	}
	return nil
}

// Handle implements intake.Handler. Only callers who signed get
// an answer; what they may is for MinIO to say, and of keys for the proxy too.
func (a *API) Handle(w *intake.Answer, r *intake.Request) (err error) {
	if r.Query, err = intake.ParseQuery(r.Request); err != nil {
		return err
	}
	found, unknown := a.table.find(r.Method, r.Key, r.Query)
	if found != nil && found.Bearer && unknown == nil {
		r.Route = found.Route()
		if err := a.in.Enter(r); err != nil {
			return err
		}
		return found.Handler(a, w, r)
	}
	if err := a.authenticate(r); err != nil {
		return err
	}
	if unknown != nil {
		return unknown
	}
	r.Route = found.Route()
	if namesSystemBucket(r, a.o.SystemBucket) { // as everywhere, it does not exist
		return intake.NewError(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	if err := a.o.Admit(r.Context(), storage.Reads); err != nil {
		return err
	}
	if found.Action == route.Refuse {
		return errRefused(found.Op, found.Why)
	}
	r.Target = r.Query.Encode() // as far as the table knows it: no parameter there is a secret
	if err := a.in.Enter(r); err != nil {
		return err
	}
	if found.Action == route.Forward {
		return a.forward(w, r, found.Stream)
	}
	return found.Handler(a, w, r)
}

// authenticate finds out who signed a request, in its Authorization header.
func (a *API) authenticate(r *intake.Request) (err error) {
	if err := a.in.Verify(r); err != nil {
		return err
	}
	if r.Caller, err = a.in.Identify(r.Context(), r.Auth); err != nil {
		return err
	}
	if r.Auth.Kind != sigv4.Header {
		return fmt.Errorf("the admin API takes signatures in the Authorization header only, this one is %s: %w", r.Auth.Kind, ErrAccessDenied)
	}
	return intake.RefuseHeaders(r.Header)
}

// namesSystemBucket says whether an admin request is about the system bucket.
func namesSystemBucket(r *intake.Request, systemBucket string) bool {
	named := r.Query.Get("bucket")
	if rest, ok := strings.CutPrefix(r.Key, "admin/v3/heal/"); ok {
		named, _, _ = strings.Cut(rest, "/")
	}
	return strings.EqualFold(strings.Trim(path.Clean(named), "/"), systemBucket) // MinIO cleans such names
}

// forwardAdmin passes an admin request on, signed anew as its caller, and the
// answer back. What is sealed stays so, for upstream knows the caller's secret, or is
// sealed anew (reseal.go).
func (a *API) forwardAdmin(w http.ResponseWriter, r *intake.Request) error {
	return a.forward(w, r, false)
}

// forward is forwardAdmin; stream hands on at once what comes.
func (a *API) forward(w http.ResponseWriter, r *intake.Request, stream bool) error {
	if stream { // of readable lines, which come when they come
		return a.in.Forward(flushingWriter{w}, r, upstream.Admin)
	}
	answer, err := a.askAdmin(r)
	if err != nil {
		return err
	}
	return a.in.PassBack(w, r, answer)
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
	intake.WriteDocument(w, status, "application/json", b.Bytes())
	return nil
}

// WriteError implements intake.Handler.
func (a *API) WriteError(w *intake.Answer, r *intake.Request, e *intake.Error) {
	if w.BeginError(r, e) {
		return
	}
	_ = writeJSON(w, e.Status, struct {
		Code, Message, Resource, RequestId, HostId string //nolint:revive // the wire's names
	}{e.Code, e.Message, r.URL.Path, r.ID, ""})
}

// getConfigKV forwards the question for a setting of MinIO, but for those of its
// KMS: there is none, and the proxy's own is configured elsewhere.
func (a *API) getConfigKV(w http.ResponseWriter, r *intake.Request) error {
	if strings.HasPrefix(strings.ToLower(r.Query.Get("key")), "kms") {
		return errRefused(r.Route.Op, "MinIO has no KMS; bucketseal's is set in its own configuration")
	}
	return a.forwardAdmin(w, r)
}

// refusal returns the storage's answer, if err is one.
func refusal(err error) *storage.Error {
	var answer *storage.Error
	if errors.As(err, &answer) {
		return answer
	}
	return nil
}
