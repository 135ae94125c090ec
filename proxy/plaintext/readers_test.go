package plaintext

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bucketseal/bucketseal/sse"
)

var errDigest = errors.New("digest does not match")

func TestPlainBodyIsPassedOnWhole(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 3, 1000, 1 << 16} {
		text := strings.Repeat("x", size)
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole":           func(r io.Reader) io.Reader { return r },
			"one byte":        iotest.OneByteReader,
			"halves":          iotest.HalfReader,
			"end beside data": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(&sourceReader{src: sticky(wrap(strings.NewReader(text))), remaining: int64(size)})
			if err != nil || string(got) != text {
				t.Errorf("%d bytes, %s: %d bytes, %v", size, name, len(got), err)
			}
		}
	}
}

func TestPlainBodyNeverEndsUnverified(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 2, 1000} {
		text := strings.Repeat("x", size)
		for name, tail := range map[string]func() io.Reader{
			"a wrong digest":     func() io.Reader { return iotest.ErrReader(errDigest) },
			"more than declared": func() io.Reader { return strings.NewReader("y") },
		} {
			for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, func(r io.Reader) io.Reader { return r }} {
				got, err := io.ReadAll(&sourceReader{src: sticky(wrap(io.MultiReader(strings.NewReader(text), tail()))), remaining: int64(size)})
				if err == nil {
					t.Errorf("%d bytes, %s: ends as if all were well", size, name)
				}
				if size > 0 && len(got) >= size {
					t.Errorf("%d bytes, %s: all of them were passed on", size, name)
				}
			}
		}
	}
}

func TestCutPlainBodyIsShort(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{1, 2, 1000} {
		got, _ := io.ReadAll(&sourceReader{src: sticky(strings.NewReader(strings.Repeat("x", int(size-1)))), remaining: size})
		if int64(len(got)) >= size {
			t.Errorf("%d bytes of a source that has %d", len(got), size-1)
		}
	}
}

func TestDrainWantsTheEnd(t *testing.T) {
	t.Parallel()
	if err := Drain(strings.NewReader("")); err != nil {
		t.Errorf("an empty body: %v", err)
	}
	if err := Drain(strings.NewReader("x")); !errors.Is(err, ErrIncompleteBody) {
		t.Errorf("a body that goes on: %v", err)
	}
	if err := Drain(iotest.ErrReader(errDigest)); !errors.Is(err, errDigest) {
		t.Errorf("a body that does not verify: %v", err)
	}
}

func testStream(size int64) *sse.Stream {
	key := sse.NewObjectKey()
	return &sse.Stream{Key: key.Part(1), Nonce: sse.NewStreamNonce(), PlainSize: size}
}

func TestSmallBodyCanBeSentAgain(t *testing.T) {
	t.Parallel()
	plain := bytes.Repeat([]byte("abc"), 30_000)
	g, err := NewGuarded(testStream(int64(len(plain))), plain)
	if err != nil {
		t.Fatal(err)
	}
	var first [1000]byte
	if _, err := io.ReadFull(g, first[:]); err != nil {
		t.Fatal(err)
	}
	second, err := g.Again()
	if err != nil {
		t.Fatal(err)
	}
	third, err := g.Again()
	if err != nil {
		t.Fatal(err)
	}
	a, errA := io.ReadAll(second)
	b, errB := io.ReadAll(third)
	rest, errC := io.ReadAll(g)
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	if int64(len(a)) != sse.EncSize(int64(len(plain))) || !bytes.Equal(a, b) || !bytes.Equal(a, append(first[:], rest...)) {
		t.Errorf("the same body is sent differently: %d, %d and %d bytes", len(a), len(b), 1000+len(rest))
	}
	if bytes.Contains(a, plain[:16]) {
		t.Error("plaintext is sent")
	}
}

func TestSmallBodyIsFreeWhenItsLastReaderIsClosed(t *testing.T) {
	t.Parallel()
	g, err := NewGuarded(testStream(3), []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if g.Closed() {
		t.Error("closed before it was")
	}
	again, err := g.Again()
	if err != nil {
		t.Fatal(err)
	}
	_ = g.Close()
	_ = g.Close() // counts once
	if g.Closed() {
		t.Error("a second reader may still read the buffer")
	}
	_ = again.Close()
	if !g.Closed() {
		t.Error("nobody reads the buffer any more")
	}
}

func TestManifestComesBeforeTheLastBytes(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":           func(r io.Reader) io.Reader { return r },
		"one byte":        iotest.OneByteReader,
		"end beside data": iotest.DataErrReader,
	} {
		commits, delivered := 0, 0
		l := &lastBytes{src: sticky(wrap(strings.NewReader("0123456789"))), remaining: 10, commit: func() error {
			commits++
			if delivered >= 10 {
				t.Errorf("%s: everything was delivered before", name)
			}
			return nil
		}}
		var p [4]byte
		for {
			n, err := l.Read(p[:])
			delivered += n
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if commits != 1 || delivered != 10 {
			t.Errorf("%s: %d commits, %d bytes", name, commits, delivered)
		}
	}
}

func TestNothingIsCompleteWithoutItsManifest(t *testing.T) {
	t.Parallel()
	broken := errors.New("the system bucket is away")
	l := &lastBytes{src: strings.NewReader("0123456789"), remaining: 10, commit: func() error { return broken }}
	got, err := io.ReadAll(l)
	if !errors.Is(err, broken) || len(got) == 10 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n, err := l.Read(make([]byte, 4)); n != 0 || !errors.Is(err, broken) {
		t.Errorf("the next read gives %d bytes, %v", n, err)
	}
}

func TestNoManifestForABodyThatFails(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]io.Reader{
		"cut":               strings.NewReader("01234567"),
		"broken":            io.MultiReader(strings.NewReader("01234567"), iotest.ErrReader(errDigest)),
		"broken at the end": iotest.DataErrReader(io.MultiReader(strings.NewReader("012345678"), &failingByte{})),
	} {
		l := &lastBytes{src: sticky(src), remaining: 10, commit: func() error {
			t.Errorf("%s: a manifest is written", name)
			return nil
		}}
		_, _ = io.Copy(io.Discard, l)
	}
}

// failingByte gives one byte and an error beside it.
type failingByte struct{}

func (*failingByte) Read(p []byte) (int, error) {
	p[0] = '9'
	return 1, errDigest
}

// sticky repeats the first error of r, as the sources of bodies do.
func sticky(r io.Reader) io.Reader { return &stickyReader{r: r} }

type stickyReader struct {
	r   io.Reader
	err error
}

func (s *stickyReader) Read(p []byte) (n int, err error) {
	if s.err == nil {
		n, s.err = s.r.Read(p)
	}
	return n, s.err
}
