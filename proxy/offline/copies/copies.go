// Package copies reads objects from a folder of files, BUCKET/KEY, as tools make of raw
// buckets. Files have no metadata. What an object cannot be read without is taken from HEADs
// that were saved with them:
//
//   - of whole buckets, one JSON object a line: mc stat --recursive --json ALIAS
//   - of one object, in a file beside it, KEY.head.json: mc stat --json, or aws s3api
//     head-object
//   - in extended attributes of the file, where rclone --metadata keeps them
package copies

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// sidecar ends the name of a file with the HEAD of the object beside it.
const sidecar = ".head.json"

// ErrNoFile says that a HEAD was saved of an object whose data is not there.
var ErrNoFile = errors.New("the folder has no file of it")

// Source is a folder of files. It is safe for concurrent use.
type Source struct {
	root  *os.Root
	heads map[sse.Name]storage.Info
}

var _ offline.Source = (*Source)(nil)

// Open returns the copy in a folder; heads are files with saved HEADs of whole buckets.
// Nothing is read of what is outside of the folder, whatever links it has.
func Open(dir string, heads []string) (*Source, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := &Source{root: root, heads: make(map[sse.Name]storage.Info)}
	for _, name := range heads {
		if err := s.addHeads(name); err != nil {
			_ = root.Close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Source) addHeads(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return parseHeads(f, func(name sse.Name, info storage.Info) error {
		if there, ok := s.heads[name]; !ok || info.Modified.After(there.Modified) { // a copy has the newest version
			s.heads[name] = info
		}
		return nil
	})
}

// Close closes the folder.
func (s *Source) Close() error { return s.root.Close() }

// Buckets implements offline.Source.
func (s *Source) Buckets() ([]string, error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, err
	}
	var names []string
	seen := make(map[string]bool)
	for _, e := range entries {
		if e.IsDir() && objectname.ValidBucket(e.Name()) {
			seen[e.Name()] = true
			names = append(names, e.Name())
		}
	}
	for name := range s.heads {
		if !seen[name.Bucket] {
			seen[name.Bucket] = true
			names = append(names, name.Bucket)
		}
	}
	return names, nil
}

// Walk implements offline.Source.
func (s *Source) Walk(ctx context.Context, bucket, prefix string, visit func(*offline.Object) error) error {
	seen := make(map[string]bool)
	folder, _ := path.Split(prefix)
	if start := path.Join(bucket, folder); fs.ValidPath(start) {
		err := s.walk(ctx, bucket, start, prefix, func(o *offline.Object) error {
			seen[o.Name.Key] = true
			return visit(o)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for name, info := range s.heads {
		if name.Bucket != bucket || !strings.HasPrefix(name.Key, prefix) || seen[name.Key] {
			continue
		}
		if err := visit(s.withoutFile(name, info)); err != nil {
			return err
		}
	}
	return nil
}

// withoutFile is an object of which there is a HEAD alone. An empty one needs no more: tools
// make no files of keys that end in a slash, and of notes nothing but the HEAD is needed.
func (s *Source) withoutFile(name sse.Name, info storage.Info) *offline.Object {
	o := &offline.Object{Name: name, Latest: true, Info: info}
	o.Body = func(int64) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }
	if info.Size != 0 {
		o.Err = ErrNoFile
	}
	return o
}

func (s *Source) walk(ctx context.Context, bucket, dir, prefix string, visit func(*offline.Object) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		key := strings.TrimPrefix(at, bucket+"/")
		begins := strings.HasPrefix(key, prefix)
		switch {
		case e.IsDir() && (begins || strings.HasPrefix(prefix, key+"/")):
			if err := s.walk(ctx, bucket, at, prefix, visit); err != nil {
				return err
			}
		case begins && e.Type().IsRegular() && !s.isSidecar(bucket, key, there):
			o, err := s.Get(objectname.Listed(bucket, key))
			if err != nil {
				return err
			}
			if err := visit(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// isSidecar says whether a file is the HEAD of the one beside it, and no object.
func (s *Source) isSidecar(bucket, key string, there map[string]bool) bool {
	stem, ok := strings.CutSuffix(path.Base(key), sidecar)
	_, listed := s.heads[sse.Name{Bucket: bucket, Key: key}]
	return ok && there[stem] && !listed
}

// Get implements offline.Source.
func (s *Source) Get(name sse.Name) (*offline.Object, error) {
	info, known := s.heads[name]
	file := name.Bucket + "/" + name.Key
	if !fs.ValidPath(file) {
		if known {
			return s.withoutFile(name, info), nil
		}
		return nil, storage.ErrNotFound
	}
	stat, err := s.root.Stat(file)
	if err != nil || !stat.Mode().IsRegular() {
		if known {
			return s.withoutFile(name, info), nil
		}
		return nil, storage.ErrNotFound
	}
	o := &offline.Object{Name: name, Latest: true, Info: info}
	if !known {
		o.Info, o.Err = s.beside(file)
	}
	o.Size = stat.Size()
	if o.Modified.IsZero() {
		o.Modified = stat.ModTime()
	}
	o.Body = func(offset int64) (io.ReadCloser, error) { return s.open(file, offset) }
	return o, nil
}

func (s *Source) open(file string, offset int64) (io.ReadCloser, error) {
	f, err := s.root.Open(file)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// beside is what a file beside a file says of it, or its attributes.
func (s *Source) beside(file string) (storage.Info, error) {
	f, err := s.root.Open(file + sidecar)
	if errors.Is(err, fs.ErrNotExist) {
		return s.attributes(file)
	}
	if err != nil {
		return storage.Info{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxHead))
	if err != nil {
		return storage.Info{}, err
	}
	h, err := parseHead(text)
	if err != nil {
		return storage.Info{}, fmt.Errorf("%s%s: %w", file, sidecar, err)
	}
	return h.info(), nil
}

// attributes are what rclone keeps of an object's metadata with a file.
func (s *Source) attributes(file string) (storage.Info, error) {
	info := storage.Info{Meta: make(storage.Metadata)}
	f, err := s.root.Open(file)
	if err != nil {
		return info, err
	}
	defer f.Close()
	all, err := readAttributes(f)
	if err != nil {
		return info, err
	}
	for name, value := range all {
		if !strings.HasPrefix(name, "content-") && name != "cache-control" {
			name = metaPrefix + name
		}
		offline.AddMeta(&info, name, value)
	}
	return info, nil
}
