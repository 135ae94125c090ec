// Package logs makes the loggers of both servers. No value in a line is longer than it
// may be, and what clients can make net/http say is bounded.
package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

const (
	// longestValue is how many bytes of a value stand in the log: callers can make
	// names, headers and errors that quote them as long as a request's headers.
	longestValue = 512
	// longestMessage is the same of what net/http says, which may be a stack.
	longestMessage = 8 << 10
)

// New logs to w, as text or JSON, no value longer than it may be.
func New(w io.Writer, level slog.Level, json bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: shorten}
	if json {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr { return shorten(groups, withUnit(a)) }
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// withUnit says in the name of a duration what it is counted in: as text it has a
// unit, as JSON it would be a bare number of nanoseconds.
func withUnit(a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	return slog.Float64(a.Key+"_seconds", a.Value.Duration().Seconds())
}

// longText is a value that may be longer than others.
type longText string

// shorten cuts a value of the log, and says how long it was.
func shorten(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = cutValue(a.Value, a.Value.String(), longestValue)
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case longText:
			a.Value = slog.StringValue(cutText(string(v), longestMessage))
		case error:
			a.Value = cutValue(a.Value, v.Error(), longestValue)
		case fmt.Stringer:
			a.Value = cutValue(a.Value, v.String(), longestValue)
		}
	}
	return a
}

func cutValue(v slog.Value, text string, most int) slog.Value {
	if len(text) <= most {
		return v
	}
	return slog.StringValue(cutText(text, most))
}

func cutText(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:most], ""), len(text))
}

// httpLog is what HTTP returns.
type httpLog struct {
	log   *slog.Logger
	lines *edge.Lines
}

// HTTP returns where net/http's server complains, which clients can make it do.
// Handshakes that fail are the daily noise of port scans and health checks.
func HTTP(log *slog.Logger) io.Writer {
	return httpLog{log, edge.NewLines(func(left int, _ netip.Addr) {
		log.Warn("http server: messages left out in the last minute", "messages", left)
	})}
}

// Write logs one message. A panic is never left out: it is no client's doing alone.
func (h httpLog) Write(p []byte) (int, error) {
	level := slog.LevelError
	switch {
	case bytes.HasPrefix(p, []byte("http: TLS handshake error")):
		level = slog.LevelDebug
	case bytes.HasPrefix(p, []byte("http: panic serving")), bytes.HasPrefix(p, []byte("http2: panic serving")):
	case !h.lines.Allow(netip.Addr{}):
		return len(p), nil
	}
	h.log.Log(context.Background(), level, "http server", "message", longText(bytes.TrimSpace(p)))
	return len(p), nil
}
