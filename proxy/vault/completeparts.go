package vault

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/bucketseal/bucketseal/proxy/caller"
	"github.com/bucketseal/bucketseal/proxy/checksum"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/plaintext"
	"github.com/bucketseal/bucketseal/proxy/sealed"
	"github.com/bucketseal/bucketseal/proxy/storage"
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
func (p *completing) choose(ctx context.Context) error {
	current, noted, err := p.lookUp(ctx)
	if err != nil {
		return err
	}
	p.current, p.sent = current, noted.sent
	for i := range p.wanted.Parts {
		want := &p.wanted.Parts[i]
		id := manifest.PartID{Number: want.Number, ETag: current[want.Number]}
		facts, ok := noted.facts[id]
		if !ok || id.ETag == "" || !p.names(want, id, &facts) {
			return ErrInvalidPart
		}
		if !want.fits(facts.Checksum) {
			return ErrInvalidPart
		}
		if i < len(p.wanted.Parts)-1 && facts.PlainSize < minPartSize {
			return ErrPartTooSmall
		}
		p.chosen = append(p.chosen, chosenPart{id, facts})
	}
	return nil
}

// names says whether a part of the client's list has the ETag of a noted one.
func (p *completing) names(want *WantedPart, id manifest.PartID, facts *sse.PartFacts) bool {
	return strings.Trim(want.ETag, `"`) == strings.Trim(sealed.PartETag(p.upload.record, id, facts), `"`)
}

// lookUp asks upstream for its parts, by number, and the ledger for its notes of these. The
// first notes are listed meanwhile, and opened behind upstream's answer.
func (p *completing) lookUp(ctx context.Context) (current map[int]string, noted *notedParts, err error) {
	list := p.wanted.Parts
	group, groupCtx := errgroup.WithContext(ctx)
	answered := make(chan struct{})
	group.Go(func() (err error) {
		defer close(answered)
		current, err = p.vault.upstreamParts(groupCtx, p.caller, p.upload)
		return err
	})
	noted = newNotedParts(func(id manifest.PartID) bool {
		<-answered
		return current[id.Number] == id.ETag
	})
	group.Go(func() error {
		return noted.read(groupCtx, p.vault.o.Ledger, p.upload.ID, list[0].Number, list[len(list)-1].Number)
	})
	err = group.Wait() // before the results are read
	return current, noted, err
}

// notedParts are what the ledger knows of an upload's parts. A part that was sent a thousand
// times is kept once.
type notedParts struct {
	wanted func(manifest.PartID) bool // says which sending of a part counts
	facts  map[manifest.PartID]sse.PartFacts
	// sent is how often each part was, by number.
	sent map[int]int
}

func newNotedParts(wanted func(manifest.PartID) bool) *notedParts {
	return &notedParts{wanted: wanted, facts: make(map[manifest.PartID]sse.PartFacts), sent: make(map[int]int)}
}

// read reads the notes of parts with the numbers from first to last.
func (n *notedParts) read(ctx context.Context, ledger *manifest.Ledger, uploadID string, first, last int) error {
	return ledger.Parts(ctx, uploadID, first, last, func(id manifest.PartID) bool {
		n.sent[id.Number]++
		return n.wanted(id)
	}, func(id manifest.PartID, facts sse.PartFacts) { n.facts[id] = facts })
}

// fits compares the checksums that the client's list gives for a part with the part's.
func (w *WantedPart) fits(noted *sse.Checksum) bool {
	for _, said := range w.Checksums {
		if noted == nil || noted.Type != plaintext.ChecksumType(said.Algorithm) || base64Std(noted.Value) != said.Value {
			return false
		}
	}
	return true
}

// upstreamParts returns the ETag of each part that upstream has of the upload,
// without quotes, under the proxy's own credential: it only says what is there.
func (v *Vault) upstreamParts(ctx context.Context, c *caller.Caller, u *openUpload) (map[int]string, error) {
	parts := make(map[int]string)
	for marker := 0; ; {
		page, err := v.own(c).ListParts(ctx, &storage.ListParts{
			Upload: storage.Upload{Name: u.Name(), ID: u.ID}, Parameters: map[string]string{"part-number-marker": strconv.Itoa(marker)},
		})
		if err != nil {
			return nil, asNoSuchUpload(err)
		}
		for _, part := range page.Parts {
			if part.PartNumber <= marker || part.PartNumber > sse.MaxParts { // else it could go on for ever
				return nil, fmt.Errorf("upstream lists part %d after %d: %w", part.PartNumber, marker, storage.ErrLied)
			}
			parts[part.PartNumber] = strings.Trim(part.ETag, `"`)
			marker = part.PartNumber
		}
		if !page.IsTruncated || len(page.Parts) == 0 {
			return parts, nil
		}
	}
}

// combine computes what the finished object is known by: its ETag at upstream
// and at clients, its size and its checksum.
func (p *completing) combine() error {
	stored, plain := md5.New(), md5.New() //nolint:gosec // see above
	for _, part := range p.chosen {
		raw, err := hex.DecodeString(part.ETag)
		if err != nil {
			return fmt.Errorf("upstream's ETag of a part is no MD5: %w", storage.ErrLied)
		}
		stored.Write(raw)
		if p.upload.record != nil {
			plain.Write(sealed.PartDigest(p.upload.record, part.Number, &part.PartFacts))
		}
		p.facts.PlainSize += part.PlainSize
	}
	p.etag = hex.EncodeToString(stored.Sum(nil)) + "-" + strconv.Itoa(len(p.chosen))
	p.facts.Parts = len(p.chosen)
	if said := p.wanted.ObjectSize; said != "" && said != strconv.FormatInt(p.facts.PlainSize, 10) {
		return &RequestError{"The provided 'x-amz-mp-object-size' header does not match what was computed."}
	}
	if rec := p.upload.record; rec != nil && rec.Mode == sse.ModeS3 {
		p.facts.MD5 = plain.Sum(nil)
	}
	return p.combineChecksums()
}

// combineChecksums puts the object's checksum together from its parts', and
// compares it with the one the client gives.
func (p *completing) combineChecksums() error {
	kind := p.upload.Checksum
	if kind == 0 {
		p.facts.Checksum = p.defaultChecksum()
		return p.checkSaid()
	}
	algorithm := plaintext.Algorithm(kind)
	digest := algorithm.New()
	var whole uint64
	for _, part := range p.chosen {
		if part.Checksum == nil || part.Checksum.Type != kind {
			return ErrInvalidPart
		}
		if p.upload.Composite {
			digest.Write(part.Checksum.Value)
		} else {
			whole = checksum.Combine(algorithm, whole, part.Checksum.Value, part.PlainSize)
		}
	}
	sum := &sse.Checksum{Type: kind, Composite: p.upload.Composite}
	if p.upload.Composite {
		sum.Value = digest.Sum(nil)
	} else {
		sum.Value = checksum.Bytes(algorithm, whole)
	}
	p.facts.Checksum = sum
	return p.checkSaid()
}

// defaultChecksum is the CRC64NVME of an object whose upload asks for no checksum; nil
// if not all parts have theirs.
func (p *completing) defaultChecksum() *sse.Checksum {
	var whole uint64
	for _, part := range p.chosen {
		if part.WholeCRC == nil {
			return nil
		}
		whole = checksum.Combine(plaintext.DefaultChecksum, whole, part.WholeCRC, part.PlainSize)
	}
	return &sse.Checksum{Type: plaintext.ChecksumType(plaintext.DefaultChecksum), Value: checksum.Bytes(plaintext.DefaultChecksum, whole)}
}

// checkSaid compares the object's checksum with what the client says of it.
func (p *completing) checkSaid() error {
	sum := p.facts.Checksum
	if kind := p.wanted.ChecksumType; kind != "" && p.upload.Checksum != 0 && !strings.EqualFold(kind, checksumKind(sum.Composite)) {
		return &RequestError{"The upload was created using the " + checksumKind(sum.Composite) + " checksum mode. The complete request must use the same checksum mode."}
	}
	for _, said := range p.wanted.Checksums {
		value, _, _ := strings.Cut(said.Value, "-") // of a composite one the number of parts follows
		if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) != said.Algorithm.Size() {
			return ErrInvalidChecksum
		}
		if sum == nil || sum.Type != plaintext.ChecksumType(said.Algorithm) || said.Value != p.checksumText() && said.Value != base64Std(sum.Value) {
			return ErrChecksumMismatch
		}
	}
	return nil
}

// checksumText is the object's checksum as S3 writes it: one of parts' checksums ends
// with their number.
func (p *completing) checksumText() string {
	text := base64Std(p.facts.Checksum.Value)
	if p.facts.Checksum.Composite {
		text += "-" + strconv.Itoa(p.facts.Parts)
	}
	return text
}
