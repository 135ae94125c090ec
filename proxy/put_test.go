package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bucketseal/bucketseal/proxy/identity"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
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
	if err := drain(strings.NewReader("")); err != nil {
		t.Errorf("an empty body: %v", err)
	}
	if err := drain(strings.NewReader("x")); !errors.Is(err, sigv4.ErrIncompleteBody) {
		t.Errorf("a body that goes on: %v", err)
	}
	if err := drain(iotest.ErrReader(errDigest)); !errors.Is(err, errDigest) {
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
	g, err := newGuardedBody(testStream(int64(len(plain))), plain)
	if err != nil {
		t.Fatal(err)
	}
	var first [1000]byte
	if _, err := io.ReadFull(g, first[:]); err != nil {
		t.Fatal(err)
	}
	second, err := g.again()
	if err != nil {
		t.Fatal(err)
	}
	third, err := g.again()
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
	g, err := newGuardedBody(testStream(3), []byte("abc"))
	if err != nil {
		t.Fatal(err)
	}
	if g.wasClosed() {
		t.Error("closed before it was")
	}
	again, err := g.again()
	if err != nil {
		t.Fatal(err)
	}
	_ = g.Close()
	_ = g.Close() // counts once
	if g.wasClosed() {
		t.Error("a second reader may still read the buffer")
	}
	_ = again.Close()
	if !g.wasClosed() {
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

func TestDeclaredSize(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		length  int64
		decoded string
		want    int64
		err     error
	}{
		{0, "", 0, nil},
		{5 << 40, "", 5 << 40, nil},
		{5<<40 + 1, "", 0, errTooLarge},
		{-1, "", 0, errMissingLength},
		{100, "60", 60, nil},
		{-1, "60", 60, nil},
		{100, "-1", 0, sigv4.ErrIncompleteBody},
		{100, "x", 0, sigv4.ErrIncompleteBody},
		{100, "99999999999999999999", 0, sigv4.ErrIncompleteBody},
	} {
		r := &request{Request: &http.Request{ContentLength: tt.length, Header: http.Header{}}}
		if tt.decoded != "" {
			r.Header.Set("X-Amz-Decoded-Content-Length", tt.decoded)
		}
		got, err := declaredSize(r)
		if got != tt.want || !errors.Is(err, tt.err) || tt.err == nil && err != nil {
			t.Errorf("%d, %q: %d, %v", tt.length, tt.decoded, got, err)
		}
	}
}

func TestWritesAreEncryptedAsTheirHeadersAsk(t *testing.T) {
	t.Parallel()
	s := serverBefore(t, func(w http.ResponseWriter, _ *http.Request) { // lets everybody write
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, "<Error><Code>PreconditionFailed</Code></Error>")
	})
	for _, tt := range []struct {
		name   string
		header map[string]string
		status int // of the refusal, 0 for none
		mode   sse.Mode
	}{
		{"SSE-S3", map[string]string{sse.HeaderMethod: "AES256"}, 0, sse.ModeS3},
		{"SSE-KMS", map[string]string{sse.HeaderMethod: "aws:kms"}, 0, sse.ModeKMS},
		{"customer key over http", map[string]string{sse.HeaderCustomerAlgorithm: "AES256"}, 400, 0},
		{"context with a reserved name", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: base64Std([]byte(`{"bucketseal:use":"system"}`))}, 400, 0},
		{"context that is no JSON", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: base64Std([]byte(`{`))}, 400, 0},
		{"context that is no base64", map[string]string{sse.HeaderMethod: "aws:kms", sse.HeaderContext: "{}"}, 400, 0},
		{"unknown method", map[string]string{sse.HeaderMethod: "aws:kms:dsse"}, 400, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			for name, value := range tt.header {
				h.Set(name, value)
			}
			r := &request{
				Request: (&http.Request{Header: h}).WithContext(context.Background()), bucket: "b", key: "k",
				caller: caller{accessKey: "root", identity: &identity.Identity{AccessKey: "root"}},
			}
			asked, err := s.writeEncryption(r)
			switch {
			case tt.status == 0 && err != nil:
				t.Errorf("refused: %v", err)
			case tt.status != 0 && (err == nil || asAPIError(err).status != tt.status):
				t.Errorf("answered %v", err)
			case tt.status == 0 && asked.Mode != tt.mode:
				t.Errorf("mode %v", asked.Mode)
			}
		})
	}
}
