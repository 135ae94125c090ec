package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// Live is a storage that runs, under the proxy's own credential, as a Source: to compare it
// with a backup.
type Live struct {
	// Storage has the objects. Required.
	Storage storage.Storage
	// Names returns the buckets' names. Required.
	Names func() ([]string, error)
}

var _ Source = (*Live)(nil)

// Buckets implements Source.
func (l *Live) Buckets() ([]string, error) { return l.Names() }

// Walk implements Source.
func (l *Live) Walk(ctx context.Context, bucket, prefix string, visit func(*Object) error) error {
	own := l.Storage.Own(storage.Actor{})
	var from storage.Marker
	for {
		parameters := map[string]string{"prefix": prefix}
		from.Set(parameters)
		page, err := own.List(ctx, &storage.List{Bucket: bucket, Versions: true, Parameters: parameters, Metadata: true})
		if err != nil {
			return err
		}
		for i := range page.Entries {
			object, err := l.entry(bucket, &page.Entries[i])
			if err != nil {
				return err
			}
			if err := visit(object); err != nil {
				return err
			}
		}
		next, more, err := page.Behind(from)
		if err != nil {
			return fmt.Errorf("list bucket %q: %w", bucket, err)
		}
		if !more {
			return nil
		}
		from = next
	}
}

// entry is an object as a listing shows it.
func (l *Live) entry(bucket string, e *storage.Entry) (*Object, error) {
	key, err := url.QueryUnescape(e.Key)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", e.Key, storage.ErrListing)
	}
	o := &Object{Name: objectname.Listed(bucket, key), Latest: e.IsLatest == "true", Marker: e.DeleteMarker}
	o.Info = storage.Info{ETag: Unquoted(e.ETag), Size: e.Size, Version: e.VersionID, Meta: make(storage.Metadata)}
	o.Modified, _ = time.Parse(time.RFC3339, e.LastModified)
	for _, m := range e.Metadata {
		o.AddMeta(m.Name, m.Value)
	}
	if !e.HasMetadata && !e.DeleteMarker {
		o.Err = errHidden // and not an object without a record
	}
	o.Body = l.body(o)
	return o, nil
}

var errHidden = errors.New("the storage does not show the object's metadata to the proxy's own credential, which may not read it")

// Get implements Source.
func (l *Live) Get(name sse.Name) (*Object, error) {
	info, err := l.Storage.Own(storage.Actor{}).Head(context.Background(), &storage.Get{Name: name})
	if err != nil {
		return nil, err
	}
	o := &Object{Name: name, Latest: true, Info: *info}
	o.ETag = Unquoted(o.ETag)
	o.Body = l.body(o)
	return o, nil
}

func (l *Live) body(o *Object) func(int64) (io.ReadCloser, error) {
	get := &storage.Get{Name: o.Name, Version: o.Version, IfMatch: `"` + o.ETag + `"`}
	return func(offset int64) (io.ReadCloser, error) {
		from := *get
		if offset > 0 {
			from.Range = &storage.Range{First: offset, Last: -1}
		}
		return l.Storage.Own(storage.Actor{}).Get(context.Background(), &from)
	}
}
