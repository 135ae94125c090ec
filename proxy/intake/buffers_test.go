package intake

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/bucketseal/bucketseal/proxy/edge"
)

func TestBudgetIsKeptAndGivenBack(t *testing.T) {
	t.Parallel()
	b := newBuffers(64 << 10)
	var held [][]byte
	for {
		buffer := b.Take(edge.Claim{}, 10_000) // of 16 KiB
		if buffer == nil {
			break
		}
		if len(buffer) != 10_000 {
			t.Fatalf("a buffer of %d bytes", len(buffer))
		}
		held = append(held, buffer)
	}
	if len(held) != 3 {
		t.Errorf("one account got %d buffers of 16 KiB of 64", len(held))
	}
	held = append(held, b.Take(edge.Claim{Who: "another"}, 10_000))
	if held[3] == nil {
		t.Fatal("another account gets nothing")
	}
	if b.Take(edge.Claim{}, 1) != nil {
		t.Error("the budget is used up, and there is a buffer all the same")
	}
	b.Give(edge.Claim{}, held[0], true)
	if b.Take(edge.Claim{}, 20_000) != nil {
		t.Error("16 KiB are left, and there is a buffer of 32 KiB")
	}
	if b.Take(edge.Claim{}, 4096) == nil {
		t.Error("a failed attempt used the budget up")
	}
	for _, buffer := range held[1:3] {
		b.Give(edge.Claim{}, buffer, false)
	}
	b.Give(edge.Claim{Who: "another"}, held[3], false)
	if free := b.shares.Free(); free != 60<<10 {
		t.Errorf("%d bytes are free", free)
	}
}

func TestBufferOfEverySizeFits(t *testing.T) {
	t.Parallel()
	b := newBuffers(1 << 40)
	for _, size := range []int64{0, 1, 4095, 4096, 4097, 8192, 8193, 65536, 65537, 8 << 20, 8<<20 + 1} {
		buffer := b.Take(edge.Claim{}, size)
		if int64(len(buffer)) != size || int64(cap(buffer)) >= 2*size && size > minBuffer {
			t.Errorf("%d bytes get a buffer of %d of %d", size, len(buffer), cap(buffer))
		}
		b.Give(edge.Claim{}, buffer, true)
		if b.shares.Free() != 1<<40 {
			t.Fatalf("%d bytes: %d are free", size, b.shares.Free())
		}
	}
	for class := range len(b.classes) {
		plain := int64(minBuffer) << class
		sealed := b.Take(edge.Claim{}, plain+32*((plain+(64<<10)-1)/(64<<10)))
		if free := b.shares.Free(); free != 1<<40-plain || int64(cap(sealed)) != bufferSize(class) {
			t.Errorf("%d bytes, sealed, get a buffer of %d and leave %d", plain, cap(sealed), free)
		}
		b.Give(edge.Claim{}, sealed, false)
	}
	if b.Take(edge.Claim{}, 1<<40) != nil {
		t.Error("a buffer larger than any class")
	}
	if b.shares.Free() != 1<<40 {
		t.Errorf("what cannot be had used the budget: %d are free", b.shares.Free())
	}
}

func TestBuffersComeBackEmpty(t *testing.T) {
	t.Parallel()
	b := newBuffers(1 << 20)
	buffer := b.Take(edge.Claim{}, 5000)
	for i := range buffer[:cap(buffer)] {
		buffer[:cap(buffer)][i] = 'x'
	}
	b.Give(edge.Claim{}, buffer, true)
	if bytes.ContainsRune(buffer[:cap(buffer)], 'x') {
		t.Error("plaintext stays in a buffer that nobody uses")
	}
}

func TestBudgetHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	b := newBuffers(limit)
	var used atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 300 {
				buffer := b.Take(edge.Claim{}, rand.Int64N(100<<10))
				if buffer == nil {
					continue
				}
				counted := int64(minBuffer) << bufferClass(int64(cap(buffer)))
				if n := used.Add(counted); n > limit {
					t.Errorf("%d bytes are in use", n)
				}
				for i := range buffer { // the race detector sees a buffer that two have
					buffer[i] = 1
				}
				used.Add(-counted)
				b.Give(edge.Claim{}, buffer, rand.N(2) == 0)
			}
		})
	}
	wait.Wait()
	if free := b.shares.Free(); free != limit {
		t.Errorf("%d of %d bytes are free in the end", free, limit)
	}
}

func TestCopyPassesEverythingOn(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 1000)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":           func(r io.Reader) io.Reader { return r },
		"one byte":        iotest.OneByteReader,
		"end beside data": iotest.DataErrReader,
	} {
		var out bytes.Buffer
		buffer := make([]byte, 64)
		n := copy(buffer, text[:7])
		err := move(&out, sticky(wrap(strings.NewReader(text[7:]))), buffer, n)
		if err != nil || out.String() != text {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
	}
}

// sticky repeats the first error of r, as the sources of answers do.
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

func TestCopyTellsWhoFailed(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	err := move(io.Discard, iotest.ErrReader(broken), make([]byte, 8), 0)
	if !errors.Is(err, broken) || errors.Is(err, ErrClientGone) {
		t.Errorf("a source that fails: %v", err)
	}
	pipe, w := io.Pipe()
	_ = pipe.CloseWithError(broken)
	if err := move(w, strings.NewReader("x"), make([]byte, 8), 0); !errors.Is(err, ErrClientGone) {
		t.Errorf("a client that is gone: %v", err)
	}
}

func TestStrangersGetHalfOfTheMemory(t *testing.T) {
	t.Parallel()
	b := newBuffers(1 << 20)
	got := 0
	for i := range 100 {
		from := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if b.Take(edge.Stranger(from), 16<<10) != nil {
			got++
		}
	}
	if got != 32 {
		t.Errorf("strangers got %d of 64 buffers", got)
	}
	if b.Take(edge.Claim{Who: "root"}, 256<<10) == nil {
		t.Error("nothing is left for others")
	}
}

// keepingWriter keeps what it was given, and fails.
type keepingWriter struct{ got []byte }

func (k *keepingWriter) Write(p []byte) (int, error) {
	k.got = p
	return 0, io.ErrShortWrite
}

func TestWhatAFailedWriterWasGivenIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	b := newBuffers(1 << 20)
	for range 20 {
		var k keepingWriter
		if err := b.Send(&k, strings.NewReader("plain"), 5, nil); !errors.Is(err, ErrClientGone) {
			t.Fatal(err)
		}
		if string(k.got) != "plain" {
			t.Fatal("the buffer was cleared, and given to others, while a writer has it")
		}
	}
}
