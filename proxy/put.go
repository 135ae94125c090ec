package proxy

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bucketseal/bucketseal/bucketconfig"
	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/manifest"
	"github.com/bucketseal/bucketseal/proxy/sigv4"
	"github.com/bucketseal/bucketseal/proxy/upstream"
	"github.com/bucketseal/bucketseal/sse"
)

// maxObjectSize is S3's limit for one PUT at MinIO, in bytes.
const maxObjectSize = 5 << 40

// expectContinueFrom is the body size in bytes from which upstream is asked
// first whether it wants the body: a refusal then costs no transfer.
const expectContinueFrom = 1 << 20

// putObject serves PutObject.
func (s *Server) putObject(w http.ResponseWriter, r *request) error {
	asked, err := s.writeEncryption(r)
	if err != nil {
		return err
	}
	defer asked.CustomerKey.Zero()
	size, err := declaredSize(r)
	if err != nil {
		return err
	}
	up := &upload{server: s, request: r, size: size, asked: asked}
	if err := up.conditions(r.Context()); err != nil {
		return err
	}
	return up.run(w)
}

// writeEncryption returns how a write is encrypted: as its headers ask, else by
// the bucket's rule, else by the automatic default.
func (s *Server) writeEncryption(r *request) (*sse.Request, error) {
	if err := s.checkCustomerTransport(r); err != nil {
		return nil, err
	}
	asked, err := sse.ParseWrite(r.Header)
	if err != nil {
		return nil, writeHeaderError(r, err)
	}
	if len(asked.ClientContext) > 0 {
		if _, err := kms.ParseClientContext(asked.ClientContext); err != nil {
			return nil, errArguments(r, err)
		}
	}
	if asked.Mode != sse.ModeNone {
		return &asked, nil
	}
	rule, ok, err := s.rule(r.Context(), r.bucket)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		asked.Mode = s.opts.AutoEncryption
	case rule.Algorithm == bucketconfig.AWSKMS:
		asked.Mode, asked.KMSKeyID = sse.ModeKMS, rule.KMSKeyID
		if rule.BucketKeyEnabled && asked.BucketKey == nil {
			asked.BucketKey = &rule.BucketKeyEnabled
		}
	default:
		asked.Mode = sse.ModeS3
	}
	return &asked, nil
}

// checkCustomerTransport refuses customer keys that anybody on the way could
// have read, before it looks at anything else of them.
func (s *Server) checkCustomerTransport(r *request) error {
	if sse.HasCustomerKey(r.Header) && !r.origin.Secure && !s.opts.CustomerKeysOverHTTP {
		return errPlainHTTP
	}
	return nil
}

func writeHeaderError(r *request, err error) error {
	if errors.Is(err, sse.ErrIncompatible) {
		return &apiError{400, invalidArgument, sse.ErrIncompatible.Error(), nil}
	}
	return errArguments(r, err)
}

// rule returns the bucket's rule, once the system bucket is set up.
func (s *Server) rule(ctx context.Context, bucket string) (bucketconfig.Rule, bool, error) {
	if err := s.setup.ensure(ctx); err != nil {
		return bucketconfig.Rule{}, false, err
	}
	rule, ok, err := s.rules.Effective(ctx, bucket)
	if errors.Is(err, bucketconfig.ErrNotFound) {
		err = fmt.Errorf("%w; if this MinIO is a new one, stop bucketseal, run: bucketseal key rm --force %s, and start it again", err, systemReadyKey)
	}
	return rule, ok, err
}

// declaredSize returns the plaintext size that the request declares.
func declaredSize(r *request) (int64, error) {
	size := r.ContentLength
	if v := r.Header.Get("X-Amz-Decoded-Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			return 0, sigv4.ErrIncompleteBody
		}
		size = n
	}
	switch {
	case size < 0:
		return 0, errMissingLength
	case size > maxObjectSize:
		return 0, errTooLarge
	}
	return size, nil
}

// upload is one PutObject on its way.
type upload struct {
	server  *Server
	request *request
	size    int64
	asked   *sse.Request
	body    plaintext
	// header is what goes upstream with the object.
	header http.Header
	// match is the upstream ETag that the current object must have, "" for any.
	match string

	facts  sse.Facts // what is known of the plaintext
	late   bool      // facts become known with the last byte, and go into a manifest
	stream sse.Stream
	record *sse.Record // nil for plain storage
	text   string      // the record's
	// etag is upstream's, once it has answered.
	etag string
	// copied says that the body is another object's: the request's conditions and
	// digests are not of this body.
	copied bool
}

// run reads the client's body and stores the object.
func (u *upload) run(w http.ResponseWriter) error {
	r := u.request
	body, err := r.auth.Body(r.Request, sigv4.BodyOptions{
		ComputeMD5: u.asked.Mode == sse.ModeS3, Compute: askedChecksum(r.Header),
	})
	if err != nil {
		return err
	}
	if body.Size() != u.size {
		return sigv4.ErrIncompleteBody
	}
	u.body, u.header = body, r.writeHeaders()
	_, trailer := body.TrailerChecksum()
	if err := u.store(trailer || len(askedChecksum(r.Header)) > 0); err != nil {
		return err
	}
	u.answer(w)
	return nil
}

// askedChecksum is the checksum that the client wants computed; one that it
// sends itself is verified in any case.
func askedChecksum(h http.Header) []sigv4.ChecksumAlgorithm {
	for _, name := range []string{"X-Amz-Sdk-Checksum-Algorithm", "X-Amz-Checksum-Algorithm"} {
		if algorithm, ok := sigv4.ParseChecksumAlgorithm(h.Get(name)); ok {
			return []sigv4.ChecksumAlgorithm{algorithm}
		}
	}
	return nil
}

// store writes the object upstream. lateChecksum says that a checksum becomes
// known with the last byte.
func (u *upload) store(lateChecksum bool) error {
	s := u.server
	switch {
	case u.asked.Mode == sse.ModeNone:
		return u.sendPlain()
	case u.size == 0:
		if err := drain(u.body); err != nil {
			return err
		}
	case u.size <= s.opts.SmallObject:
		if buffer := s.buffers.take(u.size); buffer != nil {
			return u.sendSmall(buffer)
		}
	}
	u.facts = u.known()
	u.late = u.size > 0 && (u.asked.Mode == sse.ModeS3 && u.facts.MD5 == nil || lateChecksum && u.facts.Checksum == nil)
	if err := u.prepare(); err != nil {
		return err
	}
	return u.sendStream()
}

// prepare gets the keys and writes the record: what is known of the object is
// what goes with it.
func (u *upload) prepare() error {
	r, s := u.request, u.server
	if err := s.mayWrite(r.Context(), r.caller, r.bucket, u.asked); err != nil {
		return err
	}
	key, err := s.keys.forWrite(r.Context(), r.name(), u.asked)
	if err != nil {
		return err
	}
	defer key.zero()
	objectKey := sse.NewObjectKey()
	defer objectKey.Zero()
	nonce := sse.NewStreamNonce()
	private := sse.NewPrivate(u.size, nonce)
	u.record = &key.record
	u.record.PlainSize = u.size
	if u.late {
		u.record.Manifest = sse.NewManifestID()
	} else {
		private.Facts = u.facts
	}
	if u.text, err = u.record.Seal(&key.binding, &key.secret, &objectKey, private); err != nil {
		return fmt.Errorf("seal record: %w", err)
	}
	u.stream = sse.Stream{Key: objectKey.Part(1), Nonce: nonce, PlainSize: u.size}
	return nil
}

func (r *request) name() sse.Name { return sse.Name{Bucket: r.bucket, Key: r.key} }

// known returns the facts that are known now.
func (u *upload) known() sse.Facts { return knownFacts(u.body, u.asked.Mode == sse.ModeS3) }

// knownFacts returns what is known of a body now: computed, if it was read, or
// declared, and then verified before its last byte goes upstream. withMD5 is for
// SSE-S3: other ETags are upstream's.
func knownFacts(body plaintext, withMD5 bool) sse.Facts {
	var f sse.Facts
	sum, ok := body.MD5()
	if !ok {
		sum, ok = body.DeclaredMD5()
	}
	if ok && withMD5 {
		f.MD5 = sum[:]
	}
	for algorithm, value := range body.Checksums() {
		f.Checksum = &sse.Checksum{Type: checksumTypes[algorithm], Value: value}
	}
	if algorithm, value, ok := body.DeclaredChecksum(); ok {
		f.Checksum = &sse.Checksum{Type: checksumTypes[algorithm], Value: value}
	}
	return f
}

var checksumTypes = map[sigv4.ChecksumAlgorithm]sse.ChecksumType{
	sigv4.CRC32: sse.CRC32, sigv4.CRC32C: sse.CRC32C, sigv4.CRC64NVME: sse.CRC64NVME,
	sigv4.SHA1: sse.SHA1, sigv4.SHA256: sse.SHA256,
}

// sendSmall reads the body whole, so that every digest is known and checked
// before upstream hears of the object, and sends it in one request.
func (u *upload) sendSmall(buffer []byte) error {
	var sent *guardedBody
	defer func() { u.server.buffers.give(buffer, sent == nil || sent.wasClosed()) }()
	if _, err := io.ReadFull(u.body, buffer); err != nil {
		return bodyError(u.body, err)
	}
	if err := drain(u.body); err != nil {
		return err
	}
	u.facts = u.known()
	if err := u.prepare(); err != nil {
		return err
	}
	var err error
	if sent, err = newGuardedBody(&u.stream, buffer); err != nil {
		return err
	}
	return u.send(u.request.Context(), u.upstreamRequest(sent))
}

// sendStream encrypts the body as it comes.
func (u *upload) sendStream() error {
	enc, err := u.stream.Encrypt(u.body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(u.request.Context())
	defer cancel()
	if u.late {
		if err := u.server.setup.ensure(ctx); err != nil {
			return err
		}
		var committed *time.Timer
		defer func() {
			if committed != nil {
				committed.Stop()
			}
		}()
		enc = &lastBytes{src: enc, remaining: sse.EncSize(u.size), commit: func() error {
			if err := u.writeManifest(ctx); err != nil {
				return err
			}
			// The janitor takes manifests without an object after a while.
			committed = time.AfterFunc(commitTimeout, cancel)
			return nil
		}}
	}
	return u.send(ctx, u.upstreamRequest(io.NopCloser(enc)))
}

// commitTimeout is how long upstream may take to accept an object's last bytes
// once its manifest is written.
const commitTimeout = time.Minute

// writeManifest writes what is known with the last byte of the plaintext.
func (u *upload) writeManifest(ctx context.Context) error {
	u.facts = u.known()
	ref := manifest.Ref{Name: u.request.name(), ID: u.record.Manifest}
	return u.server.manifests.Put(ctx, ref, u.facts, nil)
}

// bodyError returns the client's fault if there is one, since upstream's failure
// then only follows from it.
func bodyError(body plaintext, err error) error {
	if own := body.Err(); own != nil && own != io.EOF {
		return own
	}
	return err
}

func (u *upload) upstreamRequest(body io.ReadCloser) *upstream.Request {
	up := u.request.upstreamRequest(http.MethodPut)
	up.Header = u.header
	up.Query = url.Values{recordHeader: {u.text}}
	up.Body, up.Length = body, sse.EncSize(u.size)
	if g, ok := body.(*guardedBody); ok {
		up.GetBody = g.again
	}
	u.setConditions(up)
	return up
}

func (u *upload) setConditions(up *upstream.Request) {
	if u.match != "" {
		up.Header.Set("If-Match", u.match)
	}
	if !u.copied && u.request.Header.Get("If-None-Match") == "*" {
		up.Header.Set("If-None-Match", "*")
	}
	if up.Length >= expectContinueFrom {
		up.Header.Set("Expect", "100-continue")
	}
}

// send sends the object and keeps upstream's verdict.
func (u *upload) send(ctx context.Context, up *upstream.Request) error {
	resp, err := u.server.opts.Upstream.Do(ctx, up)
	if err != nil {
		return bodyError(u.body, err)
	}
	if resp.StatusCode != http.StatusOK {
		return upstream.ReadError(resp)
	}
	defer upstream.Discard(resp)
	u.etag = resp.Header.Get("ETag")
	u.header = resp.Header
	return nil
}

// answer tells the client what was stored.
func (u *upload) answer(w http.ResponseWriter) {
	h := w.Header()
	for _, name := range []string{"X-Amz-Version-Id", "X-Amz-Expiration"} {
		if v := u.header.Values(name); len(v) > 0 {
			h[name] = v
		}
	}
	h.Set("ETag", clientETag(u.record, &u.facts, u.etag))
	if u.record != nil {
		setEncryptionHeaders(h, u.record, u.asked.CustomerKeyMD5)
	}
	if facts := u.known(); facts.Checksum != nil {
		setChecksumHeaders(h, &facts)
	}
	w.WriteHeader(http.StatusOK)
}

// sendPlain stores the body as it is: the bucket is, explicitly, not encrypted.
// Where somebody on the way could change it, its chunks are signed.
func (u *upload) sendPlain() error {
	up := u.request.upstreamRequest(http.MethodPut)
	up.Header = u.header
	for name := range u.request.Header {
		if u.copied {
			break
		}
		if name == "Content-Md5" || isChecksumHeader(name) {
			up.Header[name] = u.request.Header[name]
		}
	}
	up.Body, up.Length = io.NopCloser(&sourceReader{src: u.body, remaining: u.size}), u.size
	up.SignBody = !u.server.opts.Upstream.Secure()
	u.setConditions(up)
	return u.send(u.request.Context(), up)
}

func base64Std(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
