package vault

import (
	"context"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/uploads"
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
type ListUploads = uploads.List

// UploadsPage is one page of a bucket's uploads.
type UploadsPage = uploads.Page

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
	return asked.Read(ctx, v.o.Ledger, v.alone())
}
