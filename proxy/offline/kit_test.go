package offline_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/bucketseal/bucketseal/proxy/offline"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/storage/memory"
	"github.com/bucketseal/bucketseal/proxy/vault/vaulttest"
	"github.com/bucketseal/bucketseal/sse"
)

// memoryCopy is a copy of what a storage in memory has.
type memoryCopy struct {
	from *memory.Storage
	// noETags leaves ETags out, as a copy by rclone does.
	noETags bool
}

func (c *memoryCopy) all(bucket, prefix string) (found []*offline.Object) {
	latest := make(map[sse.Name]bool)
	c.from.Each(func(name sse.Name, version string, o memory.Stored) {
		if name.Bucket != bucket || !strings.HasPrefix(name.Key, prefix) {
			return
		}
		object := &offline.Object{Name: name, Latest: !latest[name], Body: func(offset int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(o.Data[min(offset, int64(len(o.Data))):])), nil
		}}
		latest[name] = true
		object.Info = storage.Info{ETag: o.ETag, Size: int64(len(o.Data)), Version: version, Meta: o.Meta, Reserved: o.Reserved}
		if c.noETags {
			object.ETag = ""
		}
		found = append(found, object)
	})
	return found
}

func (c *memoryCopy) Buckets() ([]string, error) {
	return []string{vaulttest.Bucket, "bucketseal-system"}, nil
}

func (c *memoryCopy) Walk(_ context.Context, bucket, prefix string, visit func(*offline.Object) error) error {
	for _, o := range c.all(bucket, prefix) {
		if err := visit(o); err != nil {
			return err
		}
	}
	return nil
}

func (c *memoryCopy) Get(name sse.Name) (*offline.Object, error) {
	all := c.all(name.Bucket, name.Key)
	i := slices.IndexFunc(all, func(o *offline.Object) bool { return o.Name == name })
	if i < 0 {
		return nil, storage.ErrNotFound
	}
	return all[i], nil
}

// reader returns a reader of a copy of the shelf.
func reader(t testing.TB, s *vaulttest.Shelf, from offline.Source, change func(*offline.Options)) *offline.Reader {
	t.Helper()
	o := offline.Options{
		KMS: s.KMS, System: offline.SystemObjects(from, "bucketseal-system"), SystemKey: "system", Deployment: "test", S3Key: "s3",
		CustomerKeys: []sse.Secret{{9: 9}, *s.Customer()},
	}
	if change != nil {
		change(&o)
	}
	r, err := offline.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// decrypt opens an object and reads all of it.
func decrypt(t testing.TB, r *offline.Reader, from offline.Source, name sse.Name) (plain []byte, opened *offline.Opened, err error) {
	t.Helper()
	o, err := from.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err = r.Open(t.Context(), o); err != nil {
		return nil, nil, err
	}
	defer opened.Zero()
	var out bytes.Buffer
	_, err = r.Decrypt(t.Context(), opened, &out)
	return out.Bytes(), opened, err
}
