package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// What upstream told the service credential may show only to callers whom upstream
// would have told it. So upstream is asked first, as the caller, for something of
// the same right that cannot be done: it judges rights before all else.

const (
	// noETag is one that no object at MinIO has: its own are 32 digits.
	noETag = `"bucketseal-asks-whether-the-caller-may-write"`
	// noMD5 is of no body that is sent: should the condition be ignored, nothing is
	// stored all the same.
	noMD5 = "AAAAAAAAAAAAAAAAAAAAAA=="
	// noUpload is an upload id that MinIO never gives.
	noUpload = "bucketseal-asks-whether-the-caller-may"
)

// mayPut asks upstream, as the caller, for a write of nothing that cannot succeed.
// It returns upstream's refusal, nil if only what is impossible kept it from it.
func (s *Server) mayPut(ctx context.Context, r *request) error {
	up := r.upstreamRequest(http.MethodPut)
	up.Header = r.writeHeaders()
	up.Header.Set("If-Match", noETag)
	up.Header.Set("Content-Md5", noMD5)
	return s.ask(ctx, up, "PreconditionFailed", "NoSuchKey", "BadDigest")
}

// mayUpload asks upstream, as the caller, to do with an upload that does not exist
// what the request wants done with its own. How that is encrypted the upload id says,
// and who says so falsely has no such upload.
func (s *Server) mayUpload(ctx context.Context, r *request, how sealedUnder) error {
	up := r.upstreamRequest(r.Method)
	tellUpload(up, how)
	up.Query = url.Values{"uploadId": {noUpload}}
	switch r.Method {
	case http.MethodPut:
		up.Query.Set("partNumber", "1")
	case http.MethodPost:
		setDocument(up, []byte("<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>d41d8cd98f00b204e9800998ecf8427e</ETag></Part></CompleteMultipartUpload>"), false)
	}
	return s.ask(ctx, up, noSuchUpload)
}

// ask sends what upstream cannot do. Errors with the codes that say so are nil, and
// so is its 204 to the end of an upload that does not exist.
func (s *Server) ask(ctx context.Context, up *upstream.Request, impossible ...string) error {
	resp, err := s.opts.Upstream.Do(ctx, up)
	switch {
	case err != nil:
		return err
	case resp.StatusCode == http.StatusNoContent && up.Method == http.MethodDelete:
		upstream.Discard(resp)
		return nil
	case resp.StatusCode < http.StatusBadRequest:
		upstream.Discard(resp)
		return fmt.Errorf("upstream did what cannot be done, with status %d: %w", resp.StatusCode, errUpstreamLied)
	}
	answer := upstream.ReadError(resp)
	if slices.Contains(impossible, answer.Code) {
		return nil
	}
	return answer
}

// refusal returns the answer to a write that a rule, a key or the access to it
// forbids: upstream's own refusal, if the caller may not write there at all.
func (s *Server) refusal(ctx context.Context, r *request, err error) error {
	if denied := s.mayPut(ctx, r); denied != nil {
		return denied
	}
	return err
}

// askedTTL is how long upstream's word holds that a caller may send parts of an
// upload. The parts themselves upstream judges one by one.
const askedTTL = 10 * time.Second

// maxAsked bounds the uploads whose callers are remembered.
const maxAsked = 10_000

// partSender is a digest of all of a request that policies commonly look at: its
// texts may be long.
type partSender [sha256.Size]byte

func partSenderOf(r *request) partSender {
	texts := []string{r.caller.accessKey, r.origin.Addr.String(), r.UserAgent(), r.Referer(), r.bucket, r.key, r.query.Get("uploadId")}
	h := sha256.New()
	for _, text := range texts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(text)))
		_, _ = io.WriteString(h, text)
	}
	return partSender(h.Sum(nil))
}

// partSenders remembers which callers upstream lately let send parts. The zero
// value is ready.
type partSenders struct {
	mu   sync.Mutex
	till map[partSender]time.Time
}

func (p *partSenders) has(c partSender) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Now().Before(p.till[c])
}

func (p *partSenders) add(c partSender) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.till == nil || len(p.till) >= maxAsked { // asking again is cheap
		p.till = make(map[partSender]time.Time)
	}
	p.till[c] = time.Now().Add(askedTTL)
}

// maySendPart is mayUpload for a part of an upload whose id could be read, asked once
// for many.
func (s *Server) maySendPart(ctx context.Context, r *request, how sealedUnder) error {
	sender := partSenderOf(r)
	if s.senders.has(sender) {
		return nil
	}
	if err := s.mayUpload(ctx, r, how); err != nil {
		return err
	}
	s.senders.add(sender)
	return nil
}
