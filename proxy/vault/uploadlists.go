package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/objectname"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/sse"
)

// ListParts asks for one page of an upload's parts.
type ListParts struct {
	Upload
	// Parameters are the client's, by S3's names: max-parts, part-number-marker.
	Parameters map[string]string
}

// PartsPage is one page of an upload's parts, as clients know them.
type PartsPage struct {
	// ID is the upload's, as clients have it.
	ID string
	// Initiator, Owner, StorageClass and MaxParts are as the storage says them.
	Initiator, Owner       storage.Owner
	StorageClass, MaxParts string
	// Truncated says that there are more, after the part number Next; 0 if there are none.
	Truncated bool
	Next      int
	// Checksum is the algorithm of the parts' checksums, 0 for none; Composite says that
	// the object's is a checksum of those.
	Checksum  sse.ChecksumType
	Composite bool
	Parts     []ListedPart
}

// ListedPart is a part in a list.
type ListedPart struct {
	Number int
	// LastModified is as the storage says it.
	LastModified string
	// ETag is the part's, as clients know it, in quotes.
	ETag string
	// Size is the plaintext's length in bytes.
	Size     int64
	Checksum *sse.Checksum // nil if it has none that clients know of
}

// Parts lists the parts of an upload: upstream's, of which those that the ledger does not
// know do not exist, with sizes and ETags of the plaintext. ErrNoSuchUpload, or those of
// package keyring.
func (v *Vault) Parts(ctx context.Context, c *caller.Caller, asked *ListParts) (*PartsPage, error) {
	u, err := v.upload(ctx, c, asked.Upload, storage.ReadUpload)
	if err != nil {
		return nil, err
	}
	if err := v.o.Keys.MayKnow(ctx, c.Keys, asked.Name.Bucket, u.record); err != nil {
		return nil, err
	}
	found, err := v.as(c).ListParts(ctx, &storage.ListParts{Upload: u.at(), Parameters: asked.Parameters})
	if err != nil {
		return nil, asNoSuchUpload(err)
	}
	page := &PartsPage{
		ID: u.id.String(), Initiator: found.Initiator, Owner: found.Owner, StorageClass: found.StorageClass, MaxParts: found.MaxParts,
		Truncated: found.IsTruncated, Checksum: u.Checksum, Composite: u.Composite,
	}
	n := len(found.Parts)
	if n == 0 {
		return page, nil
	}
	if page.Truncated {
		page.Next = found.Parts[n-1].PartNumber
	}
	current := make(map[int]string, n)
	for _, p := range found.Parts {
		current[p.PartNumber] = strings.Trim(p.ETag, `"`)
	}
	noted := newNotedParts(func(id manifest.PartID) bool { return current[id.Number] == id.ETag })
	if err := noted.read(ctx, v.o.Ledger, u.ID, found.Parts[0].PartNumber, found.Parts[n-1].PartNumber); err != nil {
		return nil, err
	}
	for _, p := range found.Parts {
		id := manifest.PartID{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`)}
		if facts, ok := noted.facts[id]; ok {
			page.Parts = append(page.Parts, ListedPart{
				Number: p.PartNumber, LastModified: p.LastModified, ETag: sealed.PartETag(u.record, id, &facts),
				Size: facts.PlainSize, Checksum: facts.Checksum,
			})
		}
	}
	return page, nil
}

// ListUploads asks for one page of a bucket's uploads.
type ListUploads struct {
	Bucket, Prefix, Delimiter string
	// KeyMarker and IDMarker are where the page before ended; "" for the first.
	KeyMarker, IDMarker string
	// Max bounds the uploads and prefixes of the page.
	Max int
}

// UploadsPage is one page of a bucket's uploads.
type UploadsPage struct {
	Uploads  []ListedUpload
	Prefixes []string
	// Truncated says that there are more, after NextKey and NextID.
	Truncated       bool
	NextKey, NextID string
}

// ListedUpload is an upload in a list.
type ListedUpload struct {
	// ID is as clients have it, and Initiator the access key of who began it.
	Key, ID, Initiator string
	// StorageClass is "" if none was asked for.
	StorageClass string
	Initiated    time.Time
}

// Uploads lists the uploads of a bucket from the ledger: upstream's own list is a memory
// cache that matches whole keys only. Upstream says whether the caller may list.
func (v *Vault) Uploads(ctx context.Context, c *caller.Caller, asked *ListUploads) (*UploadsPage, error) {
	err := v.as(c).May(ctx, &storage.Question{Right: storage.ListUploads, Name: sse.Name{Bucket: asked.Bucket, Key: asked.Prefix}})
	if err != nil {
		return nil, err
	}
	if err := v.o.Ready(ctx); err != nil {
		return nil, err
	}
	page := new(UploadsPage)
	if strings.HasPrefix(asked.Prefix, "/") || asked.Max < 1 { // no key begins so
		return page, nil
	}
	behind, err := v.behind(ctx, asked)
	for n, full := asked.Max+1, false; !full && err == nil; n = min(2*n, maxUploadsRead) {
		var some []*manifest.Upload
		if some, err = v.o.Ledger.UploadsBehind(ctx, asked.Bucket, asked.Prefix, behind, n); err != nil {
			break
		}
		live := &liveness{vault: v, all: some}
		behind, full, err = page.fill(asked, behind, some, func(i int) (bool, error) { return live.alive(ctx, i) })
		full = full || len(some) < n
	}
	return page, err
}

// maxUploadsRead bounds how many uploads are in memory at once for a page.
const maxUploadsRead = 1024

// behind is the place that the markers name. That of an upload which has ended since is
// before all others of its key.
func (v *Vault) behind(ctx context.Context, asked *ListUploads) (manifest.Mark, error) {
	if asked.KeyMarker == "" {
		return manifest.Mark{}, nil
	}
	mark := manifest.Mark{Key: asked.KeyMarker, Past: asked.IDMarker == ""}
	if !strings.HasPrefix(asked.KeyMarker, asked.Prefix) {
		return mark, nil
	}
	if folded := asked.fold(asked.KeyMarker); folded != "" {
		return manifest.Past(folded), nil
	}
	id, err := parseUploadID(asked.IDMarker)
	key, odd := objectname.Canonical(asked.KeyMarker)
	if err != nil || odd != nil || key != asked.KeyMarker || objectname.HasEmptySegment(key) {
		return mark, nil
	}
	u, err := v.o.Ledger.Find(ctx, sse.Name{Bucket: asked.Bucket, Key: key}, id.upstream)
	if err == nil && u != nil && notedUploadID(u) == asked.IDMarker {
		mark = u.Mark()
	}
	return mark, err
}

func (p *UploadsPage) size() int { return len(p.Uploads) + len(p.Prefixes) }

// fill takes those of the next uploads that are alive, folded at the delimiter, up to the
// page's size. alive is asked in order, by index. It returns the place to go on from, and
// whether the page is full.
func (p *UploadsPage) fill(asked *ListUploads, behind manifest.Mark, some []*manifest.Upload, alive func(int) (bool, error)) (manifest.Mark, bool, error) {
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
		id := notedUploadID(u)
		p.Uploads = append(p.Uploads, ListedUpload{
			Key: u.Key, ID: id, Initiator: u.Initiator, StorageClass: u.StorageClass, Initiated: u.Initiated,
		})
		p.NextKey, p.NextID = u.Key, id
	}
	return behind, false, nil
}

// fold returns the prefix that stands for a key in the list, "" for none.
func (l *ListUploads) fold(key string) string {
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
	vault *Vault
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
			known[i], err = storage.HasUpload(ctx, l.vault.alone(), u.Name(), u.ID)
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
