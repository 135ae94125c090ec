package otlp

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
)

// request is what OTLP sends of spans, which have one resource and one scope. What this
// program's spans never have, links and events, is left out.
func request(spans []sdk.ReadOnlySpan) *collector.ExportTraceServiceRequest {
	if len(spans) == 0 {
		return &collector.ExportTraceServiceRequest{}
	}
	scope := &tracepb.ScopeSpans{Scope: &common.InstrumentationScope{Name: spans[0].InstrumentationScope().Name}}
	for _, s := range spans {
		scope.Spans = append(scope.Spans, span(s))
	}
	return &collector.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: attributes(spans[0].Resource().Attributes())}, ScopeSpans: []*tracepb.ScopeSpans{scope},
	}}}
}

func span(s sdk.ReadOnlySpan) *tracepb.Span {
	c, parent := s.SpanContext(), s.Parent()
	trace, id := c.TraceID(), c.SpanID()
	out := &tracepb.Span{
		TraceId: trace[:], SpanId: id[:], Name: s.Name(), Kind: kind(s.SpanKind()), Flags: uint32(c.TraceFlags()),
		StartTimeUnixNano: nanos(s.StartTime()), EndTimeUnixNano: nanos(s.EndTime()), Attributes: attributes(s.Attributes()),
		DroppedAttributesCount: uint32(max(s.DroppedAttributes(), 0)),
	}
	if parent.SpanID().IsValid() {
		above := parent.SpanID()
		out.ParentSpanId = above[:]
	}
	if status := s.Status(); status.Code == codes.Error {
		out.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: status.Description}
	}
	return out
}

func nanos(t time.Time) uint64 { return uint64(max(t.UnixNano(), 0)) }

func kind(k otel.SpanKind) tracepb.Span_SpanKind {
	switch k {
	case otel.SpanKindServer:
		return tracepb.Span_SPAN_KIND_SERVER
	case otel.SpanKindClient:
		return tracepb.Span_SPAN_KIND_CLIENT
	default:
		return tracepb.Span_SPAN_KIND_INTERNAL
	}
}

func attributes(set []attribute.KeyValue) []*common.KeyValue {
	out := make([]*common.KeyValue, 0, len(set))
	for _, a := range set {
		v := &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: a.Value.String()}}
		if a.Value.Type() == attribute.INT64 {
			v.Value = &common.AnyValue_IntValue{IntValue: a.Value.AsInt64()}
		}
		out = append(out, &common.KeyValue{Key: string(a.Key), Value: v})
	}
	return out
}
