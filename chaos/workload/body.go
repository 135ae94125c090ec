package workload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/bucketseal/bucketseal/chaos/history"
)

// block is how many bytes name the write that they are of: its number and the block's own, 8 bytes
// each, big-endian. Any 31 bytes in a row say whose they are and where they lay.
const block = 16

// fill writes into p the bytes of w that begin at from.
func fill(p []byte, w history.Write, from int64) {
	for len(p) > 0 {
		if from%block == 0 && len(p) >= block {
			name(p, w, from)
			p, from = p[block:], from+block
			continue
		}
		var b [block]byte
		name(b[:], w, from)
		n := copy(p, b[from%block:])
		p, from = p[n:], from+int64(n)
	}
}

// name writes the block in which from lies.
func name(p []byte, w history.Write, from int64) {
	binary.BigEndian.PutUint64(p, uint64(w))
	binary.BigEndian.PutUint64(p[8:], uint64(from/block))
}

// bytesOf returns a body's bytes.
func bytesOf(b history.Body) []byte {
	p := make([]byte, b.Size())
	at := p
	for _, s := range b {
		fill(at[:s.Len], s.Write, s.From)
		at = at[s.Len:]
	}
	return p
}

// holds says whether data are a body's bytes.
func holds(b history.Body, data []byte) bool {
	if b.Size() != int64(len(data)) {
		return false
	}
	scratch := make([]byte, min(len(data), 32<<10))
	for _, s := range b {
		for at := int64(0); at < s.Len; {
			want := scratch[:min(int64(len(scratch)), s.Len-at)]
			fill(want, s.Write, s.From+at)
			if !bytes.Equal(want, data[:len(want)]) {
				return false
			}
			data, at = data[len(want):], at+int64(len(want))
		}
	}
	return true
}

// book knows what every write sent, and tells from bytes whose they are.
type book struct {
	mu   sync.Mutex
	sent map[history.Write]history.Body // by the object's write, and by each part's
}

func newBook() *book { return &book{sent: map[history.Write]history.Body{}} }

// note records what an object's write sends, before it does.
func (b *book) note(w history.Write, body history.Body) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[w] = body
	for _, s := range body {
		b.sent[s.Write] = body
	}
}

func (b *book) of(w history.Write) history.Body {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent[w]
}

// recognise tells whose bytes data are, which an answer says are of write w, from first on. The body
// that it returns is not empty unless data is.
func (b *book) recognise(data []byte, w history.Write, first int64) history.Body {
	if body := b.of(w).Cut(first, first+int64(len(data))); holds(body, data) {
		return body
	}
	// A copy: the bytes are of its source's write.
	if from, _, ok := identify(data); ok {
		if body := b.of(from).Cut(first, first+int64(len(data))); holds(body, data) {
			return body
		}
	}
	return decipher(data)
}

// identify tells whose bytes data begins with, and where they lay.
func identify(data []byte) (w history.Write, from int64, ok bool) {
	for shift := range min(block, len(data)) {
		if len(data) < shift+block {
			break
		}
		w := history.Write(binary.BigEndian.Uint64(data[shift:]))
		n := int64(binary.BigEndian.Uint64(data[shift+8:]))
		from := n*block - int64(shift)
		if w <= 0 || n < 0 || n > 1<<40 || from < 0 {
			continue
		}
		probe := make([]byte, min(len(data), 2*block))
		fill(probe, w, from)
		if bytes.HasPrefix(data, probe) {
			return w, from, true
		}
	}
	return 0, 0, false
}

// decipher tells run by run whose bytes these are; what is nobody's is history.Damage.
func decipher(data []byte) history.Body {
	var out history.Body
	for at := 0; at < len(data); {
		w, from, ok := identify(data[at:])
		if !ok {
			out = out.Append(history.Segment{Write: history.Damage, From: int64(at), Len: 1})
			at++
			continue
		}
		n := 0
		want := make([]byte, block)
		for at+n < len(data) {
			part := want[:min(block, len(data)-at-n)]
			fill(part, w, from+int64(n))
			same := common(part, data[at+n:])
			n += same
			if same < len(part) {
				break
			}
		}
		out = out.Append(history.Segment{Write: w, From: from, Len: int64(n)})
		at += n
	}
	return out
}

func common(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// CustomerKey returns the SSE-C key of an object: 32 bytes, a function of its name.
func CustomerKey(bucket, key string) []byte {
	sum := sha256.Sum256([]byte("an SSE-C key of " + bucket + "/" + key))
	return sum[:]
}
