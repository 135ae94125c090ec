package intake

import (
	"github.com/bucketseal/bucketseal/operator/forwarded"
	"github.com/bucketseal/bucketseal/operator/trace"
)

// trace begins the span of a request. Whether it is recorded, a proxy before this one may
// decide, and no client.
func (in *Intake) trace(r *Request) *trace.Span {
	if in.o.Tracer == nil {
		return nil
	}
	ctx, span := trace.Begin(r.Context(), in.o.Tracer, "request", trace.Parent{
		TraceParent: r.Header.Get(trace.Header), Trusted: in.o.Trust.Trusts(forwarded.Peer(r.RemoteAddr)),
	})
	r.Request = r.WithContext(ctx)
	return span
}

// endTrace says what a request was. The object's key is left out: keys tell what clients
// keep, and traces go to other programs.
func endTrace(span *trace.Span, r *Request, status int) {
	if span == nil {
		return
	}
	span.Set("bucketseal.operation", r.Op())
	span.Set("bucketseal.bucket", r.Bucket)
	span.Set("bucketseal.request_id", r.ID)
	span.Set("http.request.method", method(r.Method))
	span.Status(status)
	span.End()
}

// method is a method as OpenTelemetry names it: what a client made up is none.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH":
		return m
	}
	return "_OTHER"
}

func (in *Intake) failure(err error) Failure {
	if err == nil || in.o.Failure == nil {
		return ""
	}
	return in.o.Failure(err)
}
