package uploads

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// List asks for one page of a bucket's uploads.
type List struct {
	Bucket, Prefix, Delimiter string
	// KeyMarker and IDMarker are where the page before ended; "" for the first.
	KeyMarker, IDMarker string
	// Max bounds the uploads and prefixes of the page.
	Max int
}

// Page is one page of a bucket's uploads.
type Page struct {
	Uploads  []Entry
	Prefixes []string
	// Truncated says that there are more, after NextKey and NextID.
	Truncated       bool
	NextKey, NextID string
}

// Entry is an upload in a list.
type Entry struct {
	// ID is as clients have it, and Initiator the access key of who began it.
	Key, ID, Initiator string
	// StorageClass is "" if none was asked for.
	StorageClass string
	Initiated    time.Time
}

// Read reads the page from the ledger. at says which of the uploads it has still.
func (l *List) Read(ctx context.Context, ledger *manifest.Ledger, at storage.Backend) (*Page, error) {
	page := new(Page)
	if strings.HasPrefix(l.Prefix, "/") || l.Max < 1 { // no key begins so
		return page, nil
	}
	behind, err := l.behind(ctx, ledger)
	for n, full := l.Max+1, false; !full && err == nil; n = min(2*n, maxRead) {
		var some []*manifest.Upload
		if some, err = ledger.UploadsBehind(ctx, l.Bucket, l.Prefix, behind, n); err != nil {
			break
		}
		live := &liveness{at: at, all: some}
		behind, full, err = page.fill(l, behind, some, func(i int) (bool, error) { return live.alive(ctx, i) })
		full = full || len(some) < n
	}
	return page, err
}

// maxRead bounds how many uploads are in memory at once for a page.
const maxRead = 1024

// behind is the place that the markers name. That of an upload which has ended since is
// before all others of its key.
func (l *List) behind(ctx context.Context, ledger *manifest.Ledger) (manifest.Mark, error) {
	if l.KeyMarker == "" {
		return manifest.Mark{}, nil
	}
	mark := manifest.Mark{Key: l.KeyMarker, Past: l.IDMarker == ""}
	if !strings.HasPrefix(l.KeyMarker, l.Prefix) {
		return mark, nil
	}
	if folded := l.fold(l.KeyMarker); folded != "" {
		return manifest.Past(folded), nil
	}
	id, err := ParseID(l.IDMarker)
	key, odd := objectname.Canonical(l.KeyMarker)
	if err != nil || odd != nil || key != l.KeyMarker || objectname.HasEmptySegment(key) {
		return mark, nil
	}
	u, err := ledger.Find(ctx, sse.Name{Bucket: l.Bucket, Key: key}, id.Upstream)
	if err == nil && u != nil && listed(u) == l.IDMarker {
		mark = u.Mark()
	}
	return mark, err
}

func (p *Page) size() int { return len(p.Uploads) + len(p.Prefixes) }

// fill takes those of the next uploads that are alive, folded at the delimiter, up to the
// page's size. alive is asked in order, by index. It returns the place to go on from, and
// whether the page is full.
func (p *Page) fill(asked *List, behind manifest.Mark, some []*manifest.Upload, alive func(int) (bool, error)) (manifest.Mark, bool, error) {
	for i, u := range some {
		folded := asked.fold(u.Key)
		if n := len(p.Prefixes); folded != "" && n > 0 && p.Prefixes[n-1] == folded {
			behind = manifest.Past(folded)
			continue
		}
		behind = u.Mark()
		if ok, err := alive(i); err != nil || !ok {
			if err != nil {
				return behind, true, err
			}
			continue
		}
		if p.size() >= asked.Max {
			p.Truncated = true
			return behind, true, nil
		}
		if folded != "" {
			p.Prefixes = append(p.Prefixes, folded)
			p.NextKey, p.NextID = folded, ""
			behind = manifest.Past(folded)
			continue
		}
		id := listed(u)
		p.Uploads = append(p.Uploads, Entry{
			Key: u.Key, ID: id, Initiator: u.Initiator, StorageClass: u.StorageClass, Initiated: u.Initiated,
		})
		p.NextKey, p.NextID = u.Key, id
	}
	return behind, false, nil
}

// fold returns the prefix that stands for a key in the list, "" for none.
func (l *List) fold(key string) string {
	if l.Delimiter != "" {
		if i := strings.Index(key[len(l.Prefix):], l.Delimiter); i >= 0 {
			return key[:len(l.Prefix)+i+len(l.Delimiter)]
		}
	}
	return ""
}

// livenessBatch is how many uploads are asked about at once.
const livenessBatch = 16

// liveness says which of some uploads that the ledger knows upstream has still.
// Their notes go in the background after they ended, and stay where a proxy is killed, or where
// MinIO ends an upload by itself; so a listing asks about those that it shows, which
// costs the writes nothing.
type liveness struct {
	at    storage.Backend
	all   []*manifest.Upload
	from  int // known are those from here on
	known []bool
}

// alive says whether upstream has the upload with the index i. Indexes rise.
func (l *liveness) alive(ctx context.Context, i int) (bool, error) {
	if i >= l.from+len(l.known) {
		if err := l.fetch(ctx, i); err != nil {
			return false, err
		}
	}
	return l.known[i-l.from], nil
}

func (l *liveness) fetch(ctx context.Context, from int) error {
	batch := l.all[from:min(from+livenessBatch, len(l.all))]
	known := make([]bool, len(batch))
	group, ctx := errgroup.WithContext(ctx)
	for i, u := range batch {
		group.Go(func() (err error) {
			known[i], err = storage.HasUpload(ctx, l.at, u.Name(), u.ID)
			var answer *storage.Error
			if errors.As(err, &answer) && answer.Status < 500 {
				known[i], err = true, nil // an odd name, say: the ledger's word counts
			}
			if err != nil { // the answer was to the proxy, not to the client
				return fmt.Errorf("look up upload: %w (%w)", storage.ErrUnreachable, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l.from, l.known = from, known
	return nil
}
