package intake_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/s3api"
)

// auditor is an audit log that can fail, and knows what had left when a line was written.
type auditor struct {
	mu       sync.Mutex
	required bool
	fails    int  // from the line of this number on; 0 is never
	once     bool // only that line
	events   []audit.Event
	left     []int // bytes that had been written when each came
	written  func() int
}

func (*auditor) Enter() {}
func (*auditor) Leave() {}

func (a *auditor) Record(_ context.Context, e *audit.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails > 0 && len(a.events)+1 >= a.fails {
		if a.once {
			a.fails = 0
		}
		return audit.ErrUnavailable
	}
	a.events, a.left = append(a.events, *e), append(a.left, a.written())
	return nil
}

func (a *auditor) Start(e *audit.Event) func() error {
	err := a.Record(context.Background(), e)
	return func() error { return err }
}

func (a *auditor) Note(e *audit.Event) { _ = a.Record(context.Background(), e) }
func (a *auditor) Required() bool      { return a.required }
func (a *auditor) Ready() error        { return nil }

// writing is an API that enters, and answers with a body in pieces, and an error perhaps.
type writing struct {
	in     *intake.Intake
	pieces []string
	about  []intake.Touched
	err    error
	done   bool // it did what was asked
}

func (h *writing) Handle(w *intake.Answer, r *intake.Request) error {
	if err := h.in.Enter(r); err != nil {
		return err
	}
	if err := r.Touches(h.about); err != nil {
		return err
	}
	h.done = true
	defer r.HasTouched(h.about)
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for _, p := range h.pieces {
		if _, err := io.WriteString(w, p); err != nil {
			return err
		}
	}
	return h.err
}

func (h *writing) Name(*intake.Request) error { return nil }

func (h *writing) Describe(err error) *intake.Error { return s3api.Describe(err) }

func (h *writing) WriteError(w *intake.Answer, r *intake.Request, e *intake.Error) {
	if !w.BeginError(r, e) {
		intake.WriteDocument(w, e.Status, "text/plain", []byte(e.Code))
	}
}

// serve has one request served, and says whether the connection was aborted.
func serve(t *testing.T, a *auditor, method string, h *writing) (answer *httptest.ResponseRecorder, aborted bool) {
	t.Helper()
	answer = httptest.NewRecorder()
	a.written = answer.Body.Len
	h.in = newAuditedIntake(t, a)
	defer func() { aborted = recover() != nil }()
	h.in.Serve(answer, httptest.NewRequest(method, "/b/k", strings.NewReader("12345")), false, h)
	return answer, false
}

func newAuditedIntake(t *testing.T, a *auditor) *intake.Intake {
	t.Helper()
	return intake.New(intake.Options{Audit: a, MaxHeader: 1 << 20, Own: s3api.Own, Logger: slog.New(slog.DiscardHandler)})
}

func kindsOf(a *auditor) string {
	var kinds []string
	for _, e := range a.events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

// Of a request about many objects each has its lines before anything is done, and before the
// answer. One that is missing, with all others there, is enough to refuse.
func TestEachObjectHasItsLines(t *testing.T) {
	t.Parallel()
	const all = "intent intent intent object object request"
	for fails, want := range map[int]struct {
		status int
		done   bool
	}{0: {http.StatusOK, true}, 2: {http.StatusServiceUnavailable, false}, 3: {http.StatusServiceUnavailable, false}, 4: {http.StatusServiceUnavailable, true}, 5: {http.StatusServiceUnavailable, true}} {
		a := &auditor{required: true, fails: fails, once: true}
		h := &writing{pieces: []string{"done"}, about: []intake.Touched{{Key: "a"}, {Bucket: "other", Key: "b", Code: "AccessDenied", Refused: true}}}
		answer, _ := serve(t, a, http.MethodPost, h)
		if answer.Code != want.status || h.done != want.done || (answer.Body.String() == "done") != (fails == 0) {
			t.Errorf("line %d fails: %d %s, done %t", fails, answer.Code, answer.Body, h.done)
		}
		if fails > 0 {
			continue
		}
		if got := kindsOf(a); got != all {
			t.Errorf("the lines are %q", got)
		}
		if b := a.events[4]; b.Bucket != "other" || b.Object != "b" || b.Outcome != audit.Refused || b.Code != "AccessDenied" {
			t.Errorf("%+v", b)
		}
	}
}

func TestNoByteLeavesBeforeItsLine(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 20<<10)
	for _, tt := range []struct {
		name, method string
		pieces       []string
		kinds        string
	}{
		{"a read", http.MethodGet, []string{"abc", "def"}, "begin request"},
		{"a read without an answer's body", http.MethodHead, nil, "begin request"},
		{"a change", http.MethodPut, []string{"abc"}, "intent request"},
		{"a change without an answer's body", http.MethodDelete, nil, "intent request"},
		{"a large read", http.MethodGet, []string{large, large, large}, "begin request"},
	} {
		a := &auditor{required: true}
		h := &writing{pieces: tt.pieces}
		answer, _ := serve(t, a, tt.method, h)
		if answer.Body.String() != strings.Join(tt.pieces, "") || kindsOf(a) != tt.kinds {
			t.Errorf("%s: %d bytes, lines %s", tt.name, answer.Body.Len(), kindsOf(a))
		}
		for i, left := range a.left[:len(a.left)-1] {
			if left != 0 {
				t.Errorf("%s: %d bytes had left before line %d", tt.name, left, i)
			}
		}
		if last := len(a.left) - 1; a.left[last] != 0 && tt.name != "a large read" {
			t.Errorf("%s: %d bytes had left before the last line", tt.name, a.left[last])
		}
		e := a.events[len(a.events)-1]
		if e.BytesOut != int64(answer.Body.Len()) || e.BytesIn != 5 || e.Outcome != audit.OK {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
}

// slow is an audit log whose lines are durable once it is told so.
type slow struct {
	auditor
	durable chan struct{}
}

func (a *slow) Start(e *audit.Event) func() error {
	durable := a.auditor.Start(e)
	return func() error { <-a.durable; return durable() }
}

// MinIO is asked while the line of a read becomes durable, and the answer waits for that.
func TestAReadIsDoneWhileItsLineBecomesDurable(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "abc", strings.Repeat("x", 40<<10)} {
		a := &slow{auditor: auditor{required: true}, durable: make(chan struct{})}
		answer := httptest.NewRecorder()
		a.written = answer.Body.Len
		h := &reading{writing{pieces: []string{body}}, make(chan struct{})}
		h.in = intake.New(intake.Options{Audit: a, MaxHeader: 1 << 20, Own: s3api.Own, Logger: slog.New(slog.DiscardHandler)})
		served := make(chan struct{})
		go func() {
			defer close(served)
			h.in.Serve(answer, httptest.NewRequest(http.MethodGet, "/b/k", nil), false, h)
		}()
		<-h.asked
		select {
		case <-served:
			t.Errorf("%d bytes: answered before the line is durable", len(body))
		case <-time.After(20 * time.Millisecond):
		}
		if answer.Body.Len() > 0 {
			t.Errorf("%d bytes: %d left before the line is durable", len(body), answer.Body.Len())
		}
		close(a.durable)
		if <-served; answer.Body.String() != body || kindsOf(&a.auditor) != "begin request" {
			t.Errorf("%d bytes: %d came, lines %s", len(body), answer.Body.Len(), kindsOf(&a.auditor))
		}
	}
}

// reading is a writing that says when it is let in.
type reading struct {
	writing
	asked chan struct{}
}

func (h *reading) Handle(w *intake.Answer, r *intake.Request) error {
	if err := h.in.Enter(r); err != nil {
		return err
	}
	close(h.asked)
	return h.writing.Handle(w, r)
}

func TestWhatCannotBeWrittenDownIsRefused(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 40<<10)
	for _, tt := range []struct {
		name, method string
		pieces       []string
		fails        int
		done         bool
	}{
		{"a read", http.MethodGet, []string{"secret"}, 1, true},
		{"a change", http.MethodPut, []string{"secret"}, 1, false},
		{"a change that was done", http.MethodPut, []string{"secret"}, 2, true},
		{"a large read", http.MethodGet, []string{large}, 1, true},
	} {
		a := &auditor{required: true, fails: tt.fails}
		h := &writing{pieces: tt.pieces}
		answer, aborted := serve(t, a, tt.method, h)
		if answer.Code != http.StatusServiceUnavailable || answer.Body.String() != "ServiceUnavailable" || h.done != tt.done || aborted {
			t.Errorf("%s: %d %.50s, done %t, aborted %t", tt.name, answer.Code, answer.Body, h.done, aborted)
		}
	}
}

func TestAnAnswerThatBreaksOffIsSaidToBe(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{false, true} {
		a := &auditor{required: required}
		answer, aborted := serve(t, a, http.MethodGet, &writing{pieces: []string{"abc"}, err: errors.New("broken")})
		if e := a.events[len(a.events)-1]; e.Outcome != audit.Cut || !aborted || required && answer.Body.Len() > 0 {
			t.Errorf("required %t: %+v, aborted %t, %d bytes", required, e, aborted, answer.Body.Len())
		}
	}
}

func TestALogThatIsNotRequiredHoldsNothingBack(t *testing.T) {
	t.Parallel()
	a := &auditor{}
	answer, _ := serve(t, a, http.MethodPut, &writing{pieces: []string{"abc"}})
	if kindsOf(a) != "request" || answer.Body.String() != "abc" || a.left[0] != 3 {
		t.Errorf("%s, %q, %v", kindsOf(a), answer.Body, a.left)
	}
}

// The line names the other end of the connection wherever that is not the client, whatever
// the two addresses look like.
func TestTheLineNamesThePeerUnlessItIsTheClient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ remote, forwarded, address, peer string }{
		{"10.0.0.12:4711", "10.0.0.1", "10.0.0.1", "10.0.0.12:4711"},
		{"[fd00::12]:4711", "fd00::1", "fd00::1", "[fd00::12]:4711"},
		{"10.0.0.12:4711", "198.51.100.7", "198.51.100.7", "10.0.0.12:4711"},
		{"10.0.0.12:4711", "", "10.0.0.12", ""},
		{"10.0.0.12:4711", "10.0.0.12", "10.0.0.12", ""},
		{"[::ffff:10.0.0.12]:4711", "::ffff:10.0.0.12", "10.0.0.12", ""},
		{"[::ffff:10.0.0.12]:4711", "", "10.0.0.12", ""},
		{"[fd00::12%eth0]:4711", "", "fd00::12", ""},
	} {
		a := &auditor{}
		answer := httptest.NewRecorder()
		a.written = answer.Body.Len
		h := &writing{in: newAuditedIntake(t, a)}
		h.in.AdoptTrust(forwarded.Trust{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.12/32"), netip.MustParsePrefix("fd00::12/128")}})
		r := httptest.NewRequest(http.MethodGet, "/b/k", nil)
		r.RemoteAddr = tt.remote
		if tt.forwarded != "" {
			r.Header.Set("X-Forwarded-For", tt.forwarded)
		}
		h.in.Serve(answer, r, false, h)
		if len(a.events) == 0 {
			t.Fatalf("%+v: no line", tt)
		}
		if e := a.events[len(a.events)-1]; e.Address != tt.address || e.Peer != tt.peer {
			t.Errorf("%+v: address %q, peer %q", tt, e.Address, e.Peer)
		}
	}
}
