package vaulttest

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// window is how much is kept of a part at each end, in bytes.
const window = 8 * (sse.PackageSize + 64)

// Borders is a storage that keeps of the parts of one object's upload their lengths and their borders: so an
// object can be of any length. All else goes to the storage before which it stands. A read beyond what is kept
// fails.
//
// ETags of parts are 16 bytes that follow from number, length and borders, and no MD5.
type Borders struct {
	storage.Storage
	name sse.Name

	mu    sync.Mutex
	parts map[int]*borders
	// done are the parts of the finished object, nil before; etag is what it is known by, small by what the
	// storage behind knows it.
	done        []*borders
	etag, small string
	read        int64
}

// borders are those of a part.
type borders struct {
	number     int
	length     int64
	etag       string
	standIn    string // the ETag of what stands for the part in the storage behind
	head, tail []byte // nil of a part that was only planted
}

// NewBorders returns the storage for an object, in front of another.
func NewBorders(behind storage.Storage, name sse.Name) *Borders {
	return &Borders{Storage: behind, name: name, parts: make(map[int]*borders)}
}

// As implements storage.Storage.
func (b *Borders) As(a storage.Actor) storage.Backend {
	return &bordersBackend{b.Storage.As(a), b}
}

// Own implements storage.Storage.
func (b *Borders) Own(a storage.Actor) storage.Backend {
	return &bordersBackend{b.Storage.Own(a), b}
}

// Plant says that a part of this length, as it lies here, was sent, and returns its ETag without quotes.
func (b *Borders) Plant(ctx context.Context, upload string, number int, length int64) (string, error) {
	p := &borders{number: number, length: length}
	return b.add(ctx, b.Storage.Own(storage.Actor{}), storage.Upload{Name: b.name, ID: upload}, p)
}

// BytesRead returns how many bytes were read of the object so far.
func (b *Borders) BytesRead() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.read
}

// add keeps a part, and has the storage behind keep something small for it.
func (b *Borders) add(ctx context.Context, behind storage.Backend, u storage.Upload, p *borders) (string, error) {
	var numbers [16]byte
	binary.BigEndian.PutUint64(numbers[:], uint64(p.number))  //nolint:gosec // 1 to 10,000
	binary.BigEndian.PutUint64(numbers[8:], uint64(p.length)) //nolint:gosec // a length
	sum := md5.Sum(slices.Concat(numbers[:], p.head, p.tail)) //nolint:gosec // see above
	p.etag = hex.EncodeToString(sum[:])
	var err error
	p.standIn, err = behind.PutPart(ctx, &storage.PutPart{
		Upload: u, Number: p.number, Body: storage.Body{Reader: bytes.NewReader(numbers[:]), Length: int64(len(numbers))},
	})
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts[p.number] = p
	return p.etag, nil
}

// bordersBackend is the storage as one actor sees it.
type bordersBackend struct {
	storage.Backend
	b *Borders
}

// PutPart implements storage.Backend. It reads all of the part.
func (s *bordersBackend) PutPart(ctx context.Context, put *storage.PutPart) (string, error) {
	if put.Name != s.b.name {
		return s.Backend.PutPart(ctx, put)
	}
	p := &borders{number: put.Number}
	buffer := make([]byte, window)
	for {
		n, err := io.ReadFull(put.Reader, buffer)
		p.length += int64(n)
		if p.head == nil {
			p.head = bytes.Clone(buffer[:n])
		}
		p.tail = append(p.tail, buffer[:n]...)
		p.tail = append(p.tail[:0], p.tail[max(0, len(p.tail)-window):]...)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return "", err
		}
	}
	if p.length != put.Length {
		return "", fmt.Errorf("%w: a body of %d bytes has %d", storage.ErrUnreachable, put.Length, p.length)
	}
	return s.b.add(ctx, s.Backend, put.Upload, p)
}

// ListParts implements storage.Backend.
func (s *bordersBackend) ListParts(ctx context.Context, l *storage.ListParts) (*storage.PartPage, error) {
	page, err := s.Backend.ListParts(ctx, l)
	if err != nil || l.Name != s.b.name {
		return page, err
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	for i := range page.Parts {
		p := s.b.parts[page.Parts[i].PartNumber]
		page.Parts[i].ETag, page.Parts[i].Size = `"`+p.etag+`"`, p.length
	}
	return page, nil
}

// Complete implements storage.Backend.
func (s *bordersBackend) Complete(ctx context.Context, c *storage.Complete) (*storage.Stored, error) {
	if c.Name != s.b.name {
		return s.Backend.Complete(ctx, c)
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	behind := *c
	behind.Parts = slices.Clone(c.Parts)
	sums := md5.New() //nolint:gosec // see above
	var done []*borders
	for i := range behind.Parts {
		p := s.b.parts[behind.Parts[i].Number]
		if p == nil || p.etag != strings.Trim(behind.Parts[i].ETag, `"`) {
			return nil, &storage.Error{Status: 400, Code: "InvalidPart", Header: storage.Metadata{}}
		}
		raw, err := hex.DecodeString(p.etag)
		if err != nil {
			return nil, err
		}
		_, _ = sums.Write(raw)
		behind.Parts[i].ETag = p.standIn
		done = append(done, p)
	}
	stored, err := s.Backend.Complete(ctx, &behind)
	if err != nil {
		return nil, err
	}
	s.b.small = stored.ETag
	s.b.etag = fmt.Sprintf(`"%s-%d"`, hex.EncodeToString(sums.Sum(nil)), len(done))
	s.b.done, stored.ETag = done, s.b.etag
	return stored, nil
}

// Head implements storage.Backend.
func (s *bordersBackend) Head(ctx context.Context, g *storage.Get) (*storage.Info, error) {
	if g.Name != s.b.name {
		return s.Backend.Head(ctx, g)
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	return s.head(ctx, g)
}

// head asks the storage behind, and says what it cannot know. The lock is held.
func (s *bordersBackend) head(ctx context.Context, g *storage.Get) (*storage.Info, error) {
	behind := *g
	behind.Range = nil
	if s.b.done != nil && strings.Trim(g.IfMatch, `"`) == strings.Trim(s.b.etag, `"`) {
		behind.IfMatch = s.b.small
	}
	info, err := s.Backend.Head(ctx, &behind)
	if err != nil || s.b.done == nil {
		return info, err
	}
	total := int64(0)
	for _, p := range s.b.done {
		total += p.length
	}
	info.ETag, info.Size = s.b.etag, total
	info.Meta.Set("Content-Length", strconv.FormatInt(total, 10))
	if g.Range == nil {
		return info, nil
	}
	first, end := g.Range.First, total
	switch {
	case first < 0:
		first = max(0, total+first)
	case first >= total:
		return nil, &storage.Error{Status: 416, Code: "InvalidRange", Header: storage.Metadata{}}
	case g.Range.Last >= 0:
		end = min(total, g.Range.Last+1)
	}
	info.Part, info.At, info.Total, info.Size = true, sse.Range{Offset: first, Length: end - first}, total, end-first
	info.Meta.Set("Content-Length", strconv.FormatInt(info.Size, 10))
	info.Meta.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, end-1, total))
	return info, nil
}

// Get implements storage.Backend.
func (s *bordersBackend) Get(ctx context.Context, g *storage.Get) (*storage.Object, error) {
	if g.Name != s.b.name {
		return s.Backend.Get(ctx, g)
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	info, err := s.head(ctx, g)
	if err != nil {
		return nil, err
	}
	at := info.At
	if !info.Part {
		at = sse.Range{Length: info.Size}
	}
	return &storage.Object{Info: *info, ReadCloser: io.NopCloser(&bordersBody{b: s.b, at: at.Offset, left: at.Length})}, nil
}

// bordersBody is the body of an answer.
type bordersBody struct {
	b        *Borders
	at, left int64
}

func (r *bordersBody) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	n := copy(p[:min(int64(len(p)), r.left)], r.b.from(r.at))
	if n == 0 {
		return 0, fmt.Errorf("%w: byte %d is not kept", storage.ErrUnreachable, r.at)
	}
	r.at, r.left = r.at+int64(n), r.left-int64(n)
	r.b.read += int64(n)
	return n, nil
}

// from returns what is kept in a row from an offset on.
func (b *Borders) from(offset int64) []byte {
	for _, p := range b.done {
		if offset >= p.length {
			offset -= p.length
			continue
		}
		if offset < int64(len(p.head)) {
			return p.head[offset:]
		}
		if left := p.length - offset; left <= int64(len(p.tail)) {
			return p.tail[int64(len(p.tail))-left:]
		}
		return nil
	}
	return nil
}
