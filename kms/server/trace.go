package server

import (
	"github.com/bucketseal/bucketseal/operator/trace"
)

// trace begins the span of a request whose route and policy are known. Strangers have none, for nobody
// wants to pay for what they send, nor have log streams, which last as long as their readers.
// A proxy's traces go on as the proxy says; of others' requests a share is recorded, whatever
// they say.
func (s *Server) trace(r *request) {
	if s.opts.Tracer == nil || r.route.timeout == 0 || !r.state.knows(r.caller) {
		return
	}
	ctx, span := trace.Begin(r.Context(), s.opts.Tracer, "request", trace.Parent{
		TraceParent: r.Header.Get(trace.Header), Trusted: r.isProxy(),
	})
	r.Request, r.span = r.WithContext(ctx), span
}

// endTrace says what a request was. Names of keys and encryption contexts are left out.
func (r *request) endTrace(code int) {
	if r.span == nil {
		return
	}
	r.span.Set("bucketseal.operation", r.operation())
	r.span.Set("http.request.method", r.Method)
	r.span.Status(code)
	r.span.End()
}
