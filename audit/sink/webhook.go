package sink

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"
)

// WebhookOptions are settings of a Webhook.
type WebhookOptions struct {
	// URL gets the lines by POST, many in one body, as application/x-ndjson.
	URL string
	// Token goes along as a bearer token; "" for none.
	Token string
	// TLS is the configuration for https; nil for the system's authorities.
	TLS *tls.Config
	// Queue is the folder in which lines wait, of QueueSize bytes at most; 0 is 256 MiB.
	Queue     string
	QueueSize int64
	// Retry is the least and the longest wait after a failure; 0 is a second, and a minute.
	Retry, RetryMost time.Duration
	// Timeout bounds one POST; 0 is 30 s.
	Timeout time.Duration
	// Logger is told when lines cannot be delivered, and when they can again. Required.
	Logger *slog.Logger
}

// Webhook delivers lines to an HTTP server, in their order and at least once, from a queue
// on the disk. It implements audit.Sink; its lines are durable once they are in the queue.
type Webhook struct {
	o      WebhookOptions
	queue  *queue
	client *http.Client
	wake   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}
}

// postSize is about how many bytes one POST carries. A single line is never longer.
const postSize = 256 << 10

// NewWebhook opens the queue and begins to deliver what is in it.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	setDefault(&o.QueueSize, 256<<20)
	setDefault(&o.Retry, time.Second)
	setDefault(&o.RetryMost, time.Minute)
	setDefault(&o.Timeout, 30*time.Second)
	q, err := openQueue(o.Queue, o.QueueSize)
	if err != nil {
		return nil, fmt.Errorf("audit webhook: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &Webhook{
		o: o, queue: q, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
		client: &http.Client{
			Timeout: o.Timeout, Transport: &http.Transport{TLSClientConfig: o.TLS, Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, ForceAttemptHTTP2: true},
			// A redirect could lead the token, and the lines, elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	go w.run(ctx)
	return w, nil
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Name implements audit.Sink.
func (w *Webhook) Name() string { return "webhook" }

// Durable implements audit.Sink.
func (w *Webhook) Durable() bool { return true }

// Waiting returns how many bytes of lines are not delivered yet.
func (w *Webhook) Waiting() int64 { return w.queue.waiting() }

// Write implements audit.Sink.
func (w *Webhook) Write(lines []byte, _ int, sync bool) error {
	if err := w.queue.add(lines, sync); err != nil {
		return fmt.Errorf("audit webhook: %w", err)
	}
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return nil
}

// run delivers until ctx ends.
func (w *Webhook) run(ctx context.Context) {
	defer close(w.done)
	var down time.Time
	wait := w.o.Retry
	for ctx.Err() == nil {
		lines, err := w.queue.peek(postSize)
		if err == nil && lines == nil {
			select {
			case <-w.wake:
			case <-ctx.Done():
			}
			continue
		}
		if err == nil {
			err = w.post(ctx, lines)
		}
		if err == nil {
			err = w.queue.take(len(lines))
		}
		if err == nil {
			if !down.IsZero() {
				w.o.Logger.Info("the audit webhook takes lines again", "was_down", time.Since(down).Round(time.Second))
			}
			down, wait = time.Time{}, w.o.Retry
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if down.IsZero() {
			down = time.Now()
			w.o.Logger.Error("the audit webhook does not take lines; they wait in its queue", "waiting_bytes", w.queue.waiting(), "error", err)
		}
		select {
		case <-time.After(wait + rand.N(wait/2+1)):
		case <-ctx.Done():
		}
		wait = min(2*wait, w.o.RetryMost)
	}
}

// post delivers lines. Everything but 2xx is a failure: what a server does not want today
// it may want tomorrow, and nothing may be left out.
func (w *Webhook) post(ctx context.Context, lines []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(lines))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-ndjson")
	r.Header.Set("User-Agent", "bucketseal-audit")
	if w.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+w.o.Token)
	}
	resp, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return nil
}

// Close implements audit.Sink. What waits in the queue is delivered after the next start;
// a moment is left for what was just written.
func (w *Webhook) Close() error {
	end := time.Now().Add(time.Second)
	for w.queue.waiting() > 0 && time.Now().Before(end) {
		time.Sleep(20 * time.Millisecond)
	}
	w.stop()
	<-w.done
	return w.queue.close()
}
