package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/bucketseal/bucketseal/kms"
)

// maxLogLine bounds one event of a log stream.
const maxLogLine = 1 << 20

// AuditEvent is a request that a server answered.
type AuditEvent struct {
	Time     time.Time `json:"time"`
	IP       string    `json:"ip"`
	Path     string    `json:"path"`
	Identity string    `json:"identity"`
	Code     int       `json:"code"`
	// Duration of the answer.
	Duration time.Duration `json:"duration"`
}

// ErrorEvent is a line of a server's error log.
type ErrorEvent struct {
	Message string `json:"message"`
}

// LogStream delivers the events of one server as they happen. It is not safe
// for concurrent use, but Close may be called from anywhere.
type LogStream[E any] struct {
	body   io.ReadCloser
	lines  *bufio.Scanner
	parse  func([]byte) (E, error)
	cancel context.CancelFunc
}

// Next waits for the next event. io.EOF: the server ended the stream.
func (s *LogStream[E]) Next() (E, error) {
	var none E
	for s.lines.Scan() {
		if len(s.lines.Bytes()) > 0 {
			return s.parse(s.lines.Bytes())
		}
	}
	err := s.lines.Err()
	switch {
	case err == nil:
		return none, io.EOF
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return none, err
	}
	return none, fmt.Errorf("log stream: %w: %v", kms.ErrUnavailable, err)
}

// Close ends the stream.
func (s *LogStream[E]) Close() error {
	s.cancel()
	return s.body.Close()
}

// AuditLog opens the audit log of one server. The caller closes the stream; it
// ends with ctx.
func (c *Client) AuditLog(ctx context.Context) (*LogStream[AuditEvent], error) {
	return stream(ctx, c, "/v1/log/audit", parseAudit)
}

// ErrorLog opens the error log of one server, as AuditLog does.
func (c *Client) ErrorLog(ctx context.Context) (*LogStream[ErrorEvent], error) {
	return stream(ctx, c, "/v1/log/error", func(line []byte) (ErrorEvent, error) {
		var e ErrorEvent
		if err := json.Unmarshal(line, &e); err != nil {
			return e, fmt.Errorf("log stream: %w", errNotReadable)
		}
		return e, nil
	})
}

func parseAudit(line []byte) (AuditEvent, error) {
	var e struct {
		Time    time.Time `json:"time"`
		Request struct {
			IP       string `json:"ip"`
			Path     string `json:"path"`
			Identity string `json:"identity"`
		} `json:"request"`
		Response struct {
			Code int   `json:"code"`
			Time int64 `json:"time"`
		} `json:"response"`
	}
	if err := json.Unmarshal(line, &e); err != nil {
		return AuditEvent{}, fmt.Errorf("log stream: %w", errNotReadable)
	}
	return AuditEvent{
		Time: e.Time, IP: e.Request.IP, Path: e.Request.Path, Identity: e.Request.Identity,
		Code: e.Response.Code, Duration: time.Duration(e.Response.Time),
	}, nil
}

// stream connects to the first endpoint that answers. Only the wait for its
// answer has a timeout.
func stream[E any](ctx context.Context, c *Client, path string, parse func([]byte) (E, error)) (*LogStream[E], error) {
	endpoints := c.pool.order()
	var err error
	for i, e := range endpoints {
		streamCtx, cancel := context.WithCancel(ctx)
		timer := time.AfterFunc(c.timeout, cancel)
		var resp *http.Response
		resp, err = c.send(streamCtx, e, call{method: http.MethodGet, path: path})
		if err == nil && resp.StatusCode == http.StatusOK && timer.Stop() {
			c.pool.done(e, false)
			c.pool.skipped(endpoints[i+1:])
			lines := bufio.NewScanner(resp.Body)
			lines.Buffer(nil, maxLogLine)
			return &LogStream[E]{body: resp.Body, lines: lines, parse: parse, cancel: cancel}, nil
		}
		failed := true
		if err != nil {
			err = c.networkError(call{path: path}, e, err)
		} else {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
			resp.Body.Close()
			a := statusAttempt(call{path: path}, e, newError(resp.StatusCode, body))
			err, failed = a.err, a.next
		}
		cancel()
		c.pool.done(e, failed && ctx.Err() == nil)
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", path, ctx.Err())
		}
		if !failed || ctx.Err() != nil {
			c.pool.skipped(endpoints[i+1:])
			break
		}
	}
	return nil, err
}
