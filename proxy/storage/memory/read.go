package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// millisecond is what listings and answers to copies tell times in.
const millisecond = time.Millisecond

// Get implements storage.Backend.
func (b *backend) Get(ctx context.Context, g *storage.Get) (*storage.Object, error) {
	c := b.call(Get, g.Name, g)
	o, err := carryOut(ctx, b.s, c, nil, func() (*storage.Object, error) {
		info, data, err := b.s.read(g)
		if err != nil {
			return nil, err
		}
		return &storage.Object{Info: *info, ReadCloser: &objectBody{ctx: ctx, data: bytes.NewReader(data), left: -1}}, nil
	})
	if err != nil {
		return nil, err
	}
	if body, ok := o.ReadCloser.(*objectBody); ok { // else the hook has put another in its place
		body.left = c.cut
	}
	return o, nil
}

// Head implements storage.Backend.
func (b *backend) Head(ctx context.Context, g *storage.Get) (*storage.Info, error) {
	return carryOut(ctx, b.s, b.call(Head, g.Name, g), nil, func() (*storage.Info, error) {
		info, _, err := b.s.read(g)
		return info, err
	})
}

// find looks the object up that a request names.
func (s *Storage) find(g *storage.Get) (*version, error) {
	b, err := s.bucket(g.Name.Bucket)
	if err != nil {
		return nil, err
	}
	return b.find(g.Name.Key, g.Version)
}

// read returns what a request asks for of an object, and what is said of it.
func (s *Storage) read(g *storage.Get) (*storage.Info, []byte, error) {
	v, err := s.find(g)
	if err != nil {
		return nil, nil, err
	}
	if err := v.judge(storage.Conditions{IfMatch: g.IfMatch}); err != nil {
		return nil, nil, err
	}
	info, size := v.info(g), int64(len(v.data))
	if g.Range == nil && g.Part == 0 {
		return &info, v.data, nil
	}
	at, err := v.wanted(g)
	if err != nil {
		return nil, nil, err
	}
	info.Part, info.At, info.Total, info.Size = true, at, size, at.Length
	info.Meta.Set("Content-Length", strconv.FormatInt(at.Length, 10))
	info.Meta.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at.Offset, at.Offset+at.Length-1, size))
	if g.Part > 0 && v.parts != nil {
		info.Meta.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(v.parts)))
	}
	return &info, v.data[at.Offset : at.Offset+at.Length], nil
}

// wanted returns where the bytes lie that a request asks for.
func (v *version) wanted(g *storage.Get) (sse.Range, error) {
	size := int64(len(v.data))
	switch {
	case g.Part != 0 && g.Range != nil:
		return sse.Range{}, fail(400, "InvalidRequest", "a range and a part cannot be asked for together")
	case g.Part != 0 && v.parts == nil && g.Part == 1:
		return sse.Range{Length: size}, nil
	case g.Part != 0:
		offset := int64(0)
		for _, p := range v.parts {
			if p.Number == g.Part {
				return sse.Range{Offset: offset, Length: p.Size}, nil
			}
			offset += p.Size
		}
		return sse.Range{}, fail(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
	case g.Range.First < 0:
		n := min(-g.Range.First, size)
		return sse.Range{Offset: size - n, Length: n}, nil
	case g.Range.First >= size:
		err := fail(416, "InvalidRange", "The requested range is not satisfiable")
		err.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return sse.Range{}, err
	}
	end := size
	if g.Range.Last >= 0 {
		end = min(end, g.Range.Last+1)
	}
	return sse.Range{Offset: g.Range.First, Length: end - g.Range.First}, nil
}

// objectBody is the body of an answer.
type objectBody struct {
	ctx  context.Context
	data *bytes.Reader
	left int64 // until it breaks off, -1 for never
}

func (b *objectBody) Read(p []byte) (int, error) {
	switch {
	case b.ctx.Err() != nil:
		return 0, context.Cause(b.ctx)
	case b.left < 0:
		return b.data.Read(p)
	case b.left == 0:
		return 0, fmt.Errorf("%w: the body was cut off", storage.ErrUnreachable)
	}
	n, err := b.data.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == io.EOF {
		return n, io.EOF
	}
	return n, err
}

// Close implements io.Closer; there is nothing to free.
func (b *objectBody) Close() error { return nil }
