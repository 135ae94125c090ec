package intake_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/bucketseal/bucketseal/audit"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/s3api"
)

// auditor is an audit log that can fail, and knows what had left when a line was written.
type auditor struct {
	mu       sync.Mutex
	required bool
	fails    int // from the line of this number on; 0 is never
	events   []audit.Event
	left     []int // bytes that had been written when each came
	written  func() int
}

func (a *auditor) Record(_ context.Context, e *audit.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fails > 0 && len(a.events)+1 >= a.fails {
		return audit.ErrUnavailable
	}
	a.events, a.left = append(a.events, *e), append(a.left, a.written())
	return nil
}

func (a *auditor) Note(e *audit.Event) { _ = a.Record(context.Background(), e) }
func (a *auditor) Required() bool      { return a.required }
func (a *auditor) Ready() error        { return nil }

// writing is an API that enters, and answers with a body in pieces, and an error perhaps.
type writing struct {
	in     *intake.Intake
	pieces []string
	err    error
	done   bool // it did what was asked
}

func (h *writing) Handle(w *intake.Answer, r *intake.Request) error {
	if err := h.in.Enter(r); err != nil {
		return err
	}
	h.done = true
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

func TestNoByteLeavesBeforeItsLine(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 20<<10)
	for _, tt := range []struct {
		name, method string
		pieces       []string
		kinds        string
	}{
		{"a read", http.MethodGet, []string{"abc", "def"}, "request"},
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
		if last := len(a.left) - 1; a.left[last] != 0 && !strings.Contains(tt.kinds, "begin") {
			t.Errorf("%s: %d bytes had left before the last line", tt.name, a.left[last])
		}
		e := a.events[len(a.events)-1]
		if e.BytesOut != int64(answer.Body.Len()) || e.BytesIn != 5 || e.Outcome != audit.OK {
			t.Errorf("%s: %+v", tt.name, e)
		}
	}
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
