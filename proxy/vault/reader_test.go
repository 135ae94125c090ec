package vault

import (
	"io"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/sse"
)

type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error {
	c.closed++
	return nil
}

func TestClosedReaderForgetsTheKeyAndBothAnswers(t *testing.T) {
	t.Parallel()
	key := sse.NewObjectKey()
	first, second := &closer{Reader: strings.NewReader("")}, &closer{Reader: strings.NewReader("")}
	r := &Reader{source: source{object: &sealed.Object{Key: key}}, body: first, again: second}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r.source.object.Key != (sse.ObjectKey{}) || first.closed != 1 || second.closed != 1 {
		t.Errorf("the key is %x, answers are closed %d and %d times", r.source.object.Key[:], first.closed, second.closed)
	}
}
