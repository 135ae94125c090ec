package memory

import (
	"context"
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

const (
	// timeFormat is that of times in listings.
	timeFormat = "2006-01-02T15:04:05.000Z"
	// maxKeys is how long a page is at most.
	maxKeys = 1000
)

// encode writes a name as MinIO does with encoding-type=url.
func encode(name string) string {
	return strings.NewReplacer("%2F", "/", "%2A", "*", "~", "%7E").Replace(url.QueryEscape(name))
}

// List implements storage.Backend.
func (b *backend) List(ctx context.Context, l *storage.List) (*storage.Page, error) {
	c := b.call(List, sse.Name{Bucket: l.Bucket, Key: l.Parameters["prefix"]}, l)
	return carryOut(ctx, b.s, c, nil, func() (*storage.Page, error) {
		bucket, err := b.s.bucket(l.Bucket)
		if err != nil {
			return nil, err
		}
		p, err := newPaging(l)
		if err != nil {
			return nil, err
		}
		p.backend, p.list = b, l
		if p.limit > 0 {
			p.walk(bucket, bucket.writes-min(c.stale, bucket.writes))
		}
		if !l.Versions {
			p.page.KeyCount = strconv.Itoa(len(p.page.Entries) + len(p.page.Prefixes))
		}
		return p.page, nil
	})
}

// paging is one page on its way.
type paging struct {
	backend           *backend
	list              *storage.List
	prefix, delimiter string
	// marker is the key or common prefix that the page begins behind, version the version
	// of that key; "" for all of them.
	marker, version string
	limit           int
	page            *storage.Page
	// last is the key or prefix that stands last, lastVersion its version.
	last, lastVersion string
}

func newPaging(l *storage.List) (*paging, error) {
	q := l.Parameters
	limit, err := number(q["max-keys"], maxKeys)
	if err != nil {
		return nil, err
	}
	p := &paging{
		prefix: q["prefix"], delimiter: q["delimiter"], limit: min(limit, maxKeys), marker: q["start-after"],
		page: &storage.Page{MaxKeys: strconv.Itoa(limit)},
	}
	if l.Versions {
		if p.marker, p.version = q["key-marker"], q["version-id-marker"]; p.version != "" && p.marker == "" {
			return nil, fail(501, "NotImplemented", "A version's marker needs its key's")
		}
	} else if token := q["continuation-token"]; token != "" {
		raw, err := base64.StdEncoding.DecodeString(token)
		if err != nil {
			return nil, fail(400, "InvalidArgument", "The continuation token provided is incorrect")
		}
		p.marker = string(raw)
	}
	return p, nil
}

// walk fills the page with what the bucket had when its writes were so many.
func (p *paging) walk(b *bucket, writes uint64) {
	first, _ := b.at(p.prefix)
	for _, o := range b.objects[first:] {
		if !strings.HasPrefix(o.key, p.prefix) {
			return
		}
		versions := o.before(writes)
		if !p.list.Versions && len(versions) > 1 {
			versions = versions[:1]
		}
		if len(versions) == 0 || !p.list.Versions && versions[0].marker {
			continue
		}
		if p.delimiter != "" {
			if i := strings.Index(o.key[len(p.prefix):], p.delimiter); i >= 0 {
				if !p.addPrefix(o.key[:len(p.prefix)+i+len(p.delimiter)]) {
					return
				}
				continue
			}
		}
		if !p.addKey(o.key, versions) {
			return
		}
	}
}

// full says whether nothing more fits.
func (p *paging) full() bool {
	if len(p.page.Entries)+len(p.page.Prefixes) < p.limit {
		return false
	}
	p.page.Truncated = true
	if p.list.Versions {
		p.page.NextKeyMarker, p.page.NextVersionMarker = encode(p.last), p.lastVersion
	} else {
		p.page.NextToken = base64.StdEncoding.EncodeToString([]byte(p.last))
	}
	return true
}

func (p *paging) addPrefix(prefix string) bool {
	if prefix <= p.marker || prefix == p.last {
		return true
	}
	if p.full() {
		return false
	}
	p.page.Prefixes = append(p.page.Prefixes, encode(prefix))
	p.last, p.lastVersion = prefix, ""
	return true
}

// addKey adds what the page shows of one key, and says whether it fitted.
func (p *paging) addKey(key string, versions []*version) bool {
	if key < p.marker || key == p.marker && p.version == "" {
		return true
	}
	latest := versions[0]
	if key == p.marker {
		i := slices.IndexFunc(versions, func(v *version) bool { return v.id == p.version })
		versions = versions[i+1:]
	}
	for _, v := range versions {
		if p.full() {
			return false
		}
		p.page.Entries = append(p.page.Entries, p.entry(key, v, v == latest))
		p.last, p.lastVersion = key, v.id
	}
	return true
}

func (p *paging) entry(key string, v *version, latest bool) storage.Entry {
	e := storage.Entry{Key: encode(key), LastModified: v.modified.Format(timeFormat), StorageClass: "STANDARD", DeleteMarker: v.marker}
	if !v.marker {
		e.ETag, e.Size = v.quoted(), int64(len(v.data))
	}
	if p.list.Owner || p.list.Versions {
		e.OwnerID, e.OwnerName = owner.ID, owner.DisplayName
	}
	if p.list.Versions {
		e.VersionID, e.IsLatest = v.id, strconv.FormatBool(latest)
	}
	switch {
	case !p.list.Metadata || p.backend.s.o.Plain:
	case v.marker:
		e.HasMetadata, e.InternalK, e.InternalM = true, "0", "0"
	default:
		p.describe(&e, key, v)
	}
	return e
}

// describe adds an object's metadata and tags, where the actor may read them.
func (p *paging) describe(e *storage.Entry, key string, v *version) {
	name := sse.Name{Bucket: p.list.Bucket, Key: key}
	may := func(op Op) bool {
		rights := p.backend.s.rights
		return rights == nil || rights(p.backend.call(op, name, &storage.Get{Name: name})) == nil
	}
	if may(Get) {
		e.HasMetadata, e.InternalK, e.InternalM = true, "1", "0"
		for name, values := range v.meta {
			if name == "Expires" { // which MinIO's listings leave out
				continue
			}
			if !strings.HasPrefix(name, metaPrefix) {
				name = strings.ToLower(name)
			}
			e.Metadata = append(e.Metadata, storage.MetaEntry{Name: name, Value: values[0]})
		}
		e.Metadata = append(e.Metadata, v.reserved...)
		slices.SortFunc(e.Metadata, func(a, b storage.MetaEntry) int { return strings.Compare(a.Name, b.Name) })
	}
	if len(v.tags) > 0 && may(Tags) {
		e.UserTags = v.tags.Encode()
	}
}
