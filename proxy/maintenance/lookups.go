package maintenance

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// lookups implements manifest.Lookups: it asks upstream under the service identity.
type lookups struct{ keeper *Keeper }

// uncertain marks an answer of upstream's that concerns the one object, so that the
// sweep goes on with others. No answer at all is another matter.
func uncertain(err error) error {
	var answer *storage.Error
	if errors.As(err, &answer) || errors.Is(err, storage.ErrListing) || errors.Is(err, sse.ErrRecord) {
		return fmt.Errorf("%w (%w)", manifest.ErrUncertain, err)
	}
	return err
}

// UploadExists implements manifest.Lookups.
func (l lookups) UploadExists(ctx context.Context, object sse.Name, id string) (bool, error) {
	there, err := storage.HasUpload(ctx, l.keeper.alone(), object, id)
	return there, uncertain(err)
}

// Named implements manifest.Lookups: of all versions that upstream lists, and of the current
// one, which it is asked for by name.
func (l lookups) Named(ctx context.Context, object sse.Name) (named manifest.Named, err error) {
	named, err = l.allNamed(ctx, objectname.Listed(object.Bucket, object.Key)) // it may lie under a name of before
	for i := range named.Manifests {
		named.Manifests[i].Name = object
	}
	return named, err
}

func (l lookups) allNamed(ctx context.Context, object sse.Name) (named manifest.Named, err error) {
	versions, err := l.versions(ctx, object)
	if err != nil {
		return named, uncertain(err)
	}
	for _, version := range append(versions, "") {
		there, err := l.addNamed(ctx, object, version, &named)
		if err == nil && !there && version != "" {
			err = fmt.Errorf("version %q is listed and does not exist: %w", version, manifest.ErrUncertain)
		}
		if err != nil {
			return manifest.Named{}, uncertain(err)
		}
	}
	return named, nil
}

// versions returns the ids of an object's versions but delete markers, none if
// there is no such bucket. No metadata is asked for: some names of it make a page
// unreadable.
func (l lookups) versions(ctx context.Context, object sse.Name) (ids []string, err error) {
	var from storage.Marker
	for {
		list := &storage.List{Bucket: object.Bucket, Versions: true, Parameters: map[string]string{"prefix": object.Key}}
		from.Set(list.Parameters)
		page, err := l.keeper.alone().List(ctx, list)
		if errors.Is(err, storage.ErrNoSuchBucket) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		last := ""
		for _, e := range page.Entries {
			if last, err = url.QueryUnescape(e.Key); err != nil {
				return nil, fmt.Errorf("key in a listing: %w (%w)", storage.ErrListing, err)
			}
			if last == object.Key && !e.DeleteMarker {
				ids = append(ids, e.VersionID)
			}
		}
		if !page.Truncated || last != object.Key {
			return ids, nil
		}
		if from, _, err = page.Behind(from); err != nil {
			return nil, fmt.Errorf("list the versions of an object: %w", err)
		}
	}
}

// Hidden implements manifest.Lookups. Below a key that exists MinIO lists nothing,
// not even below one of which a delete marker is left, and odd things where a name is
// built as its own folders' are.
func (l lookups) Hidden(ctx context.Context, object sse.Name) (bool, error) {
	key := objectname.Listed(object.Bucket, object.Key).Key
	if strings.Contains(key, objectname.DirSuffix) || objectname.HasEmptySegment(key) {
		return true, nil
	}
	for i := 1; i < len(key)-1; i++ {
		if key[i] != '/' {
			continue
		}
		_, err := l.keeper.alone().Head(ctx, &storage.Get{Name: sse.Name{Bucket: object.Bucket, Key: key[:i]}})
		var answer *storage.Error
		if err != nil && !errors.As(err, &answer) {
			return false, err // no answer: it ends the sweep
		}
		if err == nil || answer.Status != 404 || answer.Header.Get("X-Amz-Delete-Marker") == "true" {
			return true, nil
		}
	}
	return false, nil
}

// addNamed adds what one version of an object names, "" for the current one. there says
// whether there is one.
func (l lookups) addNamed(ctx context.Context, object sse.Name, version string, named *manifest.Named) (there bool, err error) {
	info, err := l.keeper.alone().Head(ctx, &storage.Get{Name: object, Version: version})
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	rec, err := sealed.RecordOf(info.Reserved)
	if err != nil || rec == nil {
		return true, err
	}
	named.Records = append(named.Records, rec.Digest())
	if rec.Manifest != (sse.ManifestID{}) {
		named.Manifests = append(named.Manifests, sealed.Ref(object, rec, info.ETag))
	}
	return true, nil
}
