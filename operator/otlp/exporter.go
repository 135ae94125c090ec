package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/protobuf/proto"
)

// Bounds of talking to a collector.
const (
	// requestTimeout bounds one request, tries how often a batch is sent at most.
	requestTimeout = 5 * time.Second
	tries          = 3
	// complainEvery is the pause between two lines of the log about a collector.
	complainEvery = time.Minute
)

// exporter sends spans. What cannot be sent is lost, and counted: nobody waits for traces.
type exporter struct {
	url      string
	headers  map[string]string
	client   *http.Client
	log      *slog.Logger
	sent     atomic.Int64
	lost     atomic.Int64
	complain atomic.Int64 // when it may be complained again, in Unix nanoseconds
	pause    time.Duration
}

func newExporter(o Options) *exporter {
	target := *o.Endpoint
	if strings.Trim(target.Path, "/") == "" {
		target.Path = "/v1/traces"
	}
	e := &exporter{url: target.String(), headers: o.Headers, log: o.Logger, pause: 500 * time.Millisecond, client: &http.Client{
		Transport:     &http.Transport{TLSClientConfig: o.TLS, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // headers may be secret
		Timeout:       requestTimeout,
	}}
	if o.Metrics != nil {
		spans := func(result string, n *atomic.Int64) prometheus.Collector {
			return prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "bucketseal_tracing_spans_total", Help: "Spans that were sent to the collector of traces, or lost because it did not take them.",
				ConstLabels: prometheus.Labels{"result": result},
			}, func() float64 { return float64(n.Load()) })
		}
		o.Metrics.MustRegister(spans("sent", &e.sent), spans("lost", &e.lost))
	}
	return e
}

// ExportSpans implements the SDK's SpanExporter. It returns no error: the SDK would print it
// past the log.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := e.export(ctx, spans); err != nil {
		e.lost.Add(int64(len(spans)))
		now := time.Now().UnixNano()
		if last := e.complain.Load(); now >= last && e.complain.CompareAndSwap(last, now+int64(complainEvery)) {
			e.log.Warn("traces cannot be sent; the spans are lost", "spans", len(spans), "error", err)
		}
		return nil
	}
	e.sent.Add(int64(len(spans)))
	return nil
}

// Shutdown implements the SDK's SpanExporter.
func (e *exporter) Shutdown(context.Context) error { return nil }

func (e *exporter) export(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	data, err := proto.Marshal(request(spans))
	if err != nil {
		return err
	}
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	_, err = zip.Write(data)
	if err = errors.Join(err, zip.Close()); err != nil {
		return err
	}
	for try := 1; ; try++ {
		again, err := e.post(ctx, body.Bytes())
		if err == nil || !again || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Duration(try) * e.pause):
		}
	}
}

// post sends one request. again says that it may succeed later, as OTLP says.
func (e *exporter) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	req.Header.Set("User-Agent", "bucketseal")
	for name, value := range e.headers {
		req.Header.Set(name, value)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch resp.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, fmt.Errorf("the collector answers %d", resp.StatusCode)
	}
	return false, fmt.Errorf("the collector answers %d", resp.StatusCode)
}
