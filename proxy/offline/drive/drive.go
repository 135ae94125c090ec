// Package drive reads the objects on a drive of a MinIO that has one, as it lies on disk:
// what people have after a disaster. It was written from what such drives were seen to hold;
// no code of MinIO's is in it.
package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	metaFile = "xl.meta"
	// ownFolder is MinIO's own, beside the buckets.
	ownFolder = ".minio.sys"
	// maxMeta bounds a file xl.meta in bytes: it may have the data of many small versions.
	maxMeta = 256 << 20
	// hashSize is the length of what precedes each block of data: MinIO's checksum of it.
	hashSize = 32
)

// ErrDrives says that an object is spread over several drives.
var ErrDrives = errors.New("the object is spread over several drives: start a MinIO on them, and mirror its raw buckets to a folder")

// Source is a drive. It is safe for concurrent use.
type Source struct{ root *os.Root }

var _ offline.Source = (*Source)(nil)

// IsDrive says whether a folder is a drive of MinIO's.
func IsDrive(dir string) bool {
	info, err := os.Stat(path.Join(dir, ownFolder, "format.json"))
	return err == nil && info.Mode().IsRegular()
}

// Open returns the drive in a folder. Nothing is read of what is outside of it, whatever
// links it has.
func Open(dir string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Source{root}, nil
}

// Close closes the folder.
func (s *Source) Close() error { return s.root.Close() }

// Buckets implements offline.Source.
func (s *Source) Buckets() ([]string, error) {
	entries, err := s.entries(".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && objectname.ValidBucket(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// entries are those of a folder, sorted by name.
func (s *Source) entries(dir string) ([]fs.DirEntry, error) {
	return fs.ReadDir(s.root.FS(), dir)
}

// Walk implements offline.Source.
func (s *Source) Walk(ctx context.Context, bucket, prefix string, visit func(*offline.Object) error) error {
	folder, _ := path.Split(prefix)
	start := path.Join(bucket, folder)
	if !fs.ValidPath(start) {
		return nil
	}
	if strings.HasSuffix(prefix, "/") { // a key that ends so lies beside the folder
		if dir := folderOf(sse.Name{Bucket: bucket, Key: prefix}); s.has(dir) {
			if err := s.visit(sse.Name{Bucket: bucket, Key: prefix}, dir, visit); err != nil {
				return err
			}
		}
	}
	err := s.walk(ctx, bucket, start, prefix, visit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// walk visits what is below a folder, in which an object may lie too.
func (s *Source) walk(ctx context.Context, bucket, dir, prefix string, visit func(*offline.Object) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := s.entries(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		key := strings.TrimPrefix(at, bucket+"/")
		switch {
		case e.Name() == metaFile && !e.IsDir() && dir != bucket:
			object := strings.TrimPrefix(dir, bucket+"/")
			if !strings.HasPrefix(object, prefix) {
				continue
			}
			if err := s.visit(objectname.Listed(bucket, object), dir, visit); err != nil {
				return err
			}
		case e.IsDir() && (strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key+"/")):
			if err := s.walk(ctx, bucket, at, prefix, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Source) visit(name sse.Name, dir string, visit func(*offline.Object) error) error {
	versions, err := s.read(dir)
	if err != nil {
		return visit(&offline.Object{Name: name, Latest: true, Err: err})
	}
	for i, v := range versions {
		if err := visit(s.object(name, dir, v, i == 0)); err != nil {
			return err
		}
	}
	return nil
}

// read reads the versions of the object in a folder.
func (s *Source) read(dir string) ([]*version, error) {
	f, err := s.root.Open(path.Join(dir, metaFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, maxMeta+1))
	if err != nil {
		return nil, err
	}
	if len(file) > maxMeta {
		return nil, fmt.Errorf("it is longer than %d bytes: %w", maxMeta, errMeta)
	}
	return parseMeta(file)
}

// folderOf is where an object lies.
func folderOf(name sse.Name) string {
	dir := name.Bucket + "/" + name.Key
	if stem, ok := strings.CutSuffix(dir, "/"); ok {
		dir = stem + objectname.DirSuffix
	}
	return dir
}

// has says whether an object lies in a folder.
func (s *Source) has(dir string) bool {
	_, err := s.root.Stat(path.Join(dir, metaFile))
	return fs.ValidPath(dir) && err == nil
}

// Get implements offline.Source.
func (s *Source) Get(name sse.Name) (*offline.Object, error) {
	dir := folderOf(name)
	if !fs.ValidPath(dir) {
		return nil, storage.ErrNotFound
	}
	versions, err := s.read(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(versions) == 0:
		return nil, storage.ErrNotFound
	case err != nil:
		return &offline.Object{Name: name, Latest: true, Err: err}, nil
	}
	return s.object(name, dir, versions[0], true), nil
}

// object is a version as offline knows it.
func (s *Source) object(name sse.Name, dir string, v *version, latest bool) *offline.Object {
	o := &offline.Object{Name: name, Latest: latest, Marker: v.marker, Err: v.err}
	o.Version, o.Modified = v.name(), v.modified
	if v.marker || v.err != nil {
		return o
	}
	o.Size, o.ETag = v.size, v.meta["etag"]
	o.Meta = make(storage.Metadata)
	for name, value := range v.meta {
		if name != "etag" {
			o.AddMeta(name, value)
		}
	}
	o.Err = v.unreadable()
	o.Body = func(offset int64) (io.ReadCloser, error) { return s.body(dir, v, offset) }
	return o
}

// unreadable says why the bytes of a version are not those that were stored.
func (v *version) unreadable() error {
	switch {
	case v.dataShards != 1:
		return ErrDrives
	case v.blockSize < 1:
		return fmt.Errorf("blocks of %d bytes: %w", v.blockSize, errMeta)
	case v.internal["x-minio-internal-transition-status"] != "":
		return errors.New("its data was moved to another tier, and is not on the drive")
	case v.internal["x-minio-internal-compression"] != "":
		return errors.New("MinIO compressed it: this reader does not")
	}
	var total int64
	for i, size := range v.partSizes {
		if size < 0 || size > v.size-total || v.partNums[i] < 1 {
			return fmt.Errorf("sizes of parts: %w", errMeta)
		}
		total += size
	}
	if total != v.size {
		return fmt.Errorf("%d bytes in parts of %d: %w", v.size, total, errMeta)
	}
	return nil
}

// body reads the parts one after the other.
func (s *Source) body(dir string, v *version, offset int64) (io.ReadCloser, error) {
	return &parts{source: s, dir: dir, version: v, skip: offset}, nil
}

// parts reads the data of a version: in each part, a checksum precedes each block. The
// checksums are passed over: who reads authenticates.
type parts struct {
	source  *Source
	dir     string
	version *version
	skip    int64 // bytes before the first one that is asked for
	next    int   // index of the part that comes next
	current io.ReadCloser
	left    int64 // bytes of the current part
	inBlock int64 // bytes of the current block
}

// Read implements io.Reader.
func (p *parts) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for p.left == 0 {
		if p.next == len(p.version.partNums) {
			return 0, io.EOF
		}
		if err := p.open(); err != nil {
			return 0, err
		}
	}
	if p.inBlock == 0 {
		if err := p.pass(hashSize); err != nil {
			return 0, err
		}
		p.inBlock = min(p.version.blockSize, p.left)
	}
	n, err := p.current.Read(b[:min(int64(len(b)), p.inBlock)])
	p.inBlock -= int64(n)
	p.left -= int64(n)
	if err == io.EOF {
		err = nil
		if n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
}

// pass skips bytes of the current part.
func (p *parts) pass(n int64) error {
	if f, ok := p.current.(io.Seeker); ok && n > hashSize {
		_, err := f.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, p.current, n)
	return noEnd(err)
}

func noEnd(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// open begins the next part, at the first byte that is asked for.
func (p *parts) open() error {
	if err := p.Close(); err != nil {
		return err
	}
	size, number := p.version.partSizes[p.next], p.version.partNums[p.next]
	p.next++
	if p.skip >= size {
		p.skip -= size
		return nil
	}
	var err error
	if p.version.isInline {
		p.current = io.NopCloser(bytes.NewReader(p.version.inline))
	} else {
		name := path.Join(p.dir, uuid(p.version.dataDir), "part."+strconv.Itoa(number))
		if p.current, err = p.source.openPart(name); err != nil {
			return err
		}
	}
	p.left = size
	if p.skip == 0 {
		return nil
	}
	block := p.version.blockSize
	if err := p.pass(p.skip/block*(block+hashSize) + hashSize + p.skip%block); err != nil {
		return err
	}
	p.left -= p.skip
	p.inBlock = min(block-p.skip%block, p.left)
	p.skip = 0
	return nil
}

// openPart opens a file; anything else is not waited for.
func (s *Source) openPart(name string) (io.ReadCloser, error) {
	info, err := s.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file: %w", name, errMeta)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Close implements io.Closer.
func (p *parts) Close() error {
	p.left, p.inBlock = 0, 0
	if p.current == nil {
		return nil
	}
	current := p.current
	p.current = nil
	return current.Close()
}
