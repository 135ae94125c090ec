package logs

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// Live is a log whose level and format can be changed while it is written.
type Live struct {
	w       io.Writer
	handler atomic.Pointer[slog.Handler]
}

// NewLive logs to w as New does.
func NewLive(w io.Writer, level slog.Level, json bool) *Live {
	l := &Live{w: w}
	l.Set(level, json)
	return l
}

// Set changes level and format, also of loggers that were made before.
func (l *Live) Set(level slog.Level, json bool) {
	h := New(l.w, level, json).Handler()
	l.handler.Store(&h)
}

// Logger returns a logger.
func (l *Live) Logger() *slog.Logger { return slog.New(liveHandler{live: l}) }

// liveHandler asks the handler that is in force, with what the logger has added.
type liveHandler struct {
	live  *Live
	added []func(slog.Handler) slog.Handler
}

// Enabled implements slog.Handler.
func (h liveHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return (*h.live.handler.Load()).Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h liveHandler) Handle(ctx context.Context, r slog.Record) error {
	inner := *h.live.handler.Load()
	for _, add := range h.added {
		inner = add(inner)
	}
	return inner.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h liveHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h liveHandler) WithGroup(name string) slog.Handler {
	return h.with(func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h liveHandler) with(add func(slog.Handler) slog.Handler) slog.Handler {
	added := make([]func(slog.Handler) slog.Handler, 0, len(h.added)+1)
	return liveHandler{h.live, append(append(added, h.added...), add)}
}
