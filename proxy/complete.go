package proxy

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // S3's ETags are MD5
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// minPartSize is S3's limit for all parts but the last, in bytes.
const minPartSize = 5 << 20

// maxCompleteBody is the longest list of parts: 10,000 with their checksums.
const maxCompleteBody = 4 << 20

// completion is the list of parts that a client wants put together.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber        int
		ETag              string
		ChecksumCRC32     string
		ChecksumCRC32C    string
		ChecksumCRC64NVME string
		ChecksumSHA1      string
		ChecksumSHA256    string
	} `xml:"Part"`
}

// completing is one CompleteMultipartUpload on its way.
type completing struct {
	server  *Server
	request *request
	upload  *openUpload
	wanted  completion

	chosen []chosenPart
	facts  sse.Facts
	// etag is the one upstream will store, without quotes.
	etag string
	// version is the new object's version id, if its bucket has versions.
	version string
}

// chosenPart is a part of the finished object.
type chosenPart struct {
	manifest.PartID
	sse.PartFacts
}

// completeMultipartUpload serves CompleteMultipartUpload. The manifest is written
// before upstream commits: an object that can be seen has its manifest.
func (s *Server) completeMultipartUpload(w http.ResponseWriter, r *request) error {
	c := &completing{server: s, request: r}
	if err := c.readList(); err != nil {
		return err
	}
	u, err := s.upload(r)
	if errors.Is(err, manifest.ErrNoSuchUpload) {
		return c.repeat(w, err)
	}
	if err != nil {
		return err
	}
	c.upload = u
	err = c.run(r.Context())
	if errors.Is(err, errNoSuchUpload) {
		return c.repeat(w, err)
	}
	if err != nil {
		return err
	}
	s.dropUpload(r.Context(), u)
	c.answer(w)
	return nil
}

func (c *completing) readList() error {
	body, err := c.server.documentWith(c.request, sigv4.BodyOptions{IgnoreChecksumHeaders: true})
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(body, &c.wanted); err != nil || len(c.wanted.Parts) == 0 {
		return errMalformedXML
	}
	if len(c.wanted.Parts) > sse.MaxParts {
		return errMalformedXML
	}
	last := 0
	for _, part := range c.wanted.Parts {
		if part.PartNumber < 1 || part.PartNumber > sse.MaxParts {
			return errInvalidPart
		}
		if part.PartNumber <= last {
			return errPartOrder
		}
		last = part.PartNumber
	}
	return nil
}

func (c *completing) run(ctx context.Context) error {
	conditions, err := c.conditions(ctx)
	if err != nil {
		return err
	}
	if err := c.choose(ctx); err != nil {
		return err
	}
	if err := c.combine(); err != nil {
		return err
	}
	if c.upload.record != nil {
		if err := c.writeManifest(ctx); err != nil {
			return err
		}
	}
	return c.commit(ctx, conditions)
}

// conditions judges If-Match and If-None-Match on what the client knows, and
// returns the headers that pin them upstream.
func (c *completing) conditions(ctx context.Context) (http.Header, error) {
	u := &upload{server: c.server, request: c.request}
	if err := u.conditions(ctx); err != nil {
		return nil, err
	}
	h := make(http.Header)
	if u.match != "" {
		h.Set("If-Match", u.match)
	}
	if c.request.Header.Get("If-None-Match") == "*" {
		h.Set("If-None-Match", "*")
	}
	return h, nil
}

// choose finds the parts of the client's list: noted in the ledger, kept by
// upstream, and named by the ETag that the client knows.
func (c *completing) choose(ctx context.Context) error {
	current, err := c.server.upstreamParts(ctx, c.request, c.upload)
	if err != nil {
		return err
	}
	noted, err := c.server.ledger.Parts(ctx, c.upload.ID)
	if err != nil {
		return err
	}
	for i, want := range c.wanted.Parts {
		id := manifest.PartID{Number: want.PartNumber, ETag: current[want.PartNumber]}
		facts, ok := noted[id]
		if !ok || id.ETag == "" || strings.Trim(want.ETag, `"`) != strings.Trim(partETag(c.upload.record, &facts, id.ETag), `"`) {
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

// checksumMatches compares the checksum that the client's list gives for a part.
func (c *completing) checksumMatches(i int, noted *sse.Checksum) bool {
	p := c.wanted.Parts[i]
	for kind, value := range map[sse.ChecksumType]string{
		sse.CRC32: p.ChecksumCRC32, sse.CRC32C: p.ChecksumCRC32C, sse.CRC64NVME: p.ChecksumCRC64NVME,
		sse.SHA1: p.ChecksumSHA1, sse.SHA256: p.ChecksumSHA256,
	} {
		if value != "" && (noted == nil || noted.Type != kind || base64Std(noted.Value) != value) {
			return false
		}
	}
	return true
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
			parts[p.PartNumber] = strings.Trim(p.ETag, `"`)
			marker = max(marker, p.PartNumber)
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
		return nil
	}
	var digest hash.Hash
	for algorithm, other := range checksumTypes {
		if other == kind {
			digest = algorithm.New()
		}
	}
	var whole uint64
	for _, p := range c.chosen {
		if p.Checksum == nil || p.Checksum.Type != kind {
			return errInvalidPart
		}
		if c.upload.Composite {
			digest.Write(p.Checksum.Value)
		} else {
			whole = combineCRC(kind, whole, p.Checksum.Value, p.PlainSize)
		}
	}
	sum := &sse.Checksum{Type: kind, Composite: c.upload.Composite}
	if c.upload.Composite {
		sum.Value = digest.Sum(nil)
	} else {
		sum.Value = crcBytes(kind, whole)
	}
	c.facts.Checksum = sum
	if given := c.request.Header.Get(checksumHeaders[kind]); given != "" && given != checksumValue(&c.facts) && given != base64.StdEncoding.EncodeToString(sum.Value) {
		return sigv4.ErrChecksumMismatch
	}
	return nil
}

func (c *completing) writeManifest(ctx context.Context) error {
	list := make([]sse.Part, len(c.chosen))
	for i, p := range c.chosen {
		list[i] = sse.Part{Number: uint32(p.Number), PlainSize: p.PlainSize, Nonce: p.Nonce} //nolint:gosec // checked: 1 to 10,000
		if c.upload.Checksum != 0 {
			list[i].Checksum = p.Checksum.Value
		}
	}
	parts, err := sse.NewParts(list, c.upload.Checksum)
	if err != nil {
		return err
	}
	return c.server.manifests.Put(ctx, c.ref(), c.facts, parts)
}

func (c *completing) ref() manifest.Ref {
	return manifest.Ref{Name: c.request.name(), ID: c.upload.Manifest, ETag: c.etag}
}

// commit has upstream put the parts together.
func (c *completing) commit(ctx context.Context, conditions http.Header) error {
	var b bytes.Buffer
	b.WriteString("<CompleteMultipartUpload>")
	for _, p := range c.chosen {
		b.WriteString("<Part>")
		element(&b, "PartNumber", strconv.Itoa(p.Number))
		element(&b, "ETag", p.ETag)
		b.WriteString("</Part>")
	}
	b.WriteString("</CompleteMultipartUpload>")
	up := c.request.upstreamRequest(http.MethodPost)
	up.Query = url.Values{"uploadId": {c.upload.ID}}
	for name, values := range conditions {
		up.Header[name] = values
	}
	setDocument(up, b.Bytes(), false)
	resp, err := c.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		answer := upstream.ReadError(resp)
		if answer.Code == "NoSuchUpload" {
			return errNoSuchUpload
		}
		return answer
	}
	defer upstream.Discard(resp)
	var result copyResult // the same shape: an ETag, or an error
	if err := xml.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&result); err != nil {
		return fmt.Errorf("parse upstream's answer to Complete: %w (%w)", upstream.ErrUnreachable, err)
	}
	if result.XMLName.Local == "Error" {
		return &upstream.Error{Status: http.StatusInternalServerError, Code: result.Code, Message: result.Message, Header: resp.Header}
	}
	if c.upload.record != nil && strings.Trim(result.ETag, `"`) != c.etag {
		return fmt.Errorf("upstream stored the ETag %q, not %q: %w", result.ETag, c.etag, errUpstreamLied)
	}
	c.version = resp.Header.Get("X-Amz-Version-Id")
	return nil
}

// repeat answers a Complete whose upload upstream has no more: 200 if the object
// that is there came from this upload and from this list of parts, since then the
// answer to an earlier Complete was lost.
func (c *completing) repeat(w http.ResponseWriter, notThere error) error {
	r, s := c.request, c.server
	id, err := parseUploadID(r.query.Get("uploadId"))
	if err != nil {
		return err
	}
	up := r.upstreamRequest(http.MethodHead)
	resp, err := s.opts.Upstream.Do(r.Context(), up)
	if err != nil {
		return err
	}
	defer upstream.Discard(resp)
	rec, err := recordOf(resp)
	if err != nil || rec == nil || resp.StatusCode != http.StatusOK || rec.Manifest != id.manifest || rec.Layout != sse.Uploaded {
		return notThere
	}
	if err := s.mayUseKeys(r.caller, r.bucket); err != nil {
		return err
	}
	stored := resp.Header.Get("ETag")
	ref := manifestRef(r.name(), rec, stored)
	facts, err := s.manifests.Get(r.Context(), ref)
	if err != nil {
		return err
	}
	parts, err := s.manifests.Parts(r.Context(), ref)
	if err != nil {
		return err
	}
	if !c.sameParts(rec, &facts, parts, strings.Trim(stored, `"`)) {
		return notThere
	}
	c.upload = &openUpload{record: rec}
	c.facts, c.etag, c.version = facts, strings.Trim(stored, `"`), resp.Header.Get("X-Amz-Version-Id")
	c.answer(w)
	return nil
}

// sameParts compares the client's list with what was put together: the numbers,
// and the ETag that follows from the list.
func (c *completing) sameParts(rec *sse.Record, facts *sse.Facts, parts *sse.Parts, stored string) bool {
	if len(c.wanted.Parts) != len(parts.List()) {
		return false
	}
	sum := md5.New() //nolint:gosec // see above
	for i, p := range parts.List() {
		want := c.wanted.Parts[i]
		raw, err := hex.DecodeString(strings.Trim(want.ETag, `"`))
		if err != nil || want.PartNumber != int(p.Number) {
			return false
		}
		sum.Write(raw)
	}
	if rec.Mode == sse.ModeS3 {
		return bytes.Equal(sum.Sum(nil), facts.MD5)
	}
	return hex.EncodeToString(sum.Sum(nil))+"-"+strconv.Itoa(len(parts.List())) == stored
}

func (c *completing) answer(w http.ResponseWriter) {
	r, h := c.request, w.Header()
	if c.version != "" {
		h.Set("X-Amz-Version-Id", c.version)
	}
	if c.upload.record != nil {
		setEncryptionHeaders(h, c.upload.record, r.Header.Get(sse.HeaderCustomerKeyMD5))
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	location := url.URL{Scheme: scheme, Host: r.Host, Path: "/" + r.bucket + "/" + r.key}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CompleteMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Location", location.String())
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "ETag", clientETag(c.upload.record, &c.facts, c.etag))
	if sum := c.facts.Checksum; sum != nil {
		element(&b, checksumElements[checksumHeaders[sum.Type]], checksumValue(&c.facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CompleteMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
