package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Put implements storage.Backend.
func (b *backend) Put(ctx context.Context, p *storage.Put) (*storage.Stored, error) {
	return b.put(ctx, p, recordOf(p.Record))
}

// put stores an object with metadata that does not count against the limit.
func (b *backend) put(ctx context.Context, p *storage.Put, uncounted storage.Metadata) (*storage.Stored, error) {
	defer closeBody(&p.Body)
	v := &version{}
	c := b.call(Put, p.Name, p)
	return carryOut(ctx, b.s, c, func() (err error) {
		if v.attributes, err = newAttributes(p.Meta, uncounted); err != nil {
			return err
		}
		if err = b.s.admit(p.Name, p.Conditions, p.Expect && p.Instead == nil); err != nil {
			return err
		}
		if v.data, err = readBody(ctx, c, &p.Body); err != nil {
			return err
		}
		v.etag = md5Hex(v.data)
		v.sums, err = verify(v.data, p.Meta, p.Trailer)
		return err
	}, func() (*storage.Stored, error) {
		if p.Instead != nil {
			return b.s.replace(p.Name, p.Conditions, p.Instead, v)
		}
		return b.s.store(p.Name, p.Conditions, v)
	})
}

// replace judges the conditions on a version and puts another in its place.
func (s *Storage) replace(name sse.Name, c storage.Conditions, of *storage.Instead, v *version) (*storage.Stored, error) {
	b, err := s.bucket(name.Bucket)
	if err == nil && b.versioning != Versioned && of.Version != "" && of.Version != nullVersion {
		err = fail(400, "InvalidArgument", "VersionID specified %s, but versioning not enabled", of.Version)
	}
	if err != nil {
		return nil, err
	}
	v.id, v.modified = cmp.Or(of.Version, nullVersion), of.Modified
	was, err := b.find(name.Key, v.id)
	switch {
	case c.IfMatch == "" && err != nil: // nothing is said of what is there
	case err != nil:
		return nil, err
	default:
		if err := was.judge(c); err != nil {
			return nil, err
		}
		if was.locked(s.now()) {
			return nil, fail(400, "InvalidRequest", "Object is WORM protected and cannot be overwritten")
		}
	}
	all := append(b.without(name.Key, v.id), v)
	slices.SortStableFunc(all, func(x, y *version) int { return y.modified.Compare(x.modified) })
	b.set(name.Key, all)
	return v.stored(), nil
}

// locked says whether the version is held, or retained for compliance.
func (v *version) locked(now time.Time) bool {
	until, _ := time.Parse(time.RFC3339, v.meta.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	return v.meta.Get("X-Amz-Object-Lock-Legal-Hold") == "ON" || v.meta.Get("X-Amz-Object-Lock-Mode") == "COMPLIANCE" && until.After(now)
}

// admit refuses a write before its body is read: of a bucket that is missing, and, if it
// is asked first, of a condition that does not hold already.
func (s *Storage) admit(name sse.Name, c storage.Conditions, conditions bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(name.Bucket)
	if err != nil || !conditions {
		return err
	}
	return b.current(name.Key).judge(c)
}

// store judges the conditions and stores a version.
func (s *Storage) store(name sse.Name, c storage.Conditions, v *version) (*storage.Stored, error) {
	b, err := s.bucket(name.Bucket)
	if err != nil {
		return nil, err
	}
	if err := b.current(name.Key).judge(c); err != nil {
		return nil, err
	}
	b.add(s, name.Key, v)
	return v.stored(), nil
}

func closeBody(b *storage.Body) {
	if c, ok := b.Reader.(io.Closer); ok {
		_ = c.Close()
	}
}

// readBody reads a body to its end. If that fails its error is returned.
func readBody(ctx context.Context, c *Call, b *storage.Body) ([]byte, error) {
	src := b.Reader
	if src == nil {
		src = bytes.NewReader(nil)
	}
	limit := b.Length + 1 // what is longer shows so
	if c.cut >= 0 {
		limit = min(limit, c.cut)
	}
	var data bytes.Buffer
	data.Grow(int(min(b.Length, 64<<20)))
	if _, err := io.Copy(&data, &io.LimitedReader{R: contextReader{ctx, src}, N: limit}); err != nil {
		return nil, err
	}
	switch {
	case c.cut >= 0 && c.cut <= b.Length:
		return nil, fmt.Errorf("%w: the connection broke after %d bytes of the body", storage.ErrUnreachable, data.Len())
	case int64(data.Len()) != b.Length:
		return nil, fmt.Errorf("%w: a body of %d bytes has another length", storage.ErrUnreachable, b.Length)
	}
	return data.Bytes(), nil
}

// contextReader reads until a context ends.
type contextReader struct {
	ctx context.Context
	src io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.src.Read(p)
}

// Delete implements storage.Backend.
func (b *backend) Delete(ctx context.Context, d *storage.Delete) (storage.Metadata, error) {
	return carryOut(ctx, b.s, b.call(Delete, d.Name, d), nil, func() (storage.Metadata, error) {
		bucket, err := b.s.bucket(d.Name.Bucket)
		if err == nil {
			err = checkVersion(d.Version)
		}
		if err != nil {
			return nil, err
		}
		answer := storage.Metadata{}
		switch key := d.Name.Key; {
		case d.Version != "":
			for _, v := range bucket.versionsOf(key) {
				if v.id == d.Version {
					bucket.set(key, bucket.without(key, v.id))
					v.nameDeleted(answer)
				}
			}
		case bucket.current(key) == nil:
		case bucket.current(key).marker:
			bucket.current(key).nameDeleted(answer)
		case bucket.versioning != Unversioned:
			marker := &version{marker: true}
			bucket.add(b.s, key, marker)
			marker.nameDeleted(answer)
		default:
			bucket.set(key, bucket.without(key, nullVersion))
		}
		return answer, nil
	})
}

// nameDeleted says in the answer to a deletion what was removed, or which marker is there.
func (v *version) nameDeleted(h storage.Metadata) {
	if v.id != nullVersion {
		v.name(h)
	}
}

// Copy implements storage.Backend.
func (b *backend) Copy(ctx context.Context, c *storage.Copy) (*storage.Stored, error) {
	v := &version{}
	var from *version
	onto := c.Source.Name == c.Name && (c.Source.Version == "" || c.Source.Version == nullVersion)
	prepare := func() (err error) {
		if v.attributes, err = newAttributes(c.Meta, recordOf(c.Record)); err != nil {
			return err
		}
		if from, err = b.s.source(c); err != nil {
			return err
		}
		if c.Tagging != "REPLACE" {
			v.tags = from.tags
		}
		return b.s.admit(c.Name, storage.Conditions{}, false)
	}
	return carryOut(ctx, b.s, b.call(Copy, c.Name, c), prepare, func() (*storage.Stored, error) {
		if onto && c.Checksum == "" {
			// Nothing but metadata is written, on whatever is there by now: only a copy
			// that names a checksum is promised to write both together.
			if current := b.s.currentOf(c.Name); current.exists() {
				from = current
			}
		}
		v.copyData(from, c.Checksum, onto)
		stored, err := b.s.store(c.Name, storage.Conditions{}, v)
		if err == nil {
			stored.Modified = v.modified.Truncate(millisecond)
			if c.Source.Version != "" {
				stored.Meta.Set("X-Amz-Copy-Source-Version-Id", c.Source.Version)
			}
		}
		return stored, err
	})
}

// source looks the source of a copy up.
func (s *Storage) source(c *storage.Copy) (*version, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.bucket(c.Source.Name.Bucket)
	if err != nil {
		return nil, err
	}
	v, err := b.find(c.Source.Name.Key, c.Source.Version)
	if err != nil {
		return nil, err
	}
	return v, v.judge(storage.Conditions{IfMatch: c.SourceMatch})
}

func (s *Storage) currentOf(name sse.Name) *version {
	if b := s.buckets[name.Bucket]; b != nil {
		return b.current(name.Key)
	}
	return nil
}

// copyData gives a copy its source's data. It is written anew, and has the ETag of what is
// stored at once, unless only the metadata change of an object that has a checksum of all
// its data.
func (v *version) copyData(from *version, algorithm string, onto bool) {
	v.data = from.data
	whole := len(from.sums.values) > 0 && !from.sums.composite
	if onto && algorithm == "" && whole {
		v.etag, v.parts, v.sums = from.etag, from.parts, from.sums
		return
	}
	v.etag = md5Hex(from.data)
	if algorithm != "" {
		v.sums.set(algorithm, sumOf(algorithm, from.data))
		return
	}
	for known := range from.sums.values {
		v.sums.set(known, sumOf(known, from.data))
	}
	if onto && v.sums.values == nil {
		v.sums.set("CRC64NVME", sumOf("CRC64NVME", from.data))
	}
}

// Locks implements storage.Backend: versions can be locked wherever there are some.
func (b *backend) Locks(ctx context.Context, bucket string) (locks, retains bool, err error) {
	locks, err = carryOut(ctx, b.s, b.call(ReadLock, sse.Name{Bucket: bucket}, nil), nil, func() (bool, error) {
		of, err := b.s.bucket(bucket)
		return err == nil && of.versioning == Versioned, err
	})
	return locks, false, err
}

// ReadsLock implements storage.Backend.
func (b *backend) ReadsLock(ctx context.Context, g *storage.Get) error {
	_, err := carryOut(ctx, b.s, b.call(ReadLock, g.Name, g), nil, func() (struct{}, error) {
		_, err := b.s.find(g)
		return struct{}{}, err
	})
	return err
}

// opsOf are the calls that May asks about.
var opsOf = map[storage.Right]Op{
	storage.WriteObject: Put, storage.SendPart: PutPart, storage.CompleteUpload: Complete,
	storage.AbortUpload: Abort, storage.ReadUpload: ListParts, storage.ListUploads: List,
	storage.ReadRule: ReadRule, storage.WriteRule: WriteRule, storage.RemoveRule: RemoveRule,
}

// May implements storage.Backend.
func (b *backend) May(ctx context.Context, q *storage.Question) error {
	_, err := carryOut(ctx, b.s, b.call(May, q.Name, q), func() error {
		b.s.mu.Lock()
		rights := b.s.rights
		b.s.mu.Unlock()
		if rights == nil {
			return nil
		}
		return rights(b.call(opsOf[q.Right], q.Name, q))
	}, func() (struct{}, error) {
		_, err := b.s.bucket(q.Name.Bucket)
		return struct{}{}, err
	})
	return err
}

// Tags implements storage.Backend.
func (b *backend) Tags(ctx context.Context, g *storage.Get) (map[string]string, error) {
	return carryOut(ctx, b.s, b.call(Tags, g.Name, g), nil, func() (map[string]string, error) {
		v, err := b.s.find(g)
		if err != nil {
			return nil, err
		}
		return flat(v.tags), nil
	})
}

func flat(tags url.Values) map[string]string {
	out := make(map[string]string, len(tags))
	for name := range tags {
		out[name] = tags.Get(name)
	}
	return out
}

// ObjectParts implements storage.Backend.
func (b *backend) ObjectParts(ctx context.Context, g *storage.Get) ([]storage.ObjectPart, error) {
	return carryOut(ctx, b.s, b.call(ObjectParts, g.Name, g), nil, func() ([]storage.ObjectPart, error) {
		v, err := b.s.find(g)
		if err != nil {
			return nil, err
		}
		if v.parts == nil {
			return []storage.ObjectPart{{Number: 1, Size: int64(len(v.data))}}, nil
		}
		return slices.Clone(v.parts), nil
	})
}
