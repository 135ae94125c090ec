package memory

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// upload is an upload in parts.
type upload struct {
	name sse.Name
	attributes
	algorithm string // of the checksum that every part has, "" for any or none
	full      bool   // the object's checksum is that of its data, not of its parts' checksums
	parts     map[int]*part
	taken     bool // by a Complete on its way: nobody else finds parts
}

// part is a part that was sent.
type part struct {
	etag     string
	data     []byte
	modified time.Time
	sums     checksums
}

// uploadPrefix begins the ids of uploads.
const uploadPrefix = "upload-"

// maxPart is the highest number of a part.
const maxPart = 10_000

// CreateUpload implements storage.Backend.
func (b *backend) CreateUpload(ctx context.Context, c *storage.CreateUpload) (string, error) {
	u := &upload{name: c.Name, parts: make(map[int]*part)}
	return carryOut(ctx, b.s, b.call(CreateUpload, c.Name, c), func() (err error) {
		u.algorithm = strings.ToUpper(c.Meta.Get("X-Amz-Checksum-Algorithm"))
		u.full = c.Meta.Get("X-Amz-Checksum-Type") == "FULL_OBJECT" || u.algorithm == "CRC64NVME"
		if u.algorithm != "" && algorithms[u.algorithm] == nil || u.full && strings.HasPrefix(u.algorithm, "SHA") {
			return fail(400, "InvalidArgument", "Invalid checksum provided.")
		}
		u.attributes, err = newAttributes(c.Meta, recordOf(c.Record))
		return err
	}, func() (string, error) {
		bucket, err := b.s.bucket(c.Name.Bucket)
		if err != nil {
			return "", err
		}
		if err := bucket.current(c.Name.Key).judge(c.Conditions); err != nil {
			return "", err
		}
		id := fmt.Sprintf("%s%012x", uploadPrefix, b.s.nextID())
		b.s.uploads[id] = u
		return id, nil
	})
}

// upload returns an upload of an object. storage.ErrNoSuchUpload.
func (s *Storage) upload(u *storage.Upload) (*upload, error) {
	if _, err := s.bucket(u.Name.Bucket); err != nil {
		return nil, err
	}
	if found := s.uploads[u.ID]; found != nil && found.name == u.Name {
		return found, nil
	}
	return nil, fail(404, "NoSuchUpload", "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")
}

// PutPart implements storage.Backend.
func (b *backend) PutPart(ctx context.Context, p *storage.PutPart) (string, error) {
	defer closeBody(&p.Body)
	sent := &part{}
	c := b.call(PutPart, p.Name, p)
	return carryOut(ctx, b.s, c, func() (err error) {
		if p.Number < 1 || p.Number > maxPart {
			return fail(400, "InvalidPart", "Part number must be an integer between 1 and 10000, inclusive")
		}
		if err := b.s.knowsUpload(&p.Upload); err != nil {
			return err
		}
		if sent.data, err = readBody(ctx, c, &p.Body); err != nil {
			return err
		}
		sent.etag = md5Hex(sent.data)
		sent.sums, err = verify(sent.data, p.Meta, p.Trailer)
		return err
	}, func() (string, error) {
		u, err := b.s.upload(&p.Upload)
		if err != nil {
			return "", err
		}
		if u.algorithm == "" {
			sent.sums = checksums{}
		} else if sent.sums.values[u.algorithm] == "" {
			return "", fail(400, "InvalidArgument", "the part has no checksum of the upload's algorithm")
		}
		sent.modified = b.s.now()
		u.parts[p.Number] = sent
		return sent.etag, nil
	})
}

func (s *Storage) knowsUpload(u *storage.Upload) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.upload(u)
	return err
}

// Complete implements storage.Backend.
func (b *backend) Complete(ctx context.Context, c *storage.Complete) (*storage.Stored, error) {
	call := b.call(Complete, c.Name, c)
	return carryOut(ctx, b.s, call, func() error {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		u, err := b.s.upload(&c.Upload)
		if err == nil && call.parts {
			u.taken = true
		}
		return nil // it is judged once it is carried out
	}, func() (*storage.Stored, error) {
		u, err := b.s.upload(&c.Upload)
		if err != nil {
			return nil, err
		}
		if u.taken && !call.parts {
			return nil, noSuchPart()
		}
		v, err := u.combine(c.Parts, b.s.o.MinPart)
		if err != nil {
			return nil, err
		}
		stored, err := b.s.store(c.Name, c.Conditions, v)
		if err == nil {
			delete(b.s.uploads, c.ID)
		}
		return stored, err
	})
}

// combine puts parts together.
func (u *upload) combine(chosen []storage.CompletePart, minPart int64) (*version, error) {
	if len(chosen) == 0 {
		return nil, fail(400, "InvalidRequest", "You must specify at least one part")
	}
	for i, p := range chosen[1:] {
		if p.Number <= chosen[i].Number {
			return nil, fail(400, "InvalidPartOrder", "The list of parts was not in ascending order. The parts list must be specified in order by part number.")
		}
	}
	v := &version{attributes: u.attributes}
	sums, of := md5.New(), []byte(nil) //nolint:gosec // see above
	for i, p := range chosen {
		sent := u.parts[p.Number]
		switch {
		case sent == nil, strings.Trim(p.ETag, `"`) != sent.etag, u.algorithm != "" && p.Algorithm != u.algorithm,
			p.Checksum != "" && p.Checksum != sent.sums.values[p.Algorithm]:
			return nil, noSuchPart()
		case i < len(chosen)-1 && int64(len(sent.data)) < minPart:
			return nil, fail(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
		}
		raw, _ := hex.DecodeString(sent.etag) // our own
		_, _ = sums.Write(raw)
		if u.algorithm != "" {
			sum, _ := base64.StdEncoding.DecodeString(sent.sums.values[u.algorithm]) // verified
			of = append(of, sum...)
		}
		v.data = append(v.data, sent.data...)
		v.parts = append(v.parts, storage.ObjectPart{Number: p.Number, Size: int64(len(sent.data)), Checksums: sent.sums.clone()})
	}
	v.etag = hex.EncodeToString(sums.Sum(nil)) + "-" + strconv.Itoa(len(chosen))
	switch {
	case u.algorithm != "" && u.full:
		v.sums.set(u.algorithm, sumOf(u.algorithm, v.data))
	case u.algorithm != "":
		v.sums.set(u.algorithm, sumOf(u.algorithm, of)+"-"+strconv.Itoa(len(chosen)))
		v.sums.composite = true
	}
	return v, nil
}

func noSuchPart() error {
	return fail(400, "InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
}

// Abort implements storage.Backend.
func (b *backend) Abort(ctx context.Context, u *storage.Upload) error {
	_, err := carryOut(ctx, b.s, b.call(Abort, u.Name, u), nil, func() (struct{}, error) {
		_, err := b.s.upload(u)
		switch {
		case err == nil:
			delete(b.s.uploads, u.ID)
		case errors.Is(err, storage.ErrNoSuchUpload) && strings.HasPrefix(u.ID, uploadPrefix):
			return struct{}{}, nil // as MinIO answers where an id may have been one of its own
		}
		return struct{}{}, err
	})
	return err
}

// ListParts implements storage.Backend.
func (b *backend) ListParts(ctx context.Context, l *storage.ListParts) (*storage.PartPage, error) {
	return carryOut(ctx, b.s, b.call(ListParts, l.Name, l), nil, func() (*storage.PartPage, error) {
		u, err := b.s.upload(&l.Upload)
		if err != nil {
			return nil, err
		}
		limit, err := number(l.Parameters["max-parts"], maxPart)
		if err != nil {
			return nil, err
		}
		marker, err := number(l.Parameters["part-number-marker"], 0)
		if err != nil {
			return nil, err
		}
		return u.page(marker, limit), nil
	})
}

// page returns the parts behind a number.
func (u *upload) page(marker, limit int) *storage.PartPage {
	page := &storage.PartPage{StorageClass: "STANDARD", MaxParts: strconv.Itoa(limit), Owner: owner, Initiator: owner}
	limit = min(limit, maxPart)
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		if n <= marker || u.taken {
			continue
		}
		if len(page.Parts) == limit {
			page.IsTruncated = limit > 0
			break
		}
		p := u.parts[n]
		page.Parts = append(page.Parts, struct {
			PartNumber   int
			ETag         string
			LastModified string
			Size         int64
		}{n, `"` + p.etag + `"`, p.modified.Format(timeFormat), int64(len(p.data))})
	}
	return page
}

// number reads a parameter that is a number, or returns what stands for none.
func number(text string, none int) (int, error) {
	if text == "" {
		return none, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fail(400, "InvalidArgument", "%q is not a number of that kind", text)
	}
	return n, nil
}

// owner owns everything.
var owner = storage.Owner{ID: "02d6176db174dc93cb1b899f7c6078f08654445fe8cf1b6ce98d8855f66bdbf4", DisplayName: "memory"}
