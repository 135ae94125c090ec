package plaintext

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
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

func TestSmallBodyCanBeSentAgain(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("abc"), 300_000)
	g := NewGuarded(body)
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
	var b bytes.Buffer
	_, errB := third.(io.WriterTo).WriteTo(&b)
	rest := bytes.NewBuffer(first[:])
	_, errC := g.WriteTo(rest)
	if err := errors.Join(errA, errB, errC); err != nil {
		t.Fatal(err)
	}
	for i, got := range [][]byte{a, b.Bytes(), rest.Bytes()} {
		if !bytes.Equal(got, body) {
			t.Errorf("reader %d gives %d other bytes", i, len(got))
		}
	}
	if n, err := g.Read(first[:]); n != 0 || err != io.EOF {
		t.Errorf("after its end: %d bytes, %v", n, err)
	}
}

// pieces is a writer that fails after so many bytes, and notes the longest write.
type pieces struct{ limit, longest int }

func (p *pieces) Write(b []byte) (int, error) {
	p.longest = max(p.longest, len(b))
	n := min(len(b), p.limit)
	if p.limit -= n; n < len(b) {
		return n, errDigest
	}
	return n, nil
}

func TestSmallBodyIsWrittenInPieces(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("abc"), 300_000)
	g := NewGuarded(body)
	w := &pieces{limit: 400_001}
	if n, err := g.WriteTo(w); n != 400_001 || !errors.Is(err, errDigest) || w.longest > pieceSize {
		t.Errorf("%d bytes in pieces of up to %d, %v", n, w.longest, err)
	}
	if rest, err := io.ReadAll(struct{ io.Reader }{g}); err != nil || !bytes.Equal(rest, body[400_001:]) {
		t.Errorf("%d bytes are left: %v", len(rest), err)
	}
}

func TestSmallBodyIsFreeWhenItsLastReaderIsClosed(t *testing.T) {
	t.Parallel()
	g := NewGuarded([]byte("abc"))
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

// committed is where a body goes that must be committed before its last byte.
type committed struct {
	t       *testing.T
	commits *int
	total   int
}

func (c *committed) Write(p []byte) (int, error) {
	if c.total += len(p); (c.total == 10) != (*c.commits == 1) {
		c.t.Errorf("%d commits when %d bytes are delivered", *c.commits, c.total)
	}
	return len(p), nil
}

func TestManifestComesBeforeTheLastWrite(t *testing.T) {
	t.Parallel()
	for name, src := range map[string]io.Reader{
		"written": strings.NewReader("0123456789"),
		"read":    sticky(iotest.OneByteReader(strings.NewReader("0123456789"))),
		"pieces":  io.MultiReader(strings.NewReader("01234"), strings.NewReader("56789")),
	} {
		commits := 0
		l := BeforeEnd(src, 10, func() error { commits++; return nil })
		n, err := io.Copy(&committed{t, &commits, 0}, l)
		if n != 10 || err != nil || commits != 1 {
			t.Errorf("%s: %d bytes, %v, %d commits", name, n, err, commits)
		}
	}
}

func TestNothingIsWrittenWholeWithoutItsManifest(t *testing.T) {
	t.Parallel()
	broken := errors.New("the system bucket is away")
	for name, src := range map[string]io.Reader{
		"written": io.MultiReader(strings.NewReader("01234"), strings.NewReader("56789")),
		"read":    sticky(strings.NewReader("0123456789")),
	} {
		l := BeforeEnd(src, 10, func() error { return broken })
		var got bytes.Buffer
		if _, err := io.Copy(&got, l); !errors.Is(err, broken) || got.Len() == 10 {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
		if n, err := io.Copy(&got, l); n != 0 || !errors.Is(err, broken) {
			t.Errorf("%s: then %d bytes, %v", name, n, err)
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
