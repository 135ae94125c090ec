package vault

import (
	"context"
	"crypto/md5" //nolint:gosec // the storage's ETags of parts are MD5
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/uploads"
	"github.com/bucketseal/bucketseal/sse"
)

// storedPart is a part of an object that was put together.
type storedPart struct {
	manifest.PartID
	size int64 // as it is stored, in bytes
}

// checkResent reads those parts of an object that were sent more than once, and compares them with
// their ETags, the MD5 of what was sent. MinIO mixes two sendings of a part where a node did not
// take part in the last one: its shards stay, and nothing tells that they are of another one
// (docs/reliability.md). An object that cannot be read must not be acknowledged. Nothing is read of
// parts that were sent once. sent is how often each part was, by number; version is the object's, "" in
// a bucket without versions; etag is upstream's, without quotes. An object that was replaced or
// deleted since passes. storage.ErrLied, or storage.ErrUnreachable whatever the read failed with.
func (v *Vault) checkResent(ctx context.Context, c *caller.Caller, name sse.Name, version, etag string, parts []storedPart, sent map[int]int) error {
	var at int64
	for _, p := range parts {
		if sent[p.Number] > 1 && p.size > 0 {
			got, err := v.storedSum(ctx, c, &storage.Get{
				Name: name, Version: version, IfMatch: `"` + etag + `"`, Range: &storage.Range{First: at, Last: at + p.size - 1},
			})
			switch {
			case replaced(err):
				return nil
			case err != nil: // the object is stored: no refusal of this read may sound as if it was not
				return fmt.Errorf("read part %d, which was sent more than once: %w (%v)", p.Number, storage.ErrUnreachable, err) //nolint:errorlint // see above
			case got != p.ETag:
				return fmt.Errorf("part %d was sent more than once, and upstream mixed what was sent: %w", p.Number, storage.ErrLied)
			}
		}
		at += p.size
	}
	return nil
}

// replaced says that a read of what was just stored found that another write, or none, is in its
// place. Of one that is smaller MinIO may say that the range lies beyond its end.
func replaced(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrPrecondition) || errors.Is(err, storage.ErrRange)
}

// storedSum reads bytes as they are stored and returns their MD5 in hex. The proxy's own credential
// reads: who writes may perhaps not read, and is told nothing of them.
func (v *Vault) storedSum(ctx context.Context, c *caller.Caller, get *storage.Get) (string, error) {
	body, err := v.own(c).Get(ctx, get)
	if err != nil {
		return "", err
	}
	sum := md5.New() //nolint:gosec // see above
	_, err = io.Copy(sum, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// storedParts are the parts that a Complete chose.
func (p *completing) storedParts() []storedPart {
	out := make([]storedPart, len(p.chosen))
	for i, part := range p.chosen {
		out[i] = storedPart{part.PartID, part.PlainSize}
		if p.upload.record != nil {
			out[i].size = sse.EncSize(part.PlainSize)
		}
	}
	return out
}

// checkRepeated is checkResent for an object that an earlier Complete put together, whose answer
// was lost or a refusal. An upload's notes begin to go once it was acknowledged: where a part has
// none, nothing is left to be checked. Is tells whether a note is of the part that became the i-th
// of the object.
func (v *Vault) checkRepeated(ctx context.Context, c *caller.Caller, wanted *Complete, info *storage.Info, is func(i int, id manifest.PartID, facts *sse.PartFacts) bool, size func(plain int64) int64) error {
	id, err := uploads.ParseID(wanted.ID)
	if err != nil {
		return err
	}
	byNumber := make(map[int]int, len(wanted.Parts))
	for i := range wanted.Parts {
		byNumber[wanted.Parts[i].Number] = i
	}
	parts, found, sent := make([]storedPart, len(wanted.Parts)), 0, make(map[int]int)
	err = v.o.Ledger.Parts(ctx, id.Upstream, wanted.Parts[0].Number, wanted.Parts[len(wanted.Parts)-1].Number, func(id manifest.PartID) bool {
		sent[id.Number]++
		_, ok := byNumber[id.Number]
		return ok
	}, func(id manifest.PartID, facts sse.PartFacts) {
		if i := byNumber[id.Number]; is(i, id, &facts) {
			parts[i] = storedPart{id, size(facts.PlainSize)}
			found++
		}
	})
	if err != nil || found < len(parts) {
		return err
	}
	return v.checkResent(ctx, c, wanted.Name, info.Version, strings.Trim(info.ETag, `"`), parts, sent)
}
