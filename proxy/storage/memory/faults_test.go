package memory_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/sse"
)

// kit is a storage with a bucket.
type kit struct {
	*testing.T
	*memory.Storage
	own storage.Backend
}

func newKit(t *testing.T, v memory.Versioning) *kit {
	t.Helper()
	t.Parallel()
	s, _ := open(t, v)
	return &kit{t, s, s.Own(storage.Actor{})}
}

func named(key string) sse.Name { return sse.Name{Bucket: "bucket", Key: key} }

func body(text string) storage.Body {
	return storage.Body{Reader: strings.NewReader(text), Length: int64(len(text))}
}

func (k *kit) put(key, text string, c storage.Conditions) error {
	_, err := k.own.Put(k.Context(), &storage.Put{Name: named(key), Conditions: c, Body: body(text)})
	return err
}

// get returns what an object holds, "" if there is none.
func (k *kit) get(key string) string {
	k.Helper()
	o, err := k.own.Get(k.Context(), &storage.Get{Name: named(key)})
	if errors.Is(err, storage.ErrNotFound) {
		return ""
	}
	if err != nil {
		k.Fatal(err)
	}
	text, err := io.ReadAll(o)
	if err != nil {
		k.Fatal(err)
	}
	return string(text)
}

func (k *kit) must(err error) {
	k.Helper()
	if err != nil {
		k.Fatal(err)
	}
}

// once returns a hook that acts on the next call of an operation, at a step.
func once(op memory.Op, step memory.Step, act func(c *memory.Call) error) memory.Faults {
	done := false
	return func(_ context.Context, c *memory.Call) error {
		if done || c.Op != op || c.Step != step {
			return nil
		}
		done = true
		return act(c)
	}
}

func unreachable(*memory.Call) error { return storage.ErrUnreachable }

func TestFailureBeforeAndAfterStoring(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	for step, stored := range map[memory.Step]bool{memory.Arrived: false, memory.Ready: false, memory.Done: true} {
		k.must(k.put("o", "old", storage.Conditions{}))
		k.SetFaults(once(memory.Put, step, unreachable))
		if err := k.put("o", "new", storage.Conditions{}); !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("step %d: %v", step, err)
		}
		if got := k.get("o"); got != "new" && stored || got != "old" && !stored {
			t.Errorf("step %d: the object holds %q", step, got)
		}
	}
}

func TestEveryCallCanBeMadeToFail(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	for n := 1; ; n++ {
		k.SetFaults(memory.FailAt(k.Calls()+n, memory.Done, storage.ErrUnreachable))
		_ = k.put("a", "1", storage.Conditions{})
		_ = k.put("b", "2", storage.Conditions{})
		before := k.Calls()
		_, err := k.own.Head(k.Context(), &storage.Get{Name: named("a")})
		if n == 3 != errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("call %d fails: %v", n, err)
		}
		if k.Calls() != before+1 {
			t.Errorf("%d calls for one", k.Calls()-before)
		}
		if n > 3 {
			return
		}
	}
}

func TestBodiesBreakOff(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	k.must(k.put("o", "0123456789", storage.Conditions{}))
	k.SetFaults(once(memory.Put, memory.Arrived, func(c *memory.Call) error { c.CutBody(4); return nil }))
	if err := k.put("o", "abcdefghij", storage.Conditions{}); !errors.Is(err, storage.ErrUnreachable) {
		t.Errorf("a cut PUT: %v", err)
	}
	if got := k.get("o"); got != "0123456789" {
		t.Errorf("a cut PUT stored %q", got)
	}
	for _, n := range []int64{0, 4, 10} {
		k.SetFaults(once(memory.Get, memory.Arrived, func(c *memory.Call) error { c.CutBody(n); return nil }))
		o, err := k.own.Get(t.Context(), &storage.Get{Name: named("o")})
		k.must(err)
		got, err := io.ReadAll(o)
		if string(got) != "0123456789"[:n] || !errors.Is(err, storage.ErrUnreachable) || o.Size != 10 {
			t.Errorf("a GET cut after %d bytes: %q of %d, %v", n, got, o.Size, err)
		}
	}
}

func TestStaleListing(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	for _, key := range []string{"a", "b", "c"} {
		k.must(k.put(key, key, storage.Conditions{}))
	}
	_, err := k.own.Delete(t.Context(), &storage.Delete{Name: named("a")})
	k.must(err)
	for writes, want := range []string{"bc", "abc", "ab", "a", "", ""} {
		k.SetFaults(once(memory.List, memory.Arrived, func(c *memory.Call) error { c.Stale(writes); return nil }))
		page, err := k.own.List(t.Context(), &storage.List{Bucket: "bucket"})
		k.must(err)
		got := ""
		for _, e := range page.Entries {
			got += e.Key
		}
		if got != want {
			t.Errorf("a listing stale by %d writes has %q, not %q", writes, got, want)
		}
	}
}

// TestTwoWritersInterleave holds two writers up before either is judged, and lets the one
// go first that came last.
func TestTwoWritersInterleave(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Put && c.Step == memory.Ready })
	k.SetFaults(gate.Hook)
	errs := [2]chan error{make(chan error, 1), make(chan error, 1)}
	held := [2]*memory.Held{}
	for i, text := range []string{"first", "second"} {
		go func() { errs[i] <- k.put("o", text, storage.Conditions{IfNoneMatch: "*"}) }()
		held[i] = gate.Next()
	}
	held[1].Release(nil)
	k.must(<-errs[1])
	held[0].Release(nil)
	if err := <-errs[0]; !errors.Is(err, storage.ErrPrecondition) {
		t.Errorf("the later writer: %v", err)
	}
	if got := k.get("o"); got != "second" {
		t.Errorf("the object holds %q", got)
	}
}

// TestACompleteTakesPartsAway holds one up in between, and asks what others find then.
func TestACompleteTakesPartsAway(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	id, err := k.own.CreateUpload(t.Context(), &storage.CreateUpload{Name: named("o")})
	k.must(err)
	upload := storage.Upload{Name: named("o"), ID: id}
	etag, err := k.own.PutPart(t.Context(), &storage.PutPart{Upload: upload, Number: 1, Body: body("x")})
	k.must(err)
	complete := func() error {
		_, err := k.own.Complete(t.Context(), &storage.Complete{Upload: upload, Parts: []storage.CompletePart{{Number: 1, ETag: etag}}})
		return err
	}
	gate, first := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Complete && c.Step == memory.Ready }), make(chan error, 1)
	taking := once(memory.Complete, memory.Arrived, func(c *memory.Call) error { c.TakeParts(); return nil })
	k.SetFaults(func(ctx context.Context, c *memory.Call) error { return errors.Join(taking(ctx, c), gate.Hook(ctx, c)) })
	go func() { first <- complete() }()
	held := gate.Next()
	k.SetFaults(nil)
	page, err := k.own.ListParts(t.Context(), &storage.ListParts{Upload: upload})
	k.must(err)
	if len(page.Parts) != 0 {
		t.Errorf("listed %+v", page.Parts)
	}
	if err := complete(); !errors.Is(err, storage.ErrInvalidPart) {
		t.Errorf("another Complete: %v", err)
	}
	held.Release(nil)
	k.must(<-first)
	if got := k.get("o"); got != "x" {
		t.Errorf("the object holds %q", got)
	}
}

func TestGateEndsWithTheContext(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	gate := memory.NewGate(func(c *memory.Call) bool { return c.Op == memory.Delete && c.Step == memory.Done })
	k.must(k.put("o", "x", storage.Conditions{}))
	k.SetFaults(gate.Hook)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := k.own.Delete(ctx, &storage.Delete{Name: named("o")})
		failed <- err
	}()
	gate.Next()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	if got := k.get("o"); got != "" {
		t.Errorf("the object holds %q", got)
	}
}

func TestWriteThatComesLate(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	for _, c := range []storage.Conditions{{}, {IfNoneMatch: "*"}} {
		k.SetFaults(once(memory.Put, memory.Ready, func(c *memory.Call) error { c.Postpone(); return nil }))
		if err := k.put("o", "late", c); !errors.Is(err, storage.ErrUnreachable) {
			t.Errorf("a postponed write: %v", err)
		}
		if got := k.get("o"); got != "" {
			t.Errorf("it was carried out: %q", got)
		}
		if c.IfNoneMatch != "" {
			k.must(k.put("o", "between", storage.Conditions{}))
		}
		if n := k.RunLate(); n != 1 {
			t.Errorf("%d postponed calls", n)
		}
		want := map[bool]string{false: "late", true: "between"}[c.IfNoneMatch != ""]
		if got := k.get("o"); got != want {
			t.Errorf("the object holds %q, not %q", got, want)
		}
		_, err := k.own.Delete(t.Context(), &storage.Delete{Name: named("o")})
		k.must(err)
	}
}

// TestCopyOntoItselfIsWeak holds that only a copy that names a checksum is written whole:
// the storage promises no more.
func TestCopyOntoItselfIsWeak(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	for checksum, want := range map[string]string{"": "newer", "CRC64NVME": "old"} {
		k.SetFaults(nil)
		k.must(k.put("o", "old", storage.Conditions{}))
		k.SetFaults(once(memory.Copy, memory.Ready, func(*memory.Call) error { return k.put("o", "newer", storage.Conditions{}) }))
		_, err := k.own.Copy(t.Context(), &storage.Copy{Name: named("o"), Record: "copy", Source: storage.Source{Name: named("o")}, Checksum: checksum})
		k.must(err)
		raw, err := k.Raw(named("o"), "")
		k.must(err)
		if string(raw.Data) != want || raw.Reserved[0].Value != "copy" {
			t.Errorf("checksum %q: %q with %v", checksum, raw.Data, raw.Reserved)
		}
	}
}

func TestAnswersMayLie(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	k.must(k.put("o", "data", storage.Conditions{}))
	k.SetFaults(func(_ context.Context, c *memory.Call) error {
		switch a := c.Answer.(type) {
		case *storage.Object:
			a.Size, a.ReadCloser = 3, io.NopCloser(bytes.NewReader([]byte("lie")))
		case *storage.Info:
			a.ETag = `"lie"`
		}
		return nil
	})
	if got := k.get("o"); got != "lie" {
		t.Errorf("the object holds %q", got)
	}
	if info, err := k.own.Head(t.Context(), &storage.Get{Name: named("o")}); err != nil || info.ETag != `"lie"` {
		t.Errorf("%v, %v", info, err)
	}
}

func TestRightsComeFirst(t *testing.T) {
	k := newKit(t, memory.Unversioned)
	k.must(k.put("o", "data", storage.Conditions{}))
	k.SetRights(func(c *memory.Call) error {
		if c.Own || c.Actor.Credential != nil && c.Op == memory.List {
			return nil
		}
		return memory.Forbidden()
	})
	lister := k.As(storage.Actor{Credential: &storage.Credential{AccessKey: "lister"}})
	page, err := lister.List(t.Context(), &storage.List{Bucket: "bucket", Metadata: true})
	k.must(err)
	if len(page.Entries) != 1 || page.Entries[0].HasMetadata || page.Entries[0].Metadata != nil {
		t.Errorf("who may only list sees %+v", page.Entries)
	}
	for _, key := range []string{"o", "none"} {
		_, err = lister.Head(t.Context(), &storage.Get{Name: named(key)})
		if !errors.Is(err, storage.ErrForbidden) {
			t.Errorf("head: %v", err)
		}
	}
	r := strings.NewReader("body")
	_, err = lister.Put(t.Context(), &storage.Put{Name: named("o"), Body: storage.Body{Reader: r, Length: 4}})
	if !errors.Is(err, storage.ErrForbidden) || r.Len() != 4 {
		t.Errorf("put: %v, %d bytes are left", err, r.Len())
	}
	for right, op := range map[storage.Right]error{storage.WriteObject: storage.ErrForbidden, storage.ListUploads: nil} {
		if err := lister.May(t.Context(), &storage.Question{Right: right, Name: named("o")}); !errors.Is(err, op) {
			t.Errorf("may %d: %v", right, err)
		}
	}
	k.must(k.own.May(t.Context(), &storage.Question{Right: storage.WriteObject, Name: named("o")}))
}
