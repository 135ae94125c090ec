package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing/iotest"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

// failures are tests of what is there after a call that failed.
var failures = map[string]func(*kit){
	"BodyFailsInTheMiddle":    (*kit).bodyFails,
	"BodyOfAnotherLength":     (*kit).bodyLength,
	"ContextEndsInTheBody":    (*kit).contextEnds,
	"ContextIsOver":           (*kit).contextOver,
	"PartFailsInTheMiddle":    (*kit).partFails,
	"RefusedWritesAreNothing": (*kit).refusedWrites,
	"BodiesAreClosed":         (*kit).bodiesClosed,
}

// answer returns the storage's own answer, nil for another error.
func (k *kit) answer(err error) *storage.Error {
	var answer *storage.Error
	if errors.As(err, &answer) {
		return answer
	}
	return nil
}

var errBody = errors.New("the body cannot be read on")

// failing is a body that breaks off with errBody behind its first bytes.
func failing(first, length int) storage.Body {
	return storage.Body{
		Reader: io.MultiReader(bytes.NewReader(make([]byte, first)), iotest.ErrReader(errBody)), Length: int64(length),
	}
}

func (k *kit) bodyFails() {
	k.put("o", []byte("old"))
	for _, first := range []int{0, 1, 1 << 20, 2<<20 - 1} {
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Body: failing(first, 2<<20)})
		k.want(fmt.Sprintf("put that breaks off after %d bytes", first), err, errBody)
		k.holds("o", []byte("old"))
		_, err = k.own.Put(k.ctx(), &storage.Put{Name: k.name("none"), Body: failing(first, 2<<20)})
		k.want("put", err, errBody)
		k.isGone("none")
	}
}

func (k *kit) bodyLength() {
	k.put("o", []byte("old"))
	for _, have := range []int{0, 999, 1001} {
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Body: storage.Body{Reader: bytes.NewReader(make([]byte, have)), Length: 1000}})
		if err == nil && have < 1000 {
			k.Errorf("%d bytes were stored as 1000", have)
		}
		if err != nil || have < 1000 {
			k.holds("o", []byte("old"))
		}
	}
}

// stalled waits for the end of a context behind its first bytes.
type stalled struct {
	first *bytes.Reader
	reach func()
	ctx   context.Context
}

func (s *stalled) Read(p []byte) (int, error) {
	if n, err := s.first.Read(p); err == nil {
		return n, nil
	}
	s.reach()
	<-s.ctx.Done()
	return 0, context.Cause(s.ctx)
}

func (k *kit) contextEnds() {
	k.put("o", []byte("old"))
	errLeft := errors.New("the client left")
	ctx, cancel := context.WithCancelCause(k.ctx())
	defer cancel(nil)
	body := storage.Body{Reader: &stalled{bytes.NewReader(make([]byte, 1<<20)), func() { cancel(errLeft) }, ctx}, Length: 2 << 20}
	_, err := k.own.Put(ctx, &storage.Put{Name: k.name("o"), Body: body})
	k.want("put", err, errLeft, context.Canceled)
	k.holds("o", []byte("old"))
}

func (k *kit) contextOver() {
	k.put("o", []byte("old"))
	ctx, cancel := context.WithCancel(k.ctx())
	cancel()
	_, err := k.own.Put(ctx, &storage.Put{Name: k.name("o"), Body: body([]byte("new"))})
	k.want("put", err, context.Canceled)
	_, err = k.own.Get(ctx, &storage.Get{Name: k.name("o")})
	k.want("get", err, context.Canceled)
	_, err = k.own.List(ctx, &storage.List{Bucket: k.bucket})
	k.want("list", err, context.Canceled)
	_, err = k.own.Delete(ctx, &storage.Delete{Name: k.name("o")})
	k.want("delete", err, context.Canceled)
	k.holds("o", []byte("old"))
}

func (k *kit) partFails() {
	u := k.create(&storage.CreateUpload{Name: k.name("o")})
	kept := k.part(u, 1, []byte("kept"))
	for _, number := range []int{1, 2} {
		_, err := k.own.PutPart(k.ctx(), &storage.PutPart{Upload: *u, Number: number, Body: failing(1<<20, 2<<20)})
		k.want("part", err, errBody)
	}
	page, err := k.own.ListParts(k.ctx(), &storage.ListParts{Upload: *u})
	k.must("list parts", err)
	if len(page.Parts) != 1 || page.Parts[0].Size != 4 {
		k.Errorf("parts are %v", page.Parts)
	}
	k.complete(u, kept)
	k.holds("o", []byte("kept"))
}

// refusedWrites holds that an answer of the storage's own means that nothing happened.
func (k *kit) refusedWrites() {
	k.put("o", []byte("old"))
	meta := fullMetadata()
	meta.Set("X-Amz-Meta-More", "than there is room for")
	_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Meta: meta, Body: body([]byte("new"))})
	if k.answer(err) == nil {
		k.Errorf("put with too much metadata: %v", err)
	}
	_, err = k.own.Copy(k.ctx(), &storage.Copy{Name: k.name("o"), Source: storage.Source{Name: k.name("none")}})
	if k.answer(err) == nil {
		k.Errorf("copy of nothing: %v", err)
	}
	k.holds("o", []byte("old"))
}

// closing says whether it was closed.
type closing struct {
	io.Reader
	mu     sync.Mutex
	closed chan struct{}
}

// Close notes that the body was closed.
func (c *closing) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.closed:
	default:
		close(c.closed)
	}
	return nil
}

func (k *kit) bodiesClosed() {
	k.put("o", []byte("old"))
	for what, c := range map[string]storage.Conditions{"a write": {}, "a refused write": {IfNoneMatch: "*"}} {
		r := &closing{Reader: bytes.NewReader(make([]byte, 1000)), closed: make(chan struct{})}
		_, err := k.own.Put(k.ctx(), &storage.Put{Name: k.name("o"), Conditions: c, Body: storage.Body{Reader: r, Length: 1000}})
		if (err != nil) != (c.IfNoneMatch != "") {
			k.Errorf("%s: %v", what, err)
		}
		<-r.closed // the test's time ends otherwise
	}
}
