package plaintext

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/storage"
)

func TestABodyIsSentAgainOnlyFromItsStart(t *testing.T) {
	t.Parallel()
	body := storage.Body{Reader: strings.NewReader("data"), Length: 4}
	next := Repeat(body)
	first, _ := next()
	second, ok := next()
	if !ok {
		t.Fatal("nothing was read, and it cannot be sent again")
	}
	if n, err := first.Reader.Read(make([]byte, 4)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("who had it first still reads: %d bytes, %v", n, err)
	}
	if n, err := io.Copy(io.Discard, first.Reader); n != 0 || err == nil {
		t.Errorf("who had it first still reads: %d bytes, %v", n, err)
	}
	var got bytes.Buffer
	if _, err := io.Copy(&got, second.Reader); err != nil || got.String() != "data" {
		t.Errorf("%q, %v", got.String(), err)
	}
	if _, ok := next(); ok {
		t.Error("all was read, and it is sent again")
	}

	next = Repeat(body)
	first, _ = next()
	_, _ = first.Reader.Read(make([]byte, 1))
	if _, ok := next(); ok {
		t.Error("a byte was read, and it is sent again")
	}

	next = Repeat(storage.Body{Reader: strings.NewReader("")})
	for range 3 {
		empty, ok := next()
		if !ok {
			t.Fatal("nothing cannot be sent again")
		}
		if empty.Reader != nil {
			if got, err := io.ReadAll(empty.Reader); err != nil || len(got) > 0 {
				t.Errorf("nothing is %q, %v", got, err)
			}
		}
	}

	guarded := NewGuarded([]byte("data"))
	next = Repeat(storage.Body{Reader: guarded, Length: 4, Again: guarded.Again})
	for range 3 {
		whole, ok := next()
		if got, err := io.ReadAll(whole.Reader); !ok || err != nil || string(got) != "data" {
			t.Errorf("%q, %v, %v", got, ok, err)
		}
		_ = whole.Reader.(io.Closer).Close()
	}
	if !guarded.Closed() {
		t.Error("its buffer is kept")
	}
}
