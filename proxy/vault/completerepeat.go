package vault

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/hex"
	"errors"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/uploads"
	"github.com/bucketseal/bucketseal/sse"
)

// repeat answers a Complete that upstream would not do, most often because it has
// no such upload any more: with the object that is there, if that came from this upload
// and from this list of parts, since then the answer to an earlier Complete was
// lost. Else the error is as given.
func (v *Vault) repeat(ctx context.Context, c *caller.Caller, wanted *Complete, otherwise error) (*Completed, error) {
	id, err := uploads.ParseID(wanted.ID)
	if err != nil {
		return nil, err
	}
	// The proxy's own credential looks: who has the id may write, and perhaps not read.
	info, err := current(ctx, v.own(c), wanted.Name)
	if err != nil || info == nil {
		return nil, cmp.Or(err, otherwise)
	}
	rec, err := sealed.RecordOf(info.Reserved)
	if err == nil && rec == nil {
		return v.repeatPlain(ctx, c, wanted, otherwise)
	}
	if err != nil || rec.Manifest != id.Manifest || rec.Layout != sse.Uploaded {
		return nil, otherwise
	}
	ref := sealed.Ref(wanted.Name, rec, info.ETag)
	facts, err := v.o.Manifests.Find(ctx, ref, v.o.Objects.Data(wanted.Name, info))
	if err != nil {
		return nil, err
	}
	parts, err := v.o.Manifests.Parts(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !sameParts(wanted.Parts, rec, &facts, parts) {
		return nil, otherwise
	}
	list := parts.List()
	if err := v.checkRepeated(ctx, c, wanted, info, func(i int, _ manifest.PartID, noted *sse.PartFacts) bool {
		return noted.Nonce == list[i].Nonce && noted.PlainSize == list[i].PlainSize
	}, sse.EncSize); err != nil {
		return nil, err
	}
	return &Completed{ETag: sealed.ETag(rec, &facts, info.ETag), Version: info.Version, Record: rec, Facts: facts}, nil
}

// current looks the object up that is there now, nil if there is none.
func current(ctx context.Context, at storage.Backend, name sse.Name) (*storage.Info, error) {
	info, err := at.Head(ctx, &storage.Get{Name: name})
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	return info, err
}

// repeatPlain is repeat for an object without a record, which does not tell its
// upload: its ETag must follow from the list, as the caller may see it.
func (v *Vault) repeatPlain(ctx context.Context, c *caller.Caller, wanted *Complete, otherwise error) (*Completed, error) {
	info, err := current(ctx, v.as(c), wanted.Name)
	if err != nil || info == nil {
		return nil, otherwise
	}
	sum := md5.New() //nolint:gosec // see above
	for _, part := range wanted.Parts {
		raw, err := hex.DecodeString(strings.Trim(part.ETag, `"`))
		if err != nil {
			return nil, otherwise
		}
		sum.Write(raw)
	}
	etag := hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(wanted.Parts))
	if rec, err := sealed.RecordOf(info.Reserved); err != nil || rec != nil || strings.Trim(info.ETag, `"`) != etag {
		return nil, otherwise
	}
	if err := v.checkRepeated(ctx, c, wanted, info, func(i int, id manifest.PartID, _ *sse.PartFacts) bool {
		return id.ETag == strings.Trim(wanted.Parts[i].ETag, `"`)
	}, func(plain int64) int64 { return plain }); err != nil {
		return nil, err
	}
	return &Completed{ETag: sealed.ETag(nil, nil, etag), Version: info.Version}, nil
}

// sameParts compares the client's list with what was put together: the numbers,
// and the ETags, which for SSE-S3 are known only all together.
func sameParts(wanted []WantedPart, rec *sse.Record, facts *sse.Facts, parts *sse.Parts) bool {
	if len(wanted) != len(parts.List()) {
		return false
	}
	sum := md5.New() //nolint:gosec // see above
	for i, p := range parts.List() {
		raw, err := sealed.ParsePartETag(rec, wanted[i].ETag)
		if err != nil || wanted[i].Number != int(p.Number) {
			return false
		}
		sum.Write(raw)
		if tag := sse.PartETag(rec.Manifest, p.Number, p.Nonce); rec.Mode != sse.ModeS3 && !bytes.Equal(raw, tag[:]) {
			return false
		}
	}
	return rec.Mode != sse.ModeS3 || bytes.Equal(sum.Sum(nil), facts.MD5)
}
