package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/chaos/workload"
)

// What slow clients do.
const (
	slowRate = 1024     // bytes a second that are read, or sent of a body
	slowBody = 32 << 10 // what they send
	tick     = time.Second
	// pause is how long one waits before it begins anew.
	pause = time.Second
)

// Limits are those of the product that end slow clients (docs/configuration.md), with some time for a busy machine.
type Limits struct {
	// ReadHeader is limits.read_header, Stall is limits.stall.
	ReadHeader, Stall time.Duration
	// Late is how much longer a connection may last.
	Late time.Duration
}

// Outcomes of slow clients. Whatever else is counted is a fault.
const (
	ReadWhole     = "read whole"
	ReadCut       = "read cut off after limits.stall"
	SentWhole     = "sent whole"
	HeadersClosed = "headers closed after limits.read_header"
	ended         = "" // with the run
)

// Expected says whether an outcome is one that the product's limits provide for.
func Expected(outcome string) bool {
	switch outcome {
	case ReadWhole, ReadCut, SentWhole, HeadersClosed, ended:
		return true
	}
	return false
}

// Slow are clients that read, send bodies and send headers slowly, a third of them each.
type Slow struct {
	target workload.Target
	limits Limits
	object int64 // what they read, in bytes
	stop   context.CancelFunc
	all    sync.WaitGroup

	mu       sync.Mutex
	outcomes map[string]int
	sent     map[string]bool // keys whose body was acknowledged
}

// StartSlow starts n of them, who read an object of so many bytes. Stop ends them.
func StartSlow(ctx context.Context, t workload.Target, n int, object int64, l Limits) (*Slow, error) {
	status, _, text, err := Do(ctx, http.DefaultClient, t, http.MethodPut, "/"+Bucket+"/slow", "", Content(0, object), nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("the object for slow readers: status %d %s", status, text)
	}
	if err != nil {
		return nil, err
	}
	live, stop := context.WithCancel(ctx)
	s := &Slow{target: t, limits: l, object: object, stop: stop, outcomes: map[string]int{}, sent: map[string]bool{}}
	kinds := []func(context.Context, int) string{s.read, s.send, s.dawdle}
	for i := range n {
		s.all.Go(func() {
			if !sleep(live, pause*time.Duration(i%100)/100) {
				return
			}
			for live.Err() == nil {
				outcome := kinds[i%len(kinds)](live, i)
				if live.Err() != nil {
					return
				}
				s.count(outcome)
				sleep(live, pause)
			}
		})
	}
	return s, nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Slow) count(outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[outcome]++
}

// Outcomes are what came of their requests so far, and how often.
func (s *Slow) Outcomes() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.outcomes)
}

// Stop ends them, reads what was acknowledged, and returns the outcomes with those of these reads.
func (s *Slow) Stop(ctx context.Context) map[string]int {
	s.stop()
	s.all.Wait()
	want := Content(0, slowBody)
	for key := range s.sent {
		if ctx.Err() != nil {
			break
		}
		status, _, got, err := Do(ctx, http.DefaultClient, s.target, http.MethodGet, key, "", nil, nil)
		if err != nil || status != http.StatusOK || !bytes.Equal(got, want) {
			s.count(fmt.Sprintf("sent, and not there: status %d", status))
		}
	}
	return s.Outcomes()
}

// connect opens a connection that ends with the context, and sends a request's head.
func (s *Slow) connect(ctx context.Context, method, path string, length int64, buffer int) (net.Conn, *http.Request, func() bool, error) {
	r, err := signed(ctx, s.target, method, path, "", length, nil)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := dial(ctx, s.target, buffer)
	if err != nil {
		return nil, nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	_, err = c.Write(head(r))
	return c, r, stop, err
}

// read reads an object, and looks at each byte.
func (s *Slow) read(ctx context.Context, _ int) string {
	began := time.Now()
	c, r, stop, err := s.connect(ctx, http.MethodGet, "/"+Bucket+"/slow", 0, 4096)
	if err != nil {
		return failure("read: connect", err)
	}
	defer c.Close()
	defer stop()
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 1024), r)
	if err != nil {
		return failure("read: no answer", err)
	}
	defer answer.Body.Close()
	defer c.Close() // before the body, which would be read to its end
	if answer.StatusCode != http.StatusOK {
		return refusal("read", answer)
	}
	buffer := make([]byte, slowRate)
	for at := int64(0); ; {
		n, err := answer.Body.Read(buffer)
		if !bytes.Equal(buffer[:n], Content(at, int64(n))) {
			return fmt.Sprintf("read: wrong bytes at %d", at)
		}
		at += int64(n)
		switch {
		case err == io.EOF && at == s.object:
			return ReadWhole
		case err == io.EOF:
			return fmt.Sprintf("read: %d bytes look whole", at)
		case err != nil && time.Since(began) >= s.limits.Stall-tick:
			return ReadCut
		case err != nil:
			return failure("read: cut off early", err)
		}
		if !sleep(ctx, tick) {
			return ended
		}
	}
}

// send sends an object's body.
func (s *Slow) send(ctx context.Context, number int) string {
	key := fmt.Sprintf("/%s/sent/%d", Bucket, number)
	c, r, stop, err := s.connect(ctx, http.MethodPut, key, slowBody, 0)
	if err != nil {
		return failure("send: connect", err)
	}
	defer c.Close()
	defer stop()
	for at := int64(0); at < slowBody; at += slowRate {
		if _, err := c.Write(Content(at, slowRate)); err != nil {
			return failure("send: cut off", err)
		}
		if !sleep(ctx, tick) {
			return ended
		}
	}
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 1024), r)
	if err != nil {
		return failure("send: no answer", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return refusal("send", answer)
	}
	s.mu.Lock()
	s.sent[key] = true
	s.mu.Unlock()
	return SentWhole
}

// dawdle sends headers that never end, a byte at a time, until the server has enough of it.
func (s *Slow) dawdle(ctx context.Context, _ int) string {
	began := time.Now()
	c, err := dial(ctx, s.target, 0)
	if err != nil {
		return failure("headers: connect", err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c) // an answer may come before the end
		close(closed)
	}()
	text := []byte("GET /" + Bucket + "/slow HTTP/1.1\r\nX-Slow: ")
	for at := 0; ; at++ {
		one := []byte("a")
		if at < len(text) {
			one = text[at : at+1]
		}
		_, _ = c.Write(one) // closed tells
		select {
		case <-ctx.Done():
			return ended
		case <-closed:
			switch lasted := time.Since(began); {
			case lasted < s.limits.ReadHeader-tick:
				return "headers closed early"
			case lasted > s.limits.ReadHeader+s.limits.Late:
				return "headers closed late"
			}
			return HeadersClosed
		case <-time.After(tick):
		}
	}
}

// failure is an outcome with the kind of an error: addresses and times would make each another.
func failure(what string, err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return what + ": " + err.Error()
}

// refusal is an outcome with the answer's status and code.
func refusal(what string, answer *http.Response) string {
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
	_, code, _ := bytes.Cut(text, []byte("<Code>"))
	code, _, _ = bytes.Cut(code, []byte("</Code>"))
	return fmt.Sprintf("%s: status %d %s", what, answer.StatusCode, code)
}

// Content is what lies in every object of this package, from an offset on.
func Content(at, length int64) []byte {
	out := make([]byte, length)
	for i := range out {
		n := at + int64(i)
		out[i] = byte(n ^ n>>8 ^ n>>16)
	}
	return out
}
