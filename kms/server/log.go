package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bucketseal/bucketseal/kms/config"
	"github.com/bucketseal/bucketseal/kms/identity"
)

// subscriberBuffer is how many events a stream's reader may be late before
// events are left out for it: no reader slows the server down.
const subscriberBuffer = 1024

// hub hands lines to whoever reads a log stream.
type hub struct {
	count atomic.Int64

	mu          sync.Mutex
	subscribers map[chan []byte]bool
}

func newHub() *hub { return &hub{subscribers: make(map[chan []byte]bool)} }

// listened says whether publish would reach anybody.
func (h *hub) listened() bool { return h.count.Load() > 0 }

func (h *hub) publish(line []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.subscribers {
		select {
		case c <- line:
		default:
		}
	}
}

// subscribe returns a channel of lines; leave ends it.
func (h *hub) subscribe() (lines <-chan []byte, leave func()) {
	c := make(chan []byte, subscriberBuffer)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers[c] = true
	h.count.Add(1)
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subscribers, c)
		h.count.Add(-1)
	}
}

// errorWriter is where the error log's lines go: the process's log and the
// streams.
type errorWriter struct{ server *Server }

// Write implements io.Writer for one line.
func (w errorWriter) Write(line []byte) (int, error) {
	w.server.metrics.errorEvents.Inc()
	if w.server.errorHub.listened() {
		event, err := json.Marshal(struct {
			Message string `json:"message"`
		}{strings.TrimSuffix(string(line), "\n")})
		if err == nil {
			w.server.errorHub.publish(append(event, '\n'))
		}
	}
	return w.server.opts.ErrorLog.Write(line)
}

// connectionLog takes what net/http says about connections.
type connectionLog struct{ server *Server }

// Write implements io.Writer for one line.
func (w connectionLog) Write(line []byte) (int, error) {
	w.server.noise.note(strings.TrimSpace(string(line)))
	return len(line), nil
}

func newLogger(w io.Writer, level slog.Level, asJSON bool) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if asJSON {
		opts.ReplaceAttr = func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() != slog.KindDuration {
				return a
			}
			return slog.Float64(a.Key+"_seconds", a.Value.Duration().Seconds()) // a bare number has no unit
		}
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func (s *Server) newLoggers(l config.Log) (errorLog, auditLog *slog.Logger) {
	return newLogger(errorWriter{s}, l.Error, l.JSON), newLogger(s.opts.AuditLog, l.Audit, l.JSON)
}

// logFailure writes the one line of a request that failed: refusals as
// warnings, failures of ours as errors, the rest for debugging.
func (s *Server) logFailure(r *request, code int, err error) {
	if err == nil {
		return
	}
	level, text := slog.LevelDebug, "request is not valid"
	switch {
	case code >= 500, code == 403 && !refusal(err): // a store that refuses us is our failure
		level, text = slog.LevelError, "request failed"
	case code == 403:
		level, text = slog.LevelWarn, "request refused"
	}
	log := r.state.errors
	if !log.Enabled(context.Background(), level) {
		return
	}
	log.LogAttrs(context.Background(), level, text,
		slog.String("identity", r.caller.String()), slog.String("method", r.Method), slog.String("path", shortPath(r.URL.Path)),
		slog.String("policy", r.policy), slog.String("ip", r.ip), slog.Int("code", code), slog.String("reason", reason(err)))
}

func reason(err error) string {
	var refused *denied
	if errors.As(err, &refused) {
		return refused.reason
	}
	return err.Error()
}

func shortPath(path string) string {
	return cut(path, maxLoggedPath)
}

// auditEvent is a line of the audit stream: KES's members, and after them some
// that KES has not.
type auditEvent struct {
	Time    time.Time `json:"time"`
	Request struct {
		IP       string            `json:"ip"`
		Path     string            `json:"path"`
		Identity identity.Identity `json:"identity"`
		Method   string            `json:"method"`
	} `json:"request"`
	Response struct {
		Code int           `json:"code"`
		Time time.Duration `json:"time"` // nanoseconds, as clients read it
	} `json:"response"`
	Policy  string `json:"policy,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Context string `json:"context_sha256,omitempty"`
}

// audit notes every request: those that change keys, are refused, whoever came
// without a usable certificate too, or fail in the process's log at level INFO, the others at DEBUG; all of them in the streams.
func (s *Server) audit(r *request, code int, elapsed time.Duration, err error) {
	level := slog.LevelDebug
	if (r.route != nil && r.route.audit) || refusal(err) || code == 403 || code >= 500 {
		level = slog.LevelInfo
	}
	logged, streamed := r.state.audits.Enabled(context.Background(), level), s.auditHub.listened()
	if !logged && !streamed {
		return
	}
	s.metrics.auditEvents.Inc()
	var e auditEvent
	e.Time = s.opts.Now().UTC()
	e.Request.IP, e.Request.Path, e.Request.Identity, e.Request.Method = r.ip, shortPath(r.URL.Path), r.caller, r.Method
	e.Response.Code, e.Response.Time = code, elapsed
	e.Policy, e.Context = r.policy, hashContext(r.encContext)
	if err != nil {
		_, e.Reason = answer(err)
		if code == 403 || refusal(err) {
			e.Reason = cut(reason(err), maxLoggedPath)
		}
	}
	if streamed {
		if line, err := json.Marshal(e); err == nil {
			s.auditHub.publish(append(line, '\n'))
		}
	}
	if logged {
		r.state.audits.LogAttrs(context.Background(), level, auditText(r, code, err),
			slog.Group("req", "method", e.Request.Method, "path", e.Request.Path, "ip", e.Request.IP, "identity", e.Request.Identity.String()),
			slog.Group("res", "code", code, "time", elapsed),
			slog.String("policy", e.Policy), slog.String("reason", e.Reason), slog.String("context_sha256", e.Context))
	}
}

func auditText(r *request, code int, err error) string {
	switch {
	case refusal(err):
		return "request refused"
	case code >= 400:
		return "request failed"
	case r.route != nil && r.route.audit:
		verb := strings.Trim(strings.TrimPrefix(r.route.path, "/v1/key/"), "/")
		return strings.TrimSuffix(verb, "e") + "ed key '" + r.name + "'"
	}
	return "request served"
}

// hashContext identifies an encryption context without telling it: contexts
// name objects.
func hashContext(encContext []byte) string {
	if len(encContext) == 0 {
		return ""
	}
	sum := sha256.Sum256(encContext)
	return hex.EncodeToString(sum[:])
}
