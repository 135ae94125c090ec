// Package trace has the spans of a request on its way through the program, and the trace
// context of W3C that goes with it to other programs. It knows no exporter: a Tracer does.
//
// A context without a span costs a look and nothing else: Start returns it as it is, and a
// nil *Span takes every call.
package trace

import (
	"context"
	"strconv"
)

// Header is the name of W3C's header.
const Header = "Traceparent"

// Parent is what another program says of the trace that a request belongs to.
type Parent struct {
	// TraceParent is the header as it came; "" for none. What is malformed counts as none.
	TraceParent string
	// Trusted says that its sampling flag decides. Else whoever sends requests could have
	// all of them recorded.
	Trusted bool
}

// Tracer begins traces. Implementations are safe for concurrent use.
type Tracer interface {
	// Begin begins the span of a request that came in.
	Begin(name string, parent Parent) Recorder
}

// Recorder is a span of a Tracer's.
type Recorder interface {
	// Child begins a span below this one.
	Child(name string) Recorder
	// Set says something of the span.
	Set(key, value string)
	// SetInt says a number of the span.
	SetInt(key string, value int64)
	// Fail says that what the span is about failed, and why in a word that is no secret.
	Fail(why string)
	// End ends the span.
	End()
	// IDs names it.
	IDs() IDs
}

// Span is a piece of work. A nil *Span is one that nobody asks for.
type Span struct{ r Recorder }

type key struct{}

// Begin begins the span of a request that came in. A nil Tracer makes none.
func Begin(ctx context.Context, t Tracer, name string, parent Parent) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	s := &Span{t.Begin(name, parent)}
	return context.WithValue(ctx, key{}, s), s
}

// Start begins a span below the one of ctx, if that has one which is recorded.
func Start(ctx context.Context, name string) (context.Context, *Span) {
	s := From(ctx)
	if s == nil || !s.r.IDs().Sampled {
		return ctx, nil
	}
	child := &Span{s.r.Child(name)}
	return context.WithValue(ctx, key{}, child), child
}

// From returns the span of ctx, nil for none.
func From(ctx context.Context) *Span {
	s, _ := ctx.Value(key{}).(*Span)
	return s
}

// TraceParent returns the header to send with a request that is made for ctx, "" for none.
func TraceParent(ctx context.Context) string {
	s := From(ctx)
	if s == nil {
		return ""
	}
	return s.r.IDs().String()
}

// Set says something of the span. Values are neither secrets nor objects' keys.
func (s *Span) Set(key, value string) {
	if s != nil && value != "" {
		s.r.Set(key, value)
	}
}

// SetInt says a number of the span.
func (s *Span) SetInt(key string, value int64) {
	if s != nil {
		s.r.SetInt(key, value)
	}
}

// Fail says that what the span is about failed, and why in a word that is no secret.
func (s *Span) Fail(why string) {
	if s != nil {
		s.r.Fail(why)
	}
}

// FailWith is Fail, if err is not nil. The error itself is not told: it may have names of
// objects in it.
func (s *Span) FailWith(err error, why string) {
	if err != nil {
		s.Fail(why)
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.r.End()
	}
}

// Status says the status of an answer, and that a 5xx is a failure.
func (s *Span) Status(status int) {
	if s == nil {
		return
	}
	s.r.SetInt("http.response.status_code", int64(status))
	if status >= 500 {
		s.r.Fail(strconv.Itoa(status))
	}
}

// SampledID returns the trace's id in hex if the span is recorded, else "".
func (s *Span) SampledID() string {
	if s == nil {
		return ""
	}
	ids := s.r.IDs()
	if !ids.Sampled {
		return ""
	}
	return ids.traceID()
}
