package proxy

import (
	"bytes"
	"cmp"
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
	"time"

	"golang.org/x/sync/errgroup"

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
	switch {
	case errors.Is(err, errNoSuchUpload):
		s.dropUpload(r.Context(), u)
		return c.repeat(w, err)
	case failedCondition(err): // the first of two held, and changed what the second is judged on
		return c.repeat(w, err)
	case err != nil:
		return err
	}
	s.dropUpload(r.Context(), u)
	c.answer(w)
	return nil
}

// failedCondition says whether the proxy or upstream found a condition not to
// hold.
func failedCondition(err error) bool {
	var answer *upstream.Error
	return errors.Is(err, errPrecondition) || errors.As(err, &answer) && answer.Status == http.StatusPreconditionFailed
}

func (c *completing) readList() error {
	body, err := c.server.documentWith(c.request, sigv4.BodyOptions{IgnoreChecksumHeaders: true})
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(body, &c.wanted); err != nil && len(body) > 0 {
		return errMalformedXML
	}
	if len(c.wanted.Parts) == 0 {
		return &apiError{400, invalidRequest, "You must specify at least one part", nil}
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
	conditions := make(http.Header)
	if err := c.server.pinConditions(c.request, conditions); err != nil {
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
		return c.checkGiven()
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
	return c.checkGiven()
}

// checkGiven compares the object's checksum with the one that the client gives.
func (c *completing) checkGiven() error {
	h, sum := c.request.Header, c.facts.Checksum
	if kind := h.Get("X-Amz-Checksum-Type"); kind != "" && sum != nil && !strings.EqualFold(kind, checksumKind(sum)) {
		return &apiError{400, invalidRequest, "The upload was created using the " + checksumKind(sum) + " checksum mode. The complete request must use the same checksum mode.", nil}
	}
	for kind, name := range checksumHeaders {
		given := h.Get(name)
		if given == "" {
			continue
		}
		value, _, _ := strings.Cut(given, "-") // of a composite one the number of parts follows
		if raw, err := base64.StdEncoding.DecodeString(value); err != nil || len(raw) != kind.Size() {
			return sigv4.ErrInvalidChecksum
		}
		if sum == nil || sum.Type != kind || given != checksumValue(&c.facts) && given != base64Std(sum.Value) {
			return sigv4.ErrChecksumMismatch
		}
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

// commitLimit bounds how long upstream may take to put the parts together.
const commitLimit = 10 * time.Minute

// commit has upstream put the parts together. A client that goes away meanwhile
// does not stop it: MinIO, cut off in the middle of a Complete, is left with neither
// the object nor an upload that can be completed (measured).
func (c *completing) commit(ctx context.Context, conditions http.Header) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitLimit)
	defer cancel()
	var b bytes.Buffer
	b.WriteString("<CompleteMultipartUpload>")
	for _, p := range c.chosen {
		b.WriteString("<Part>")
		element(&b, "PartNumber", strconv.Itoa(p.Number))
		element(&b, "ETag", p.ETag)
		if c.upload.record == nil && c.upload.Checksum != 0 {
			element(&b, checksumElements[checksumHeaders[c.upload.Checksum]], base64Std(p.Checksum.Value))
		}
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
		if answer.Code == noSuchUpload {
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

// repeat answers a Complete that upstream would not do, most often because it has
// no such upload any more: 200 if the object that is there came from this upload
// and from this list of parts, since then the answer to an earlier Complete was
// lost. Else the error is as given.
func (c *completing) repeat(w http.ResponseWriter, otherwise error) error {
	r, s := c.request, c.server
	id, err := parseUploadID(r.query.Get("uploadId"))
	if err != nil {
		return err
	}
	// The service identity looks: who has the id may write, and perhaps not read.
	resp, err := c.current(&s.opts.Service)
	if err != nil || resp == nil {
		return cmp.Or(err, otherwise)
	}
	rec, err := recordOf(resp)
	if err == nil && rec == nil {
		return c.repeatPlain(w, otherwise)
	}
	if err != nil || rec.Manifest != id.manifest || rec.Layout != sse.Uploaded {
		return otherwise
	}
	stored := strings.Trim(resp.Header.Get("ETag"), `"`)
	ref := manifestRef(r.name(), rec, stored)
	facts, err := s.manifests.Get(r.Context(), ref)
	if err != nil {
		return err
	}
	parts, err := s.manifests.Parts(r.Context(), ref)
	if err != nil {
		return err
	}
	if !c.sameParts(rec, &facts, parts, stored) {
		return otherwise
	}
	c.upload = &openUpload{record: rec}
	c.facts, c.etag, c.version = facts, stored, resp.Header.Get("X-Amz-Version-Id")
	c.answer(w)
	return nil
}

// current looks the object up that is there now, nil if there is none. Its body
// is closed.
func (c *completing) current(as *upstream.Credential) (*http.Response, error) {
	up := c.request.upstreamRequest(http.MethodHead)
	up.Credential = as
	resp, err := c.server.opts.Upstream.Do(c.request.Context(), up)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		upstream.Discard(resp)
		return resp, nil
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		upstream.Discard(resp)
		return nil, nil
	default:
		return nil, upstream.ReadError(resp)
	}
}

// repeatPlain is repeat for an object without a record, which does not tell its
// upload: its ETag must follow from the list, as the caller may see it.
func (c *completing) repeatPlain(w http.ResponseWriter, otherwise error) error {
	resp, err := c.current(c.request.caller.credential)
	if err != nil || resp == nil {
		return otherwise
	}
	sum := md5.New() //nolint:gosec // see above
	for _, part := range c.wanted.Parts {
		raw, err := hex.DecodeString(strings.Trim(part.ETag, `"`))
		if err != nil {
			return otherwise
		}
		sum.Write(raw)
	}
	c.etag = hex.EncodeToString(sum.Sum(nil)) + "-" + strconv.Itoa(len(c.wanted.Parts))
	if rec, err := recordOf(resp); err != nil || rec != nil || strings.Trim(resp.Header.Get("ETag"), `"`) != c.etag {
		return otherwise
	}
	c.upload, c.facts, c.version = &openUpload{}, sse.Facts{}, resp.Header.Get("X-Amz-Version-Id")
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
	if rec := c.upload.record; rec != nil && rec.Mode != sse.ModeC { // a customer key is not looked at
		setEncryptionHeaders(h, rec, "")
	}
	etag := clientETag(c.upload.record, &c.facts, c.etag)
	h.Set("ETag", etag)
	if c.facts.Checksum != nil {
		setChecksumHeaders(h, &c.facts)
	}
	scheme := "http"
	if r.origin.Secure {
		scheme = "https"
	}
	location := url.URL{Scheme: scheme, Host: r.Host, Path: "/" + r.bucket + "/" + r.key}
	var b bytes.Buffer
	b.WriteString(xml.Header + `<CompleteMultipartUploadResult xmlns="` + s3Namespace + `">`)
	element(&b, "Location", location.String())
	element(&b, "Bucket", r.bucket)
	element(&b, "Key", r.key)
	element(&b, "ETag", etag)
	if sum := c.facts.Checksum; sum != nil {
		element(&b, checksumElements[checksumHeaders[sum.Type]], checksumValue(&c.facts))
		element(&b, "ChecksumType", checksumKind(sum))
	}
	b.WriteString("</CompleteMultipartUploadResult>")
	writeXML(w, http.StatusOK, b.Bytes())
}
