package proxy

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/sse"
)

// minPartSize is S3's limit for all parts but the last, in bytes.
const minPartSize = 5 << 20

// chosenPart is a part of the finished object.
type chosenPart struct {
	manifest.PartID
	sse.PartFacts
}

// choose finds the parts of the client's list: noted in the ledger, kept by
// upstream, and named by the ETag that the client knows.
func (c *completing) choose(ctx context.Context) error {
	current, noted, err := c.lookUp(ctx)
	if err != nil {
		return err
	}
	for i, want := range c.wanted.Parts {
		id := manifest.PartID{Number: want.PartNumber, ETag: current[want.PartNumber]}
		facts, ok := noted[id]
		if !ok || id.ETag == "" || strings.Trim(want.ETag, `"`) != strings.Trim(partETag(c.upload.record, id, &facts), `"`) {
			return errInvalidPart
		}
		if !c.checksumMatches(i, facts.Checksum) {
			return errInvalidPart
		}
		if i < len(c.wanted.Parts)-1 && facts.PlainSize < minPartSize {
			return errPartTooSmall
		}
		c.chosen = append(c.chosen, chosenPart{id, facts})
	}
	return nil
}

// lookUp asks upstream for its parts, by number, and the ledger for its notes.
func (c *completing) lookUp(ctx context.Context) (current map[int]string, noted map[manifest.PartID]sse.PartFacts, err error) {
	list := c.wanted.Parts
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		current, err = c.server.upstreamParts(groupCtx, c.request, c.upload)
		return err
	})
	group.Go(func() (err error) {
		noted, err = c.server.ledger.Parts(groupCtx, c.upload.ID, list[0].PartNumber, list[len(list)-1].PartNumber)
		return err
	})
	err = group.Wait() // before the results are read
	return current, noted, err
}

// checksumMatches compares the checksum that the client's list gives for a part.
func (c *completing) checksumMatches(i int, noted *sse.Checksum) bool {
	matches := true
	c.wanted.Parts[i].Checksums.each(func(a *checksumAlgorithm, value string) {
		matches = matches && noted != nil && noted.Type == a.sealed && base64Std(noted.Value) == value
	})
	return matches
}

// upstreamParts returns the ETag of each part that upstream has of the upload,
// without quotes, under the service identity: it only says what is there.
func (s *Server) upstreamParts(ctx context.Context, r *request, u *openUpload) (map[int]string, error) {
	parts := make(map[int]string)
	for marker := 0; ; {
		up := r.upstreamRequest(http.MethodGet)
		up.Credential = &s.opts.Service
		up.Query = url.Values{"uploadId": {u.ID}, "part-number-marker": {strconv.Itoa(marker)}}
		page, err := s.listUpstreamParts(ctx, up)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Parts {
			if p.PartNumber <= marker || p.PartNumber > sse.MaxParts { // else it could go on for ever
				return nil, fmt.Errorf("upstream lists part %d after %d: %w", p.PartNumber, marker, errUpstreamLied)
			}
			parts[p.PartNumber] = strings.Trim(p.ETag, `"`)
			marker = p.PartNumber
		}
		if !page.IsTruncated || len(page.Parts) == 0 {
			return parts, nil
		}
	}
}

// combine computes what the finished object is known by: its ETag at upstream
// and at clients, its size and its checksum.
func (c *completing) combine() error {
	stored, plain := md5.New(), md5.New() //nolint:gosec // see above
	for _, p := range c.chosen {
		raw, err := hex.DecodeString(p.ETag)
		if err != nil {
			return fmt.Errorf("upstream's ETag of a part is no MD5: %w", errUpstreamLied)
		}
		stored.Write(raw)
		plain.Write(p.MD5)
		c.facts.PlainSize += p.PlainSize
	}
	c.etag = hex.EncodeToString(stored.Sum(nil)) + "-" + strconv.Itoa(len(c.chosen))
	c.facts.Parts = len(c.chosen)
	if given := c.request.Header.Get("X-Amz-Mp-Object-Size"); given != "" && given != strconv.FormatInt(c.facts.PlainSize, 10) {
		return &apiError{400, invalidRequest, "The provided 'x-amz-mp-object-size' header does not match what was computed.", nil}
	}
	if rec := c.upload.record; rec != nil && rec.Mode == sse.ModeS3 {
		c.facts.MD5 = plain.Sum(nil)
	}
	return c.combineChecksums()
}

// combineChecksums puts the object's checksum together from its parts', and
// compares it with the one the client gives.
func (c *completing) combineChecksums() error {
	kind := c.upload.Checksum
	if kind == 0 {
		c.facts.Checksum = c.defaultChecksum()
		return c.checkGiven()
	}
	digest := checksumOf(kind).wire.New()
	var whole uint64
	for _, p := range c.chosen {
		if p.Checksum == nil || p.Checksum.Type != kind {
			return errInvalidPart
		}
		if c.upload.Composite {
			digest.Write(p.Checksum.Value)
		} else {
			whole = checksum.Combine(checksumOf(kind).wire, whole, p.Checksum.Value, p.PlainSize)
		}
	}
	sum := &sse.Checksum{Type: kind, Composite: c.upload.Composite}
	if c.upload.Composite {
		sum.Value = digest.Sum(nil)
	} else {
		sum.Value = checksum.Bytes(checksumOf(kind).wire, whole)
	}
	c.facts.Checksum = sum
	return c.checkGiven()
}

// defaultChecksum is the CRC64NVME of an object whose upload asks for no checksum; nil
// if not all parts have theirs.
func (c *completing) defaultChecksum() *sse.Checksum {
	var whole uint64
	for _, p := range c.chosen {
		if p.WholeCRC == nil {
			return nil
		}
		whole = checksum.Combine(checksum.CRC64NVME, whole, p.WholeCRC, p.PlainSize)
	}
	return &sse.Checksum{Type: sse.CRC64NVME, Value: checksum.Bytes(checksum.CRC64NVME, whole)}
}

// checkGiven compares the object's checksum with the one that the client gives.
func (c *completing) checkGiven() error {
	h, sum := c.request.Header, c.facts.Checksum
	if kind := h.Get("X-Amz-Checksum-Type"); kind != "" && c.upload.Checksum != 0 && !strings.EqualFold(kind, checksumKind(sum)) {
		return &apiError{400, invalidRequest, "The upload was created using the " + checksumKind(sum) + " checksum mode. The complete request must use the same checksum mode.", nil}
	}
	for i := range checksumAlgorithms {
		a := &checksumAlgorithms[i]
		given := h.Get(a.header)
		if given == "" {
			continue
		}
		value, _, _ := strings.Cut(given, "-") // of a composite one the number of parts follows
		if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) != a.sealed.Size() {
			return sigv4.ErrInvalidChecksum
		}
		if sum == nil || sum.Type != a.sealed || given != checksumValue(&c.facts) && given != base64Std(sum.Value) {
			return sigv4.ErrChecksumMismatch
		}
	}
	return nil
}
